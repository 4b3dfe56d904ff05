"""Owns the operation graph: what a reference computes, as values with symbolic sizes.

The tracer (`deep_agent.sol`) makes one; counting and lowering read it. Operations carry ATen
overload names; views stay in the graph as operations.
"""

from math import isfinite
from typing import Annotated, Literal

from pydantic import Field, field_serializer, field_validator

from deep_agent.problem.dtype import DType
from deep_agent.problem.value import FrozenValue

ValueId = int

LiteralValue = bool | int | float | str | None
"""What a constant operand may be."""

_NON_FINITE_PREFIX = "float:"
"""Marks infinities and NaN in JSON, where a literal's value is otherwise itself."""


class TensorValue(FrozenValue):
    """A tensor that flows between operations."""

    id: ValueId
    shape: tuple[int, ...]
    """Concrete sizes at the traced binding."""
    dims: tuple[str, ...]
    """The same sizes as axis expressions that hold at every binding: `"128"`, `"rows"`, `"batch*seq"`."""
    dtype: DType


class TensorArg(FrozenValue):
    """An operand that is a tensor of the graph."""

    kind: Literal["tensor"] = "tensor"
    id: ValueId


class LiteralArg(FrozenValue):
    """An operand that is a constant, equal at every binding; dtypes and memory formats by name."""

    kind: Literal["literal"] = "literal"
    value: LiteralValue

    @field_serializer("value", when_used="json")
    def _strict_json(self, value: LiteralValue) -> LiteralValue:
        # Strict JSON has no infinities, and -inf is what masks are made of.
        return value if not isinstance(value, float) or isfinite(value) else _NON_FINITE_PREFIX + repr(value)

    @field_validator("value", mode="before")
    @classmethod
    def _from_strict_json(cls, raw: object) -> object:
        if isinstance(raw, str) and raw.startswith(_NON_FINITE_PREFIX):
            return float(raw.removeprefix(_NON_FINITE_PREFIX))
        return raw


class SizeArg(FrozenValue):
    """An integer operand that depends on the axes."""

    kind: Literal["size"] = "size"
    expression: str
    value: int
    """Its value at the traced binding."""


class ScalarInputArg(FrozenValue):
    """An operand that is one of the definition's Python-scalar inputs."""

    kind: Literal["scalar_input"] = "scalar_input"
    name: str


class ListArg(FrozenValue):
    """A list of operands."""

    kind: Literal["list"] = "list"
    items: tuple["Arg", ...]


Arg = Annotated[TensorArg | LiteralArg | SizeArg | ScalarInputArg | ListArg, Field(discriminator="kind")]


class Operation(FrozenValue):
    """One ATen call."""

    name: str
    """Overload name, such as `aten.mul.Tensor`."""
    args: tuple[Arg, ...]
    kwargs: dict[str, Arg] = Field(default_factory=dict)
    outputs: tuple[ValueId, ...]


class OpGraph(FrozenValue):
    """A reference as operations in execution order, after dead work is dropped."""

    definition: str
    sizes: dict[str, int]
    """Every axis at the traced binding."""
    values: tuple[TensorValue, ...]
    inputs: dict[str, ValueId]
    """Tensor inputs by name; scalar inputs appear as `ScalarInputArg` operands only."""
    outputs: dict[str, ValueId]
    operations: tuple[Operation, ...]
    symbolic: bool
    """Whether `dims` and size operands were confirmed at a second binding; if False they are concrete only."""
    rows_touched: dict[ValueId, int] = Field(default_factory=dict)
    """Output of a gather or scatter -> distinct rows (along an axis: elements) it touches; of a grouped product ->
    groups that have rows. At this binding; only where the indices are known."""
    rows_routed: dict[ValueId, int] = Field(default_factory=dict)
    """Output of a grouped product -> rows its groups hold together; only where the offsets are known."""
    rows_listed: dict[ValueId, tuple[int, ...]] = Field(default_factory=dict)
    """Output of a gather of whole rows -> the rows, in the order of the indices; only where known and short."""
    input_bytes: dict[str, int] = Field(default_factory=dict)
    """Physical bytes of inputs whose storage is smaller than their shape (expanded); others are dense."""
    input_aliases: tuple[tuple[str, ...], ...] = ()
    """Groups of inputs that lie in one storage and therefore count once."""

    def value(self, value_id: ValueId) -> TensorValue:
        """Look up a tensor; values are stored at the index of their id."""
        return self.values[value_id]


ListArg.model_rebuild()
