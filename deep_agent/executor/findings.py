"""Owns what the built-in actions leave in their nodes, as frozen values, and the figures drawn from them; pure.

Each dumps to a node's outputs (`as_outputs`) and is read back by the actions after it (`model_validate`).
"""

from collections.abc import Iterable, Mapping
from math import exp, log
from typing import Annotated, Literal, cast

from pydantic import Field
from typing_extensions import override

from deep_agent.evolution.step import VaryStep
from deep_agent.htdag.node import JsonObject
from deep_agent.problem.bound import SolBound
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.evaluation import Characterization, Evaluation, Positive
from deep_agent.problem.problem import Problem
from deep_agent.problem.profile import ProfileAnswer
from deep_agent.problem.solution import Solution
from deep_agent.problem.value import FrozenValue


class NodeFinding(FrozenValue):
    """A value that is the outputs of a node."""

    def as_outputs(self) -> JsonObject:
        """Dump to JSON."""
        return cast("JsonObject", self.model_dump(mode="json"))


class BaselineFigures(FrozenValue):
    """The best baseline, as doors publish it."""

    name: str
    time_us: Positive
    """Geometric mean over workloads of each one's fastest baseline."""


class BestFigures(FrozenValue):
    """The answer to a problem, as doors publish it."""

    time_us: Positive
    """Geometric mean over the judged workloads."""
    speedup: Positive
    speedup_ci: tuple[Positive, Positive]
    """95 % bootstrap interval."""
    sol_score: Annotated[float, Field(ge=0, le=1)] | None
    percent_of_sol: Annotated[float, Field(ge=0)] | None
    solution: str
    """Content hash."""


class CharacterizeFinding(NodeFinding):
    """What `characterize` leaves."""

    problem: Problem
    characterization: Characterization
    bounds: tuple[SolBound, ...]
    """In the order of the problem's workloads; empty when the reference could not be traced."""
    device: DeviceModel
    notes: tuple[str, ...] = ()
    """What could not be done, such as tracing or lowering, in sentences for the report."""
    baseline: BaselineFigures | None = None
    """The best baseline for doors; `as_outputs` fills it in."""

    @override
    def as_outputs(self) -> JsonObject:
        """Dump to JSON, with the figures that doors publish."""
        figures = baseline_figures(self.characterization)
        return super().as_outputs() | {"baseline": None if figures is None else figures.model_dump(mode="json")}


class VaryFinding(NodeFinding):
    """What `vary` leaves; the first three fields are what the `evolve` method reads."""

    outcome: Literal["improve", "match", "rejected", "failed", "nothing_left", "error"]
    fingerprint: str
    sol_score: Annotated[float, Field(ge=0, le=1)] | None = None
    """The champion's, after this step."""
    seq: int | None = None
    """The version this attempt was committed as."""
    solution_hash: str = ""
    speedup: Positive | None = None
    """Best baseline over this candidate; None when it was not timed."""
    status: str = ""
    """The judge's status; empty when the judge was not reached."""
    message: str = ""
    """What failed and why, in the judge's words."""
    note: str = ""
    """What was tried, such as the schedule."""
    step: VaryStep = VaryStep()
    """What later steps of the search need of it: points tried, blobs, the version."""


class VerifyFinding(NodeFinding):
    """What `verify` leaves."""

    verdict: Literal["verified", "refuted", "library"]
    solution_hash: str
    """Of the judged solution; empty when there was none to judge."""
    solution: Solution | None
    """The judged solution: the candidate, or the library call; None where that cannot be written as one."""
    first: Solution | None = None
    """The first version of the lineage, to compare the winner with."""
    evaluation: Evaluation | None
    """On fresh seeds and unseen shapes; None when nothing could be judged."""
    message: str = ""
    best: BestFigures | None = None
    """The figures doors publish: `best_figures(evaluation, bounds)`."""


class ProfileFinding(NodeFinding):
    """What `profile` leaves."""

    solution_hash: str
    """Of the profiled solution; empty when there was none."""
    answer: ProfileAnswer | None
    """The profile, or why the solution has none; None when there was no solution."""


class PackageFinding(NodeFinding):
    """What `package` leaves."""

    path: str
    """Folder of the artefact; empty when there was no solution to pack."""
    files: tuple[str, ...]
    """Paths inside the folder, sorted."""


class ReportFinding(NodeFinding):
    """What `report` leaves."""

    report: str
    """Path of the HTML file."""


def geometric_mean(values: Iterable[float]) -> float | None:
    """Compute the geometric mean of positive values; None when there are none."""
    logs = [log(value) for value in values]
    return exp(sum(logs) / len(logs)) if logs else None


def percent_of_sol(evaluation: Evaluation, bounds: Iterable[SolBound]) -> float | None:
    """Compute 100 x the geometric mean over workloads of bound time over measured time.

    Workloads without a time or without a positive bound are left out; None when none is left.
    """
    bound_us = {bound.workload: bound.time_us for bound in bounds if bound.time_us > 0}
    mean = geometric_mean(
        bound_us[found.uuid] / found.candidate.time_us
        for found in evaluation.workloads
        if found.candidate is not None and found.uuid in bound_us
    )
    return None if mean is None else 100 * mean


def mean_sol_score(evaluation: Evaluation) -> float | None:
    """Average the clamped SOL Scores over the workloads that have one; in [0, 1], None when none has."""
    scores = [found.score.clamped for found in evaluation.workloads if found.score is not None]
    return sum(scores) / len(scores) if scores else None


def best_baseline(characterization: Characterization) -> str:
    """Name the baseline the problem is measured against: the fastest on most workloads, ties by name."""
    names = sorted(characterization.best.values())
    return max(names, key=names.count) if names else "none"


def library_solution(characterization: Characterization) -> Solution | None:
    """Give the library's call as a solution: the best baseline's if it can be written as one, else another's."""
    best = best_baseline(characterization)
    able = [one for one in characterization.baselines if one.solution is not None and one.time_us]
    return next((one.solution for one in sorted(able, key=lambda one: one.name != best)), None)


def baseline_figures(characterization: Characterization) -> BaselineFigures | None:
    """Draw the published figures of the best baseline; None when none ran."""
    times = {str(one.name): one.time_us for one in characterization.baselines}
    time_us = geometric_mean(times[name][uuid] for uuid, name in characterization.best.items())
    return None if time_us is None else BaselineFigures(name=best_baseline(characterization), time_us=time_us)


def best_figures(evaluation: Evaluation, bounds: Iterable[SolBound]) -> BestFigures | None:
    """Draw the published figures of a judged solution; None when nothing was timed."""
    time_us = geometric_mean(one.candidate.time_us for one in evaluation.workloads if one.candidate is not None)
    if evaluation.speedup is None or time_us is None:
        return None
    return BestFigures(
        time_us=time_us,
        speedup=evaluation.speedup.value,
        speedup_ci=(evaluation.speedup.low, evaluation.speedup.high),
        sol_score=mean_sol_score(evaluation),
        percent_of_sol=percent_of_sol(evaluation, bounds),
        solution=evaluation.solution_hash,
    )


def verify_outputs(inputs: Mapping[str, JsonObject]) -> JsonObject | None:
    """Pick the outputs of the last verification among a node's inputs; None when there was none."""
    names = [name for name in inputs if name.startswith("verify")]
    return inputs[max(names, key=lambda name: (len(name), name))] if names else None
