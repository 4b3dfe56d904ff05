"""Owns grading an evaluation against the bounds; the judge itself never scores. Pure."""

from collections.abc import Iterable

from deep_agent.problem.bound import SolBound
from deep_agent.problem.evaluation import Evaluation, Ratio, WorkloadEvaluation
from deep_agent.sol.score import sol_score


def scored(evaluation: Evaluation, bounds: Iterable[SolBound]) -> Evaluation:
    """Give every timed workload that has a bound its SOL Score; the rest stays as it is, as does one in quarantine."""
    if evaluation.quarantined:
        return evaluation
    by_uuid = {bound.workload: bound for bound in bounds}
    workloads = tuple(_scored(one, by_uuid.get(one.uuid), evaluation.noise) for one in evaluation.workloads)
    return evaluation.model_copy(update={"workloads": workloads})


def _scored(one: WorkloadEvaluation, bound: SolBound | None, overall: Ratio | None) -> WorkloadEvaluation:
    if bound is None or one.candidate is None or one.baseline is None:
        return one
    score = sol_score(
        time_us=one.candidate.time_us,
        baseline_us=one.baseline.time_us,
        bound_us=bound.time_us,
        noise=_relative(one.noise or overall),
    )
    return one.model_copy(update={"score": score})


def _relative(noise: Ratio | None) -> float:
    """How far an A/A interval reaches from 1, in [0, 1)."""
    return 0.0 if noise is None else min(max(noise.high - 1, 1 - noise.low, 0.0), 0.99)
