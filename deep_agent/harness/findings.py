"""Puts what the judge found into values. Pure."""

from collections.abc import Sequence

from deep_agent.harness.answers.compare import Comparison
from deep_agent.harness.timing.samples import Samples
from deep_agent.problem.evaluation import WorkloadEvaluation
from deep_agent.problem.trace import Correctness, EvaluationStatus
from deep_agent.problem.workload import Workload

MAX_MESSAGE_CHARS = 2000


def wrong(workload: Workload, found: Comparison, where: str = "") -> WorkloadEvaluation:
    """A workload the solution failed; `where` names a hidden case."""
    message = f"{where}: {found.message}" if where else found.message
    numerical = found.status is EvaluationStatus.INCORRECT_NUMERICAL
    return WorkloadEvaluation(
        uuid=workload.uuid,
        status=found.status,
        message=message[-MAX_MESSAGE_CHARS:],
        correctness=found.correctness if numerical else None,
    )


def not_run(workload: Workload, status: EvaluationStatus, why: str) -> WorkloadEvaluation:
    """A workload that was not reached, because another failed."""
    return WorkloadEvaluation(uuid=workload.uuid, status=status, message=why[-MAX_MESSAGE_CHARS:])


def correct(workload: Workload, correctness: Correctness) -> WorkloadEvaluation:
    """A workload with right answers, not timed yet."""
    return WorkloadEvaluation(uuid=workload.uuid, status=EvaluationStatus.PASSED, correctness=correctness)


def timed(before: WorkloadEvaluation, samples: Samples, baseline_name: str) -> WorkloadEvaluation:
    """Add times and ratios to a correct workload."""
    present = samples.visits
    original = "incumbent" if "incumbent" in present else "baseline"
    return before.model_copy(
        update={
            "candidate": samples.timing("candidate"),
            "baseline": samples.timing("baseline"),
            "baseline_name": baseline_name,
            "speedup": samples.ratio("baseline", "candidate"),
            "gain": samples.ratio("incumbent", "candidate") if "incumbent" in present else None,
            "noise": samples.ratio(original, "twin") if "twin" in present else None,
            "device_state": samples.device_state,
            "sustained": samples.sustained,
        }
    )


def first_failure(workloads: Sequence[WorkloadEvaluation]) -> tuple[EvaluationStatus, str]:
    """Give the status and message of the whole: PASSED only when every workload passed."""
    for one in workloads:
        if one.status is not EvaluationStatus.PASSED:
            return one.status, one.message
    return EvaluationStatus.PASSED, ""
