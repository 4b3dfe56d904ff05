"""Owns the trajectory plot: how the search moved, attempt by attempt; pure."""

from collections.abc import Iterator

from markupsafe import Markup

from deep_agent.executor.report import svg
from deep_agent.executor.report.content import SearchStep

_SHAPES = {
    "improve": "dot",
    "match": "ring",
    "rejected": "ring",
    "nothing_left": "ring",
    "error": "cross",
    "failed": "cross",
}


def trajectory(steps: tuple[SearchStep, ...]) -> Markup | None:
    """Plot speed-up by attempt; failures are crosses at the foot, the champion is the staircase.

    None when no attempt was timed, since there is nothing to plot.
    """
    speedups = [step.speedup for step in steps if step.speedup is not None]
    if not speedups:
        return None
    last = max(step.number for step in steps)
    x_axis = svg.horizontal(0.5, last + 0.5)
    y_axis = svg.vertical(0.0, max(1.2, *speedups) * 1.08)
    parts = [
        svg.frame(x_axis, y_axis, "attempt", "speed-up over the best baseline", whole_x=True),
        svg.line((svg.LEFT, y_axis.at(1)), (svg.RIGHT, y_axis.at(1)), "baseline"),
        svg.text(svg.RIGHT - 2, y_axis.at(1) - 4, "best baseline", anchor="end", kind="label baseline-name"),
        svg.path(_staircase(steps, x_axis, y_axis), "champion"),
        *(_step_mark(step, x_axis, y_axis) for step in steps),
    ]
    return svg.drawing(parts, "Speed-up by attempt")


def _staircase(steps: tuple[SearchStep, ...], x_axis: svg.Scale, y_axis: svg.Scale) -> Iterator[tuple[float, float]]:
    height: float | None = None
    for step in steps:
        if step.outcome != "improve" or step.speedup is None:
            continue
        if height is not None:
            yield x_axis.at(step.number), height
        height = y_axis.at(step.speedup)
        yield x_axis.at(step.number), height
    if height is not None:
        yield svg.RIGHT, height


def _step_mark(step: SearchStep, x_axis: svg.Scale, y_axis: svg.Scale) -> Markup:
    if step.speedup is None:
        words = f"attempt {step.number}: {step.status or step.outcome} {step.message[:120]}".strip()
        return svg.mark(x_axis.at(step.number), svg.BOTTOM - 8, "cross", words)
    words = f"attempt {step.number}: {step.speedup:.3f}x, {step.outcome}. {step.note[:120]}".strip()
    return svg.mark(x_axis.at(step.number), y_axis.at(step.speedup), _SHAPES[step.outcome], words)
