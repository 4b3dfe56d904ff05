"""Every cheat is refused for its own reason; every honest oddity is accepted."""

from pathlib import Path

import pytest
from judge_problem import Court, specimens

pytestmark = [pytest.mark.adversarial, pytest.mark.integration]


@pytest.fixture(scope="module")
def court(tmp_path_factory):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DEEP_AGENT_SECRET", "what the judge's own process knows")
        made = Court(tmp_path_factory.mktemp("judge"))
        yield made
        made.judge.close()


@pytest.mark.parametrize("cheat", specimens("gallery"), ids=lambda one: one.name)
def test_a_cheat_is_refused_for_its_own_reason(court, cheat):
    found = court.judge_it(cheat)
    assert cheat.is_refused_by(found), found.message
    assert "root:x:0" not in found.message + found.log
    assert not Path("/var/tmp/deep-agent-forged-verdict.json").exists()


@pytest.mark.parametrize("oddity", specimens("honest"), ids=lambda one: one.name)
def test_an_honest_oddity_is_accepted(court, oddity):
    found = court.judge_it(oddity)
    assert found.passed, found.message
    assert found.speedup is not None
