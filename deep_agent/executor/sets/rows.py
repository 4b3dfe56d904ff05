"""Owns the translation of what the judge found about one solution of a set into published traces; pure."""

from collections.abc import Mapping

from pydantic import JsonValue

from deep_agent.executor.artefact.traces import is_complete, translate
from deep_agent.problem.evaluation import Evaluation, Ratio, WorkloadEvaluation
from deep_agent.problem.problem import Problem
from deep_agent.problem.solution import Solution
from deep_agent.problem.trace import Correctness, Environment, EvaluationStatus, Trace, TraceEvaluation
from deep_agent.problem.value import FrozenValue

MAX_LOG_CHARS = 64 * 1024
"""Of a row's log; the format allows 5 MiB."""
NOT_EXAMINED: dict[str, JsonValue] = {"examined": False}
"""Extra of a row whose errors were not measured, because an earlier workload had failed."""


class Circumstances(FrozenValue):
    """When and with what a row was made."""

    hardware: str
    """The device by its maker's name, or as it was asked for."""
    made_at: str
    """ISO 8601, local and naive."""
    libs: dict[str, str]


def judged_rows(
    problem: Problem, solution: Solution, evaluation: Evaluation, circumstances: Circumstances
) -> tuple[Trace, ...]:
    """Write one trace a workload; those without all the figures their status demands are left out."""
    found = {one.uuid: _with_reason(one, evaluation) for one in evaluation.workloads}
    return tuple(
        Trace(
            definition=problem.name,
            workload=workload,
            solution=solution.name,
            evaluation=translate(
                found[workload.uuid], evaluation, made_at=circumstances.made_at, libs=circumstances.libs
            ),
        )
        for workload in problem.workloads
        if workload.uuid in found and is_complete(found[workload.uuid])
    )


def invalid_reference_rows(
    problem: Problem, solution: Solution, reason: str, circumstances: Circumstances
) -> tuple[Trace, ...]:
    """Write the traces of a solution whose problem's reference failed under judgement."""
    evaluation = TraceEvaluation(
        status=EvaluationStatus.INVALID_REFERENCE,
        environment=Environment(hardware=circumstances.hardware, libs=dict(circumstances.libs)),
        timestamp=circumstances.made_at,
        log=reason,
    )
    return tuple(
        Trace(definition=problem.name, workload=workload, solution=solution.name, evaluation=evaluation)
        for workload in problem.workloads
    )


def _with_reason(one: WorkloadEvaluation, evaluation: Evaluation) -> WorkloadEvaluation:
    """Put everything a reader of the row should know where the public format keeps it."""
    if one.status is EvaluationStatus.PASSED:
        extra = _evidence(one, evaluation)
        return one.model_copy(update={"correctness": _with_extra(one.correctness, extra), "message": ""})
    parts = (evaluation.log,) if one.message in evaluation.log else (one.message, evaluation.log)
    words = "\n".join(part for part in parts if part)[:MAX_LOG_CHARS]
    if one.status is not EvaluationStatus.INCORRECT_NUMERICAL:
        return one.model_copy(update={"message": words or "the judge gave no further words"})
    correctness = one.correctness or Correctness(extra=dict(NOT_EXAMINED))
    extra = {"solution_hash": evaluation.solution_hash}
    return one.model_copy(update={"correctness": _with_extra(correctness, extra), "message": words})


def _with_extra(correctness: Correctness | None, extra: Mapping[str, JsonValue]) -> Correctness | None:
    if correctness is None:
        return None
    return correctness.model_copy(update={"extra": {**(correctness.extra or {}), **extra}})


def _evidence(one: WorkloadEvaluation, evaluation: Evaluation) -> dict[str, JsonValue]:
    told: dict[str, JsonValue] = {"quarantined": evaluation.quarantined} if evaluation.quarantined else {}
    for name, value in (("device_state", one.device_state), ("sustained", one.sustained)):
        if value is not None:
            told[name] = value.model_dump(mode="json")
    return {
        **told,
        "solution_hash": evaluation.solution_hash,
        "baseline": one.baseline_name,
        "speedup_ci": _interval(one.speedup),
        "noise_ci": _interval(one.noise or evaluation.noise),
        "cpu_us": None if one.candidate is None else one.candidate.cpu_us,
        "seed": evaluation.seed,
        "device_fingerprint": evaluation.device_fingerprint,
    }


def _interval(ratio: Ratio | None) -> JsonValue:
    return None if ratio is None else [ratio.low, ratio.high]
