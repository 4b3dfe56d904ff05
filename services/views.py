"""Owns what the doors show of a job beyond the engine's own values: the state of each problem; pure.

The graph is the source. Of node outputs these keys are read, all of them optional:
`characterize`: `device`, `baseline`, `bounds`. `verify*`: `verdict`, `best`. `package`: `path`. `report`: `report`.
Moments are seconds since the epoch, device times microseconds, ratios baseline over candidate.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Literal, TypeVar

from pydantic import ValidationError

from deep_agent.executor.findings import BaselineFigures, BestFigures, best_figures
from deep_agent.htdag.goal import Goal, Spend
from deep_agent.htdag.job import GraphView, Job, JobStatus, NodeView, VersionView
from deep_agent.htdag.node import JsonObject, NodeKind, NodeSpec, NodeState
from deep_agent.problem.bound import SolBound
from deep_agent.problem.evaluation import Evaluation
from deep_agent.problem.value import FrozenValue

Shape = TypeVar("Shape", bound=FrozenValue)

INFRASTRUCTURE_ATTEMPTS: int = NodeSpec.model_fields["max_attempts"].default
"""Attempts of an action that only lost infrastructure uses up."""

Verdict = Literal["verified", "library", "failed", "unfinished"]
"""library: an honest end with the library call as the answer, because nothing was faster."""


class ProblemResult(FrozenValue):
    """Where the work on one problem of a job stands."""

    problem: str
    device: str
    baseline: BaselineFigures | None = None
    best: BestFigures | None = None
    """Provisional, from the gate, until it is verified."""
    versions: int = 0
    evaluations: int = 0
    verdict: Verdict = "unfinished"
    message: str = ""
    """Why it failed, in one or two sentences."""
    refused: bool = False
    """Whether it failed because the problem itself was found wanting, which its author can correct."""
    artefact: str | None = None
    """Folder of the packaged answer, on the machine that made it."""


class JobView(FrozenValue):
    """One accepted goal and how far it is."""

    id: str
    status: JobStatus
    goal: Goal
    created_s: float
    deadline_s: float
    """When the wall budget is gone."""
    paused_s: float | None
    ended_s: float | None
    spend: Spend
    """`wall_s` is the sum over steps while it runs, the job's own clock once it ended."""
    reason: str
    """Why it failed or was cancelled."""
    event_seq: int
    version: int
    """Grows with every change; the entity tag."""
    problems: tuple[ProblemResult, ...]
    report: str | None
    """Path of the report on the machine that made it; `/v1/jobs/{id}/report` serves it."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.ended_s is not None

    @property
    def is_answered(self) -> bool:
        """Whether every problem ended verified or, honestly, with the library's own call."""
        return bool(self.problems) and all(one.verdict in {"verified", "library"} for one in self.problems)


def job_view(job: Job, graph: GraphView, versions: Sequence[VersionView]) -> JobView:
    """Put a job, its graph and its versions together; all three of one moment, or nearly."""
    return JobView(
        id=job.id,
        status=job.status,
        goal=job.goal,
        created_s=job.created_s,
        deadline_s=job.deadline_s,
        paused_s=job.paused_s,
        ended_s=job.ended_s,
        spend=_spend(job),
        reason=job.reason,
        event_seq=job.event_seq,
        version=job.version,
        problems=_results(job, graph, versions),
        report=_text(_left(graph.nodes, "report"), "report"),
    )


def _spend(job: Job) -> Spend:
    """Give what the job used; once it ended, its wall time is that of its clock, not the sum over its parallel steps.

    The deadline moves with every pause, so pauses are not counted.
    """
    if job.ended_s is None:
        return job.spend
    wall_s = max(0.0, job.ended_s - (job.deadline_s - job.goal.budget.wall_s))
    return job.spend.model_copy(update={"wall_s": wall_s})


def _results(job: Job, graph: GraphView, versions: Sequence[VersionView]) -> tuple[ProblemResult, ...]:
    """Give one result a problem, in the goal's order, whether or not its branch exists yet."""
    branches = {_text(node.params, "problem"): node for node in graph.nodes if node.handler == "optimize"}
    return tuple(
        _result(job, branch, graph, versions)
        if (branch := branches.get(problem)) is not None
        else ProblemResult(
            problem=problem_name(problem),
            device=job.goal.device,
            verdict="failed" if job.has_ended else "unfinished",
            message=job.reason,
        )
        for problem in job.goal.problems
    )


def _result(job: Job, branch: NodeView, graph: GraphView, versions: Sequence[VersionView]) -> ProblemResult:
    inside = f"{branch.id}."
    below = [node for node in graph.nodes if node.id.startswith(inside)]
    mine = [version for version in versions if version.node_id.startswith(inside)]
    judged = [node.outputs for node in below if node.handler == "verify" and node.outputs is not None]
    final = next((outputs for outputs in reversed(judged) if outputs.get("verdict") in {"verified", "library"}), None)
    verdict = _verdict(job, branch, final)
    characterized = _left(below, "characterize")
    return ProblemResult(
        problem=problem_name(_text(branch.params, "problem") or branch.name),
        device=_device(characterized) or job.goal.device,
        baseline=_parsed(BaselineFigures, characterized.get("baseline")),
        best=_parsed(BestFigures, final.get("best")) if final is not None else _champion(mine, characterized),
        versions=len(mine),
        evaluations=sum(node.spend.evaluations for node in below if node.kind is NodeKind.ATOMIC),
        verdict=verdict,
        message=_why(branch, below) if verdict == "failed" else "",
        refused=verdict == "failed" and any(_is_refused(node) for node in below),
        artefact=_text(_left(below, "package"), "path"),
    )


def _verdict(job: Job, branch: NodeView, final: JsonObject | None) -> Verdict:
    if branch.state in {NodeState.FAILED, NodeState.RESCINDED}:
        return "failed"
    if final is not None:
        return "verified" if final.get("verdict") == "verified" else "library"
    return "failed" if job.has_ended else "unfinished"


def _is_refused(node: NodeView) -> bool:
    """Tell bad input from broken infrastructure, which is tried again up to the cap before it fails a node."""
    return node.handler == "characterize" and node.state is NodeState.FAILED and node.attempt < INFRASTRUCTURE_ATTEMPTS


def _why(branch: NodeView, below: Sequence[NodeView]) -> str:
    """Give the reason nearest to the cause: the first failed action's, else the branch's own."""
    actions = [node.reason for node in below if node.state is NodeState.FAILED and node.kind is NodeKind.ATOMIC]
    return next((reason for reason in actions if reason), branch.reason)


def _champion(versions: Sequence[VersionView], characterized: JsonObject) -> BestFigures | None:
    """Draw figures of the latest version that moved the champion."""
    moved = [version for version in versions if version.kind in {"seed", "improve"}]
    evaluation = _parsed(Evaluation, moved[-1].evaluation) if moved else None
    if evaluation is None:
        return None
    raw = characterized.get("bounds")
    bounds = [_parsed(SolBound, one) for one in raw] if isinstance(raw, list) else []
    return best_figures(evaluation, [bound for bound in bounds if bound is not None])


def speedup_of(version: VersionView) -> tuple[float, float, float] | None:
    """Read a version's speed-up over the best baseline: value, low, high; None when it was not timed."""
    ratio = version.evaluation.get("speedup")
    if not isinstance(ratio, Mapping):
        return None
    parts = [ratio.get(name) for name in ("value", "low", "high")]
    value, low, high = (float(part) if isinstance(part, int | float) else None for part in parts)
    return None if value is None or low is None or high is None else (value, low, high)


def problem_name(problem: str) -> str:
    """Name a problem as people do: the last part of its folder."""
    return PurePath(problem).name or problem


def _device(characterized: JsonObject) -> str | None:
    device = characterized.get("device")
    return _text(device, "name") if isinstance(device, dict) else _text(characterized, "device")


def _left(nodes: Sequence[NodeView], handler: str) -> JsonObject:
    """Give what the latest action of a kind left; empty when none ended."""
    return next((node.outputs for node in reversed(nodes) if node.handler == handler and node.outputs), {})


def _text(values: JsonObject, key: str) -> str | None:
    found = values.get(key)
    return found if isinstance(found, str) and found else None


def _parsed(shape: type[Shape], raw: object) -> Shape | None:
    """Read what an action left; outputs of another version of the action are shown as absent, not as an error."""
    if raw is None:
        return None
    try:
        return shape.model_validate(raw)
    except ValidationError:
        return None
