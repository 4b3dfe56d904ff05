"""A server that is killed again and again loses nothing: the short form of `make chaos`."""

import pytest
from chaos import chaos

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.slow]


def test_jobs_end_and_nothing_is_lost_or_doubled_when_the_server_is_killed():
    found = chaos(2, seed=5)
    assert [one["status"] for one in found] == ["succeeded", "succeeded"]
    assert sum(int(str(one["versions"])) for one in found) >= 1
