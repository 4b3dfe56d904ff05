"""Owns the telling of a bound: tables of figures, then why each of them is what it is."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from deep_agent.problem.bound import Figures, SolBound
from deep_agent.problem.breakdown import Breakdown, ContractionCost, TensorTraffic
from services.cli import terminal

if TYPE_CHECKING:
    from deep_agent.executor.application import BoundReport

KINDS = {
    "Gate": "below it a time is physically impossible: fastest rate of any type, minimal filtering, outputs may stay in cache",
    "Strict": "the bound that scores use: real widths, fastest permitted path of each type, highest clock and bandwidth",
    "Capacity": "strict, with what matrix products move more because the last-level cache is finite; for context, not proven",
    "Unfused": "every operation reads and writes memory, as eager execution does; for context",
    "Published": "by the rules and B200 constants of the published bounds, whatever the device; compare it with those alone",
}
TIERS = {
    1: "traced at its sizes without running the arithmetic",
    2: "traced with real, generated inputs, because values decide the work",
    3: "could not be traced: only the declared outputs count",
}


def figures_table(report: "BoundReport") -> RenderableType:
    """Tabulate every kind of bound, a row a workload."""
    sizes = {workload.uuid: workload.axes for workload in report.problem.workloads}
    table = terminal.plain_table("Workload", "Sizes", *(f">{kind}" for kind in KINDS), "Limited by", "Tier")
    for one in report.bounds:
        written = ", ".join(f"{axis} {size}" for axis, size in sizes[one.workload].items())
        table.add_row(Text(one.workload), Text(written), *_kinds(one), one.limiter, str(one.tier))
    return table


def _kinds(one: SolBound) -> Iterator[str]:
    kinds = one.bounds or Figures(strict_us=one.time_us)
    for time_us in (kinds.gate_us, kinds.strict_us, kinds.capacity_us, kinds.unfused_us, kinds.compat_us):
        yield "-" if time_us is None else duration(time_us)


def explanation(report: "BoundReport") -> Iterator[RenderableType]:
    """Say why each number is what it is: every workload's parts, then the kinds, then the device's rates."""
    parts = {one.workload: one for one in report.breakdowns}
    for one in report.bounds:
        yield Text()
        yield Text(f"{one.workload}: {_verdict(one, parts.get(one.workload))}", style="bold")
        if one.workload in parts:
            yield from _parts(parts[one.workload])
        if one.notes:
            yield from _listed("how it was counted", one.notes)
    yield Text()
    yield from _listed("the kinds of bounds", [f"{kind.lower()}: {said}" for kind, said in KINDS.items()])
    rates = [f"{rate}: {how}" for rate, how in report.device.how.items()]
    yield from _listed(f"rates of {report.device.name}", rates)


def _verdict(one: SolBound, parts: Breakdown | None) -> str:
    said = f"{duration(one.time_us)}, {one.limiter} wins"
    if parts is not None:
        said += f" ({duration(parts.memory_us)} of memory, {duration(parts.compute_us)} of multiply-adds)"
    return f"{said}; tier {one.tier}, {TIERS[one.tier]}"


def _parts(parts: Breakdown) -> Iterator[RenderableType]:
    tensors = terminal.plain_table("", "Tensor", "Role", "Type", "Shape", ">Charged", "")
    for one in parts.tensors:
        shape = " x ".join(str(size) for size in one.shape) or "one number"
        tensors.add_row(
            "", Text(one.name), one.role, one.dtype.value, shape, n_bytes(one.charged_bytes), Text(_less(one))
        )
    yield tensors
    if parts.contractions:
        yield _contractions(parts.contractions)
    yield from _listed("not charged", parts.not_charged)


def _less(one: TensorTraffic) -> str:
    return f"of {n_bytes(one.dense_bytes)}: {one.why}" if one.why else ""


def _contractions(costs: tuple[ContractionCost, ...]) -> RenderableType:
    table = terminal.plain_table("", "Contraction", ">Calls", "Operands", "Type", ">Multiply-adds", ">Peak", ">Time")
    for one in costs:
        peak = "no rate" if one.mac_per_s is None else f"{2 * one.mac_per_s / 1e12:,.4g} TFLOP/s"
        row = (str(one.n_calls), one.operands, one.dtype.value, f"{one.macs:,.0f}", peak, duration(one.time_us))
        table.add_row("", Text(one.operation), *row)
    return table


def _listed(heading: str, lines: "tuple[str, ...] | list[str]") -> Iterator[RenderableType]:
    yield Padding(Text(heading, style="dim"), (0, 0, 0, 2), expand=False)
    for line in lines:
        yield Padding(Text(f"- {line}"), (0, 0, 0, 4), expand=False)


def duration(time_us: float) -> str:
    """Write a time with three to five digits, in the unit that suits it."""
    if time_us >= 1e4:
        return f"{time_us / 1e3:,.1f} ms"
    return f"{time_us:,.1f} us" if time_us >= 10 else f"{time_us:.3g} us"


def n_bytes(count: float) -> str:
    """Write a number of bytes in decimal units, as bandwidths are."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:,.4g} {name}"
    return f"{count:.0f} B"
