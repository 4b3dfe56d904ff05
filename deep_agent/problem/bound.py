"""Owns the values of a speed-of-light bound and of a SOL Score."""

from typing import Annotated, Literal

from pydantic import Field

from deep_agent.problem.dtype import DType
from deep_agent.problem.value import FrozenValue

Count = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Work(FrozenValue):
    """What one workload must do, whoever does it."""

    macs: dict[DType, Count]
    """Multiply-adds of contractions by operand type."""
    other_flop: Count
    """Elementwise and reduction operations; reported, never in the bound."""
    special_flop: Count
    """exp, log, tanh and their kin; reported, never in the bound."""
    read_bytes: Count
    written_bytes: Count

    @property
    def moved_bytes(self) -> float:
        """Bytes that must cross DRAM."""
        return self.read_bytes + self.written_bytes


class Figures(FrozenValue):
    """The bounds of one workload by kind, in microseconds; gate <= strict <= capacity and strict <= unfused."""

    strict_us: Count
    """The bound scores are computed from: real widths, fastest permitted paths, highest clock and bandwidth."""
    gate_us: Count | None = None
    """Below this a time is physically impossible; None where nothing proves that: rates that were measured, or zeros
    or a mask that may spare part of what is counted."""
    capacity_us: Count | None = None
    """Strict, with what a matrix product must move more because the last-level cache is finite; for context."""
    unfused_us: Count | None = None
    """Every operation reads its inputs from memory and writes its outputs there; None without a graph."""
    compat_us: Count | None = None
    """By the rules and B200 constants of the published bounds, whatever the device; None on a CPU."""


class SolBound(FrozenValue):
    """The least time a device allows one workload, and why."""

    workload: str
    """The workload's uuid."""
    time_us: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    limiter: Literal["memory", "compute"]
    work: Work
    tier: Literal[1, 2, 3]
    """1 traced with fake tensors, 2 with real inputs, 3 declared inputs and outputs only."""
    bound_kind: Literal["measured", "sheet"]
    bounds: Figures | None = None
    """Strict, which is `time_us`, beside the other kinds; None in records older than they are."""
    notes: tuple[str, ...] = ()
    """Why the number is what it is: rates used, operations without a rule, traffic not charged."""


class SolScore(FrozenValue):
    """The share of the gap from baseline to bound that is closed."""

    raw: float | None
    """Unclamped 1 / (1 + (T_k - T_SOL) / (T_b - T_SOL)); None where undefined."""
    clamped: Annotated[float, Field(ge=0, le=1)]
    below_sol: bool
    """The measured time undercuts the bound by more than the noise: quarantine."""
    baseline_at_sol: bool
    """The baseline already reaches the bound."""
