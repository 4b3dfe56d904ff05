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
