"""Owns what one bound is made of, as values to show: tensors, contractions, and what is not charged."""

from typing import Annotated, Literal

from pydantic import Field

from deep_agent.problem.bound import Count
from deep_agent.problem.dtype import DType
from deep_agent.problem.value import FrozenValue


class TensorTraffic(FrozenValue):
    """One input or output, and how much of it must cross memory."""

    name: str
    role: Literal["input", "output"]
    dtype: DType
    shape: tuple[int, ...]
    charged_bytes: Count
    dense_bytes: Count
    """One dense copy of the whole tensor."""
    why: str = ""
    """Why fewer bytes are charged; empty when all are."""


class ContractionCost(FrozenValue):
    """Contractions of equal kind and size."""

    operation: str
    n_calls: Annotated[int, Field(ge=1)]
    operands: str
    """Shapes of its tensor operands, in words."""
    dtype: DType
    """The type whose rate prices it: the narrowest that already holds its operands."""
    macs: Count
    """Multiply-adds of all the calls that a provable mask leaves."""
    mac_per_s: Annotated[float, Field(gt=0)] | None
    """None where the device has no rate for the type: not charged."""
    time_us: Count


class Breakdown(FrozenValue):
    """Why one workload's figures are what they are."""

    workload: str
    tensors: tuple[TensorTraffic, ...]
    contractions: tuple[ContractionCost, ...]
    memory_us: Count
    compute_us: Count
    not_charged: tuple[str, ...]
    """What the bound leaves out, and why, a sentence each."""
