"""Every cheat is refused for its own reason; every honest oddity is accepted."""

from pathlib import Path

import pytest
from judge_problem import Specimen, specimens, write_problem

from deep_agent.harness.client import JudgeProcess
from deep_agent.problem.evaluation import Evaluation, EvaluationRequest

pytestmark = [pytest.mark.adversarial, pytest.mark.integration]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judge")
    judge = JudgeProcess(folder / "cache", fingerprint="test", hidden=(str(folder / "secret"),))
    (folder / "secret").mkdir()
    yield judge, write_problem(folder / "problem")
    judge.close()


def judge_it(bench, specimen: Specimen) -> Evaluation:
    judge, problem = bench
    request = EvaluationRequest(problem_dir=str(problem), solution=specimen.solution, device="cpu", profile="screen")
    return judge.evaluate(request)


@pytest.mark.parametrize("cheat", specimens("gallery"), ids=lambda one: one.name)
def test_a_cheat_is_refused_for_its_own_reason(bench, cheat):
    found = judge_it(bench, cheat)
    assert found.status in cheat.statuses, found.message
    assert cheat.message_contains in found.message
    assert found.speedup is None
    assert not Path("/var/tmp/deep-agent-forged-verdict.json").exists()


@pytest.mark.parametrize("oddity", specimens("honest"), ids=lambda one: one.name)
def test_an_honest_oddity_is_accepted(bench, oddity):
    found = judge_it(bench, oddity)
    assert found.passed, found.message
    assert found.speedup is not None
