"""Every cheat is refused for its own reason; every honest oddity is accepted."""

from pathlib import Path

import pytest
from judge_problem import Specimen, specimens, write_problem

from deep_agent.harness.client import JudgeProcess
from deep_agent.problem.evaluation import Evaluation, EvaluationRequest

pytestmark = [pytest.mark.adversarial, pytest.mark.integration]


class Court:
    """A judge, and the problems that specimens ask for."""

    def __init__(self, folder: Path) -> None:
        (folder / "secret").mkdir()
        (folder / "secret" / "answers.json").write_text("{}")
        self._folder = folder
        self.judge = JudgeProcess(folder / "cache", fingerprint="test", hidden=(str(folder / "secret"),))

    def judge_it(self, specimen: Specimen) -> Evaluation:
        problem = write_problem(self._folder / specimen.problem, specimen.problem)
        request = EvaluationRequest(
            problem_dir=str(problem), solution=specimen.solution, device=specimen.device, profile="screen"
        )
        found = [self.judge.evaluate(request) for _ in range(specimen.times)]
        return found[-1]


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
    assert found.status in cheat.statuses, found.message
    assert cheat.message_contains in found.message
    assert found.speedup is None
    assert "root:x:0" not in found.message + found.log
    assert not Path("/var/tmp/deep-agent-forged-verdict.json").exists()


@pytest.mark.parametrize("oddity", specimens("honest"), ids=lambda one: one.name)
def test_an_honest_oddity_is_accepted(court, oddity):
    found = court.judge_it(oddity)
    assert found.passed, found.message
    assert found.speedup is not None
