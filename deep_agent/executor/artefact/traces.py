"""Owns the translation of an evaluation into published trace lines; pure."""

from collections.abc import Mapping

from deep_agent.problem.evaluation import Evaluation, WorkloadEvaluation
from deep_agent.problem.problem import Problem
from deep_agent.problem.solution import Solution
from deep_agent.problem.trace import Environment, EvaluationStatus, Performance, Trace, TraceEvaluation


def render_traces(
    problem: Problem, solution: Solution, evaluation: Evaluation, *, made_at: str, libs: Mapping[str, str]
) -> str:
    """Write one JSON line for each listed workload the judge has a complete finding for.

    Hidden shapes are the judge's own and no workload of the problem, so they have no trace.
    """
    found = {one.uuid: one for one in evaluation.workloads}
    lines = [
        Trace(
            definition=problem.name,
            workload=workload,
            solution=solution.name,
            evaluation=translate(found[workload.uuid], evaluation, made_at=made_at, libs=libs),
        ).model_dump_json()
        for workload in problem.workloads
        if workload.uuid in found and is_complete(found[workload.uuid])
    ]
    return "".join(f"{line}\n" for line in lines)


def is_complete(one: WorkloadEvaluation) -> bool:
    """Whether the finding has the parts that the public format demands for its status."""
    if one.status is EvaluationStatus.PASSED:
        return all(part is not None for part in (one.correctness, one.candidate, one.baseline, one.speedup))
    return one.status is not EvaluationStatus.INCORRECT_NUMERICAL or one.correctness is not None


def translate(
    one: WorkloadEvaluation, evaluation: Evaluation, *, made_at: str, libs: Mapping[str, str]
) -> TraceEvaluation:
    """Give a complete finding as the evaluation part of a trace."""
    has_errors = one.status in {EvaluationStatus.PASSED, EvaluationStatus.INCORRECT_NUMERICAL}
    return TraceEvaluation(
        status=one.status,
        environment=Environment(hardware=evaluation.hardware or evaluation.device, libs=dict(libs)),
        timestamp=made_at,
        log=one.message,
        correctness=one.correctness if has_errors else None,
        performance=_performance(one),
    )


def _performance(one: WorkloadEvaluation) -> Performance | None:
    if one.status is not EvaluationStatus.PASSED or one.candidate is None or one.baseline is None:
        return None
    return Performance(
        latency_ms=one.candidate.time_us / 1e3,
        reference_latency_ms=one.baseline.time_us / 1e3,
        speedup_factor=one.speedup.value if one.speedup is not None else 0.0,
    )
