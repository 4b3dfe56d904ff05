"""Owns the roofline plot: what the device allows at each intensity, and where the arms stand; pure.

The plot counts every operation (2 a multiply-add, 1 an elementwise step or special function), so that
operations without multiply-adds can be placed; the bound itself charges multiply-adds and bytes only.
"""

from collections.abc import Iterable

from markupsafe import Markup

from deep_agent.executor.report import svg
from deep_agent.executor.report.figures import quantity, time
from deep_agent.problem.bound import SolBound, Work
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.dtype import DType
from deep_agent.problem.evaluation import WorkloadEvaluation
from deep_agent.problem.value import FrozenValue


class RooflinePoint(FrozenValue):
    """One workload on the plot."""

    intensity: float
    """Operations a byte."""
    bound_flop_per_s: float
    baseline_flop_per_s: float
    answer_flop_per_s: float
    titles: tuple[str, str, str]
    """Tooltips of bound, baseline and answer."""


def operations(work: Work) -> float:
    """Count operations of every kind: 2 a multiply-add, 1 each of the others."""
    return 2 * sum(work.macs.values()) + work.other_flop + work.special_flop


def roofline_points(bounds: Iterable[SolBound], found: Iterable[WorkloadEvaluation]) -> tuple[RooflinePoint, ...]:
    """Pair bounds with measured workloads; those without a time, operations or bytes are left out."""
    timed = {one.uuid: one for one in found}
    points = []
    for bound in bounds:
        one = timed.get(bound.workload)
        flop, moved = operations(bound.work), bound.work.moved_bytes
        if one is None or one.candidate is None or one.baseline is None or min(flop, moved, bound.time_us) <= 0:
            continue
        times = (bound.time_us, one.baseline.time_us, one.candidate.time_us)
        names = ("bound", one.baseline_name or "baseline", "answer")
        rates = tuple(flop / (time_us * 1e-6) for time_us in times)
        points.append(
            RooflinePoint(
                intensity=flop / moved,
                bound_flop_per_s=rates[0],
                baseline_flop_per_s=rates[1],
                answer_flop_per_s=rates[2],
                titles=_titles(names, times, rates),
            )
        )
    return tuple(points)


def _titles(names: tuple[str, str, str], times: tuple[float, ...], rates: tuple[float, ...]) -> tuple[str, str, str]:
    first, second, third = (
        f"{name}: {time(time_us)}, {quantity(rate, 'flop/s')}"
        for name, time_us, rate in zip(names, times, rates, strict=True)
    )
    return first, second, third


def roofline(points: tuple[RooflinePoint, ...], device: DeviceModel, dtype: DType) -> Markup | None:
    """Plot intensity against operations a second; None when there is no point.

    Args:
        points: at least one, or there is no plot.
        device: whose roofs are drawn: its fastest bandwidth, and its multiply-add peak for `dtype` if it has one.
        dtype: operand type whose peak is the flat roof.
    """
    if not points:
        return None
    bandwidth = device.fastest_bytes_per_s()
    peak = 2 * device.mac_per_s[dtype] if dtype in device.mac_per_s else None
    x_axis, y_axis = _axes(points, bandwidth, peak)
    roof = _roof(x_axis, y_axis, bandwidth, peak)
    _, (corner_x, corner_y), *_ = roof
    parts = [
        svg.frame(x_axis, y_axis, "operations a byte", "operations a second"),
        svg.path(roof, "roof"),
        # Above and left of the corner nothing can be measured, so the words are in nobody's way.
        svg.text(corner_x - 12, corner_y + 4, f"memory {quantity(bandwidth, 'B/s')}", anchor="end"),
    ]
    if peak is not None:
        words = f"{dtype.value} {quantity(peak, 'flop/s')}"
        parts.append(svg.text(svg.RIGHT - 4, y_axis.at(peak) - 6, words, anchor="end"))
    parts += [_workload_marks(point, x_axis, y_axis) for point in points]
    return svg.drawing(parts, "Roofline")


def _axes(points: tuple[RooflinePoint, ...], bandwidth: float, peak: float | None) -> tuple[svg.Scale, svg.Scale]:
    intensities = [point.intensity for point in points]
    rates = [
        rate
        for point in points
        for rate in (point.bound_flop_per_s, point.baseline_flop_per_s, point.answer_flop_per_s)
    ]
    ridge = peak / bandwidth if peak is not None else max(intensities)
    x_low, x_high = min(*intensities, ridge) / 6, max(*intensities, ridge) * 6
    top = max(*rates, peak if peak is not None else bandwidth * x_high)
    return (
        svg.horizontal(x_low, x_high, logarithmic=True),
        svg.vertical(min(*rates, bandwidth * x_low * 3) / 2, top * 3, logarithmic=True),
    )


def _roof(x_axis: svg.Scale, y_axis: svg.Scale, bandwidth: float, peak: float | None) -> list[tuple[float, float]]:
    # The diagonal starts where it enters the plot, or it would be bent by the edge.
    start = max(x_axis.low, y_axis.low / bandwidth)
    corner = min(x_axis.high, (peak if peak is not None else y_axis.high) / bandwidth)
    corners = [(start, bandwidth * start), (corner, bandwidth * corner)]
    if peak is not None:
        corners.append((x_axis.high, peak))
    return [(x_axis.at(x), y_axis.at(y)) for x, y in corners]


def _workload_marks(point: RooflinePoint, x_axis: svg.Scale, y_axis: svg.Scale) -> Markup:
    x = x_axis.at(point.intensity)
    bound, baseline, answer = (
        y_axis.at(rate) for rate in (point.bound_flop_per_s, point.baseline_flop_per_s, point.answer_flop_per_s)
    )
    return Markup("").join(
        (
            svg.line((x, baseline), (x, answer), "reach"),
            svg.line((x - 7, bound), (x + 7, bound), "bound"),
            svg.mark(x, baseline, "diamond", point.titles[1]),
            svg.mark(x, answer, "dot", point.titles[2]),
        )
    )
