"""Owns the trajectory plots: speed-up of the champion by version, as points of a small SVG; pure."""

from collections.abc import Mapping, Sequence

from deep_agent.htdag.job import VersionView
from deep_agent.problem.value import FrozenValue
from services.views import speedup_of

LEFT, RIGHT, TOP, BOTTOM = 40.0, 308.0, 12.0, 98.0


class Step(FrozenValue):
    """One version on the plot."""

    version: VersionView
    speedup: float
    note: str
    x: float
    y: float


class Curve(FrozenValue):
    """The trajectory of one problem; y grows downwards, as SVG has it."""

    problem: str
    steps: tuple[Step, ...]
    best: float
    one_y: float
    """Height of the line where candidate and baseline are equally fast."""
    top_y: float
    """Height of the best version."""
    path: str
    """The staircase through all steps."""


def curves(versions: Sequence[VersionView], names: Mapping[str, str], notes: Mapping[str, str]) -> tuple[Curve, ...]:
    """Plot each problem's versions that were timed, in the order they were committed.

    Args:
        versions: of one job.
        names: id of a branch of the graph -> the name of its problem.
        notes: id of a node -> what it tried, in words.
    """
    by_problem: dict[str, list[tuple[VersionView, float]]] = {}
    for version in versions:
        ratio = speedup_of(version)
        branch = next((name for node, name in names.items() if version.node_id.startswith(f"{node}.")), version.search)
        if ratio is not None:
            by_problem.setdefault(branch, []).append((version, ratio[0]))
    return tuple(_curve(problem, members, notes) for problem, members in by_problem.items())


def _curve(problem: str, members: Sequence[tuple[VersionView, float]], notes: Mapping[str, str]) -> Curve:
    speedups = [speedup for _, speedup in members]
    high, low = max(1.0, *speedups), min(1.0, *speedups)
    span = max(high - low, 0.1)

    def y_of(speedup: float) -> float:
        return round(BOTTOM - (speedup - low) / span * (BOTTOM - TOP), 1)

    gap = (RIGHT - LEFT) / max(len(members) - 1, 1)
    steps = tuple(
        Step(
            version=version,
            speedup=speedup,
            note=notes.get(version.node_id, ""),
            x=round(LEFT + index * gap, 1),
            y=y_of(speedup),
        )
        for index, (version, speedup) in enumerate(members)
    )
    path = f"M{steps[0].x},{steps[0].y}" + "".join(f" H{step.x} V{step.y}" for step in steps[1:])
    best = max(speedups)
    return Curve(problem=problem, steps=steps, best=best, one_y=y_of(1.0), top_y=y_of(best), path=path)
