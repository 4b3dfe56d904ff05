"""Owns the operation graph: what a reference computes, as values with symbolic sizes.

The tracer (`deep_agent.sol`) makes one; counting and lowering read it. Operations carry ATen
overload names; views stay in the graph as operations.
"""

from typing import Annotated, Literal

from pydantic import Field

from deep_agent.problem.dtype import DType
from deep_agent.problem.value import FrozenValue

ValueId = int


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
    value: bool | int | float | str | None


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

    def value(self, value_id: ValueId) -> TensorValue:
        """Look up a tensor; values are stored at the index of their id."""
        return self.values[value_id]


ListArg.model_rebuild()
