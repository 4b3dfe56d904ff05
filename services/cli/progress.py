"""Owns what live progress says: one row a problem, from a view of the job and its graph; pure."""

from collections.abc import Sequence

from deep_agent.htdag.job import GraphView, JobStatus
from deep_agent.htdag.node import NodeState
from deep_agent.problem.value import FrozenValue
from services.cli.durations import write_duration
from services.views import JobView, ProblemResult

STEPS = {
    "characterize": "timing the library",
    "evolve": "searching",
    "verify": "verifying on unseen shapes",
    "package": "packaging",
}
"""Handler of a branch's child -> what it does, for people."""


class Row(FrozenValue):
    """One problem, now."""

    problem: str
    step: str
    tried: int
    best: str
    """Speed-up with its baseline, or empty."""
    message: str = ""


def rows(job: JobView, graph: GraphView) -> tuple[Row, ...]:
    """Give one row a problem, in the goal's order."""
    branches = {node.params.get("problem"): node.id for node in graph.nodes if node.handler == "optimize"}
    return tuple(
        Row(
            problem=result.problem,
            step=_step(result, _running(graph, branches.get(problem)), job),
            tried=result.evaluations,
            best=_best(result),
            message=result.message,
        )
        for problem, result in zip(job.goal.problems, job.problems, strict=True)
    )


def _running(graph: GraphView, branch: str | None) -> str | None:
    """Name the handler of the child of a branch that is at work."""
    busy = {NodeState.RUNNING, NodeState.VALIDATING}
    return next((node.handler for node in graph.nodes if node.owner == branch and node.state in busy), None)


def _step(result: ProblemResult, running: str | None, job: JobView) -> str:
    if running is not None and not job.is_over:
        return STEPS.get(running, running)
    words = {
        "verified": "verified",
        "library": "no faster kernel found",
        "failed": "failed",
        "unfinished": "waiting",
    }
    if result.verdict == "unfinished" and job.status is JobStatus.PAUSED:
        return "paused"
    return words[result.verdict]


def _best(result: ProblemResult) -> str:
    if result.best is None:
        return ""
    against = f" of {result.baseline.name.replace('_', ' ')}" if result.baseline else ""
    return f"{result.best.speedup:.2f}x the speed{against}"


def headline(job: JobView, *, now_s: float) -> str:
    """Say how the whole job stands in one line."""
    elapsed = write_duration((job.ended_s or now_s) - job.created_s)
    if job.is_over:
        return f"job {job.id} {job.status} after {elapsed}"
    if job.status is JobStatus.PAUSED:
        return f"job {job.id} paused after {elapsed}"
    left_s = job.deadline_s - now_s
    left = f"{write_duration(left_s)} left" if left_s > 0 else "budget used, finishing"
    return f"job {job.id} {job.status}, {elapsed} passed, {left}"


def news(before: Sequence[Row], after: Sequence[Row]) -> tuple[str, ...]:
    """Write a plain line for each row whose step or best changed; counters alone are no news."""
    old = {row.problem: row for row in before}
    lines = []
    for row in after:
        was = old.get(row.problem)
        if was is None or (was.step, was.best) != (row.step, row.best):
            parts = [row.step, row.best, f"{row.tried} tried" if row.tried else "", row.message]
            lines.append(f"{row.problem}: " + ", ".join(part for part in parts if part))
    return tuple(lines)
