"""The same on a CUDA device: every cheat is refused for its own reason; every honest oddity is accepted.

Specimens are judged several at once: what they build, they build side by side, and the device takes them in turn.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest
from judge_problem import Court, specimens

pytestmark = [pytest.mark.adversarial, pytest.mark.gpu]

BUILDS_AT_ONCE = 12


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    court = Court(tmp_path_factory.mktemp("judge"))
    with ThreadPoolExecutor(BUILDS_AT_ONCE) as pool:
        chosen = [*specimens("cuda_gallery"), *specimens("cuda_honest")]
        yield {one.solution.content_hash: pool.submit(court.judge_it, one) for one in chosen}
    court.judge.close()


@pytest.mark.parametrize("cheat", specimens("cuda_gallery"), ids=lambda one: one.name)
def test_a_cheat_on_the_device_is_refused_for_its_own_reason(verdicts, cheat):
    found = verdicts[cheat.solution.content_hash].result()
    assert cheat.is_refused_by(found), found.message


@pytest.mark.parametrize("oddity", specimens("cuda_honest"), ids=lambda one: one.name)
def test_an_honest_oddity_on_the_device_is_accepted(verdicts, oddity):
    found = verdicts[oddity.solution.content_hash].result()
    assert found.passed, found.message
    assert found.speedup is not None
