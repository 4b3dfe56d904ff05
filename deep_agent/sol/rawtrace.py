"""Owns the raw trace: what one run of a reference did at one binding, with numbers only; torch-free.

Several raw traces of one reference are unified into an `OpGraph` by `symbols`; nothing here is symbolic.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Scalar = bool | int | float
"""A Python number, its type preserved."""


@dataclass(frozen=True)
class RawTensor:
    """An operand that is a tensor, by the index of its value in the trace."""

    id: int


RawArg = RawTensor | Scalar | str | None | tuple["RawArg", ...]
"""An operand: a tensor, a literal, or a list of operands (as a tuple)."""


@dataclass(frozen=True)
class RawValue:
    """Concrete shape and element type of one tensor."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class RawOperation:
    """One ATen call; an output the call did not make is an empty value."""

    name: str
    args: tuple[RawArg, ...]
    kwargs: tuple[tuple[str, RawArg], ...]
    outputs: tuple[int, ...]

    def operands(self) -> Iterator[RawArg]:
        """Give every operand, lists flattened, positional ones first."""
        for arg in (*self.args, *(value for _, value in self.kwargs)):
            yield from _flattened(arg)

    def reads(self) -> tuple[int, ...]:
        """Give the ids of the tensors the call takes."""
        return tuple(operand.id for operand in self.operands() if isinstance(operand, RawTensor))


@dataclass(frozen=True)
class RawTrace:
    """One run: values by id, operations in execution order."""

    values: tuple[RawValue, ...]
    operations: tuple[RawOperation, ...]
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    rows_touched: Mapping[int, int] = field(default_factory=dict)
    """Output id of a gather or scatter -> distinct rows (along an axis: elements) it touches; of a grouped
    product -> groups that have rows. Only where the indices are known."""
    rows_routed: Mapping[int, int] = field(default_factory=dict)
    """Output id of a grouped product -> rows its groups hold together; only where the offsets are known."""
    rows_listed: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Output id of a gather of whole rows -> the rows, in the order of the indices; only where known and short."""
    input_bytes: Mapping[str, int] = field(default_factory=dict)
    """Inputs whose physical storage is smaller than their shape says, with its bytes."""
    aliases: tuple[tuple[str, ...], ...] = ()
    """Groups of inputs that share one storage."""
    stand_ins: tuple[str, ...] = ()
    """Element types without a name in the format, which another type stands in for."""
    unseen: tuple[str, ...] = ()
    """Operations whose indices decide the traffic and are too costly to compute, each with the reason."""
    looked_at: Literal["nothing", "indices", "values"] = "nothing"
    """What the run took from the values of inputs: nothing, counts of rows, or its own course."""

    def sliced(self) -> "RawTrace":
        """Drop what no output depends on, and number the remaining values densely; inputs come first."""
        wanted = set(self.outputs.values())
        kept: list[RawOperation] = []
        for operation in reversed(self.operations):
            if wanted.intersection(operation.outputs):
                kept.append(operation)
                wanted.update(operation.reads())
        kept.reverse()
        order = [*self.inputs.values(), *(out for operation in kept for out in operation.outputs)]
        fresh = {old: new for new, old in enumerate(dict.fromkeys(order))}
        return replace(
            self,
            values=tuple(self.values[old] for old in fresh),
            operations=tuple(_renumbered(operation, fresh) for operation in kept),
            inputs={name: fresh[old] for name, old in self.inputs.items()},
            outputs={name: fresh[old] for name, old in self.outputs.items()},
            rows_touched={fresh[old]: rows for old, rows in self.rows_touched.items() if old in fresh},
            rows_listed={fresh[old]: rows for old, rows in self.rows_listed.items() if old in fresh},
            rows_routed={fresh[old]: rows for old, rows in self.rows_routed.items() if old in fresh},
        )


def _flattened(arg: RawArg) -> Iterator[RawArg]:
    if isinstance(arg, tuple):
        for item in arg:
            yield from _flattened(item)
    else:
        yield arg


def _renumbered(operation: RawOperation, fresh: Mapping[int, int]) -> RawOperation:
    def renumber(arg: RawArg) -> RawArg:
        if isinstance(arg, RawTensor):
            return RawTensor(fresh[arg.id])
        if isinstance(arg, tuple):
            return tuple(renumber(item) for item in arg)
        return arg

    return RawOperation(
        name=operation.name,
        args=tuple(renumber(arg) for arg in operation.args),
        kwargs=tuple((key, renumber(arg)) for key, arg in operation.kwargs),
        outputs=tuple(fresh[old] for old in operation.outputs),
    )
