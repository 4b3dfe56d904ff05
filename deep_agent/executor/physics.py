"""Holds measured times against what a device can do at all: a time that cannot be is measured again, then not believed.

A time below the gate's bound is impossible on any data path of the device: the candidate's doing, so REWARD_HACK. A
time below the strict bound contradicts either the measurement or the bound: quarantined, which means right answers,
but no score and no promotion until somebody has found out which.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from deep_agent.ports import Judge, ignore_progress
from deep_agent.problem.bound import SolBound
from deep_agent.problem.evaluation import Evaluation, EvaluationRequest, WorkloadEvaluation
from deep_agent.problem.trace import EvaluationStatus

BELIEVED_SHARE: Final = {"measured": 0.5, "sheet": 1.0}
"""Share of the strict bound below which a time is not believed, by kind of bound.

Rates probed on a busy machine come out low, so a measured bound that is undercut a little is itself the error; half
of it is beyond any such error.
"""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A workload whose time is not believed."""

    uuid: str
    time_us: float
    bound_us: float
    """The highest bound that the time undercuts and that stands for certain."""
    is_impossible: bool

    @property
    def words(self) -> str:
        """It in words."""
        return f"{self.uuid} takes {self.time_us:.3g} us, which cannot be: its bound is {self.bound_us:.3g} us"


def doubts(evaluation: Evaluation, bounds: Sequence[SolBound]) -> tuple[Doubt, ...]:
    """List the workloads of a passed evaluation whose times undercut what can be; workloads without a bound are left out."""
    by_uuid = {bound.workload: bound for bound in bounds}
    found = []
    for one in evaluation.workloads:
        bound = by_uuid.get(one.uuid)
        if bound is None or one.candidate is None:
            continue
        time_us, gate_us = one.candidate.time_us, None if bound.bounds is None else bound.bounds.gate_us
        if gate_us is not None and time_us < gate_us:
            found.append(Doubt(one.uuid, time_us, gate_us, is_impossible=True))
        elif time_us < BELIEVED_SHARE[bound.bound_kind] * bound.time_us:
            found.append(Doubt(one.uuid, time_us, bound.time_us, is_impossible=False))
    return tuple(found)


def judged_with_doubt(
    judge: Judge,
    request: EvaluationRequest,
    bounds: Sequence[SolBound],
    progress: Callable[[str], None] = ignore_progress,
) -> Evaluation:
    """Judge, and where a time is not believed judge again under the strict profile; what it finds then stands.

    Raises:
        HarnessFailed: the judge broke.
        InvalidInput: as `Judge.evaluate`.
    """
    found = judge.evaluate(request, progress)
    if found.passed and doubts(found, bounds) and request.profile != "verify":
        progress("a time is below what the device can do: measuring again, from nothing")
        found = judge.evaluate(request.model_copy(update={"profile": "verify"}), progress)
    return held(found, bounds)


def held(evaluation: Evaluation, bounds: Sequence[SolBound]) -> Evaluation:
    """Refuse an evaluation with an impossible time, quarantine one with a time below the strict bound."""
    found = doubts(evaluation, bounds) if evaluation.passed else ()
    impossible = {doubt.uuid: doubt for doubt in found if doubt.is_impossible}
    if impossible:
        message = next(iter(impossible.values())).words
        workloads = tuple(_refused(one, impossible.get(one.uuid)) for one in evaluation.workloads)
        changes = {"status": EvaluationStatus.REWARD_HACK, "message": message, "workloads": workloads}
        return evaluation.model_copy(update={**changes, "speedup": None, "gain": None, "noise": None})
    if found:
        return evaluation.model_copy(update={"quarantined": "; ".join(doubt.words for doubt in found)})
    return evaluation


def _refused(one: WorkloadEvaluation, doubt: Doubt | None) -> WorkloadEvaluation:
    if doubt is None:
        return one
    return WorkloadEvaluation(uuid=one.uuid, status=EvaluationStatus.REWARD_HACK, message=doubt.words)
