"""Owns naming what holds a solution back on a CPU, from what was observed. Pure."""

from dataclasses import dataclass
from typing import Final

from deep_agent.harness.profiling.disassembly import InstructionMix
from deep_agent.harness.profiling.perf import Counts
from deep_agent.problem.bound import SolBound
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.profile import Bottleneck, Figure

NEAR_A_LIMIT: Final = 0.6
"""Share of a rate from which it is what holds a solution back; what is left is start-up, tails and noise."""
VECTORISED: Final = 0.5
"""Share of packed arithmetic below which the loops count as not vectorised."""


@dataclass(frozen=True, slots=True)
class CpuObservation:
    """What was seen of one solution on one workload."""

    time_us: float
    """Median wall time of a call while profiled; no score rests on it."""
    moved_bytes: float
    """Least traffic of a call."""
    mix: InstructionMix | None
    """None for a solution without an object, or a machine whose instructions are not read."""
    counts: Counts | None
    """None where perf does not run."""


def diagnose(
    seen: CpuObservation, device: DeviceModel, bound: SolBound | None
) -> tuple[Bottleneck, tuple[Figure, Figure, Figure]]:
    """Name the bottleneck and the three figures that say so.

    The nearest limit wins: bandwidth, then arithmetic. A solution near neither is told apart by its loops: not
    vectorised, or vectorised and waiting for its own steps. Without an object only the limits can be told.
    """
    bandwidth = seen.moved_bytes / (seen.time_us * 1e-6) / device.fastest_bytes_per_s()
    arithmetic = _arithmetic_share(seen, device, bound)
    memory_figure = Figure(name="share of the measured bandwidth", value=100 * bandwidth, unit="%")
    known = None if arithmetic is None else 100 * arithmetic
    arithmetic_figure = Figure(name="share of the peak multiply-add rate", value=known, unit="%")
    time_figure = Figure(name="time of a call while profiled", value=seen.time_us, unit="us")
    packed = None if seen.mix is None else seen.mix.packed_share
    if max(bandwidth, arithmetic or 0.0) >= NEAR_A_LIMIT:
        nearest: Bottleneck = "memory" if bandwidth >= (arithmetic or 0.0) else "compute"
        return nearest, (memory_figure, arithmetic_figure, time_figure)
    if seen.mix is None or packed is None:
        return ("unknown" if seen.mix is None else "latency"), (memory_figure, arithmetic_figure, time_figure)
    packed_figure = Figure(name="packed share of floating-point arithmetic in loops", value=100 * packed, unit="%")
    if packed < VECTORISED:
        calls_figure = Figure(name="calls inside innermost loops", value=seen.mix.n_calls, unit="")
        return "scalar", (packed_figure, calls_figure, memory_figure)
    per_cycle = None if seen.counts is None else seen.counts.instructions_per_cycle
    if per_cycle is not None:
        return "latency", (
            Figure(name="instructions per cycle", value=per_cycle, unit=""),
            memory_figure,
            arithmetic_figure,
        )
    return "latency", (memory_figure, arithmetic_figure, packed_figure)


def _arithmetic_share(seen: CpuObservation, device: DeviceModel, bound: SolBound | None) -> float | None:
    """Time the multiply-adds alone would take at the peak, over the time of a call; None where they are not known."""
    if bound is None:
        return None
    least_s = sum(macs / device.peak_mac_per_s(dtype) for dtype, macs in bound.work.macs.items())
    return least_s / (seen.time_us * 1e-6)


def resource_figures(seen: CpuObservation, stack_bytes: int | None) -> tuple[Figure, ...]:
    """Give what the build takes."""
    figures = [] if stack_bytes is None else [Figure(name="largest stack frame", value=stack_bytes, unit="bytes")]
    if seen.mix is not None:
        mix = seen.mix
        figures += [
            Figure(name="widest packed arithmetic", value=mix.vector_bits, unit="bits"),
            Figure(name="innermost loops", value=mix.n_loops, unit=""),
            Figure(name="instructions in them", value=mix.n_instructions, unit=""),
            Figure(name="packed arithmetic in them", value=mix.n_packed, unit=""),
            Figure(name="scalar arithmetic in them", value=mix.n_scalar, unit=""),
            Figure(name="stack moves in them", value=mix.n_stack_moves, unit=""),
            Figure(name="gathers in them", value=mix.n_gathers, unit=""),
            Figure(name="calls in them", value=mix.n_calls, unit=""),
        ]
    return tuple(figures)
