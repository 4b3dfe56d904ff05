"""Times that cannot be: measured again, then refused or quarantined."""

from dataclasses import dataclass, field

import pytest
from builders import make_bound, make_evaluation, make_solution, make_workload_evaluation
from hypothesis import given
from hypothesis import strategies as st

from deep_agent.executor.physics import doubts, held, judged_with_doubt
from deep_agent.executor.scoring import scored
from deep_agent.problem.bound import Figures
from deep_agent.problem.evaluation import ArmTiming, Evaluation, EvaluationRequest
from deep_agent.problem.trace import EvaluationStatus

US = st.floats(0.1, 1e6)


def bound(strict_us: float = 100.0, gate_us: float | None = 80.0, kind: str = "sheet"):
    return make_bound(time_us=strict_us, bound_kind=kind, bounds=Figures(strict_us=strict_us, gate_us=gate_us))


def timed(time_us: float, **changes) -> Evaluation:
    workload = make_workload_evaluation(candidate=ArmTiming(time_us=time_us, cpu_us=1.0), score=None)
    return make_evaluation(workload, **changes)


@dataclass
class Judge:
    """Finds one time a profile."""

    times_us: dict[str, float]
    asked: list[str] = field(default_factory=list)

    def evaluate(self, request, progress=None):
        self.asked.append(request.profile)
        return timed(self.times_us[request.profile], profile=request.profile)


def judged(times_us: dict[str, float], *bounds):
    judge = Judge(times_us)
    request = EvaluationRequest(problem_dir="p", solution=make_solution(), device="cuda")
    return judged_with_doubt(judge, request, bounds), judge.asked


def test_a_time_that_can_be_is_judged_once():
    found, asked = judged({"gate": 101.0}, bound())
    assert (found.status, found.quarantined, asked) == (EvaluationStatus.PASSED, "", ["gate"])


def test_a_doubtful_time_is_measured_again_and_the_second_stands():
    found, asked = judged({"gate": 60.0, "verify": 105.0}, bound())
    assert (found.status, found.quarantined, asked) == (EvaluationStatus.PASSED, "", ["gate", "verify"])
    assert found.workloads[0].candidate.time_us == 105.0


def test_an_impossible_time_is_a_hack():
    found, _ = judged({"gate": 60.0, "verify": 61.0}, bound())
    assert found.status is EvaluationStatus.REWARD_HACK
    assert "takes 61 us, which cannot be: its bound is 80 us" in found.message
    assert found.speedup is None
    assert found.workloads[0].candidate is None


def test_a_time_between_the_bounds_is_quarantined_without_score_or_promotion():
    found, _ = judged({"gate": 90.0, "verify": 91.0}, bound())
    assert found.status is EvaluationStatus.PASSED
    assert "its bound is 100 us" in found.quarantined
    assert not found.is_faster
    assert scored(found, [bound()]).workloads[0].score is None


@pytest.mark.parametrize(("time_us", "is_doubted"), [(51.0, False), (49.0, True)])
def test_half_of_a_measured_bound_is_believed(time_us, is_doubted):
    found = held(timed(time_us), [bound(gate_us=None, kind="measured")])
    assert bool(found.quarantined) is is_doubted


def test_what_failed_is_not_doubted():
    wrong = timed(1.0, status=EvaluationStatus.INCORRECT_NUMERICAL)
    assert held(wrong, [bound()]) == wrong


def test_without_a_bound_there_is_no_doubt():
    assert held(timed(1.0), []) == timed(1.0)


@given(time_us=US, strict_us=US, share=st.floats(0.1, 1.0))
def test_a_faster_time_is_never_less_doubtful(time_us, strict_us, share):
    limit = bound(strict_us, strict_us * share)
    slower, faster = (doubts(timed(one), [limit]) for one in (time_us, time_us / 2))
    assert len(faster) >= len(slower)
    if slower and slower[0].is_impossible:
        assert faster[0].is_impossible
