"""Owns the unification of raw traces into one operation graph; torch-free.

What is equal at every binding is a literal, what changes becomes an axis expression, and what changes
with a scalar input becomes that input. What can be explained by neither makes the graph concrete.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deep_agent.problem.dtype import DType
from deep_agent.problem.opgraph import (
    Arg,
    ListArg,
    LiteralArg,
    LiteralValue,
    Operation,
    OpGraph,
    ScalarInputArg,
    SizeArg,
    TensorArg,
    TensorValue,
)
from deep_agent.sol.expressions import ExpressionFinder
from deep_agent.sol.rawtrace import RawArg, RawOperation, RawTensor, RawTrace, Scalar


@dataclass(frozen=True)
class Binding:
    """A raw trace and the sizes it was made at."""

    sizes: Mapping[str, int]
    trace: RawTrace


@dataclass(frozen=True)
class ScalarVariant:
    """The base binding run again with one scalar input changed."""

    name: str
    value: Scalar
    changed: Scalar
    trace: RawTrace


class _Inexpressible(Exception):
    """A number changes between bindings and nothing simple explains it."""


def same_structure(left: RawTrace, right: RawTrace) -> bool:
    """Whether two runs made the same calls on the same values, numbers aside."""
    return (
        dict(left.inputs) == dict(right.inputs)
        and dict(left.outputs) == dict(right.outputs)
        and [(value.dtype, len(value.shape)) for value in left.values]
        == [(value.dtype, len(value.shape)) for value in right.values]
        and len(left.operations) == len(right.operations)
        and all(_same_call(a, b) for a, b in zip(left.operations, right.operations, strict=True))
    )


def _same_call(left: RawOperation, right: RawOperation) -> bool:
    return (
        left.name == right.name
        and left.outputs == right.outputs
        and [key for key, _ in left.kwargs] == [key for key, _ in right.kwargs]
        and _same_form(left.args, right.args)
        and all(_same_form(a, b) for (_, a), (_, b) in zip(left.kwargs, right.kwargs, strict=True))
    )


def _same_form(left: RawArg, right: RawArg) -> bool:
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(_same_form(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, int | float) and isinstance(right, int | float):
        return isinstance(left, bool) == isinstance(right, bool)
    return left == right


def unify(
    definition: str,
    base: Binding,
    others: Sequence[Binding],
    scalars: Sequence[ScalarVariant],
    axes: Sequence[str],
) -> OpGraph | None:
    """Build the symbolic graph, or answer None when a number has no expression.

    Args:
        definition: name of the definition.
        base: the binding whose concrete numbers the graph keeps.
        others: further bindings of the same structure; empty when the definition has no free axis.
        scalars: runs with one scalar input changed, of the same structure.
        axes: axes an expression may use, most readable first.
    """
    finder = ExpressionFinder([base.sizes, *(other.sizes for other in others)], axes)
    try:
        return _Builder(definition, base, tuple(others), tuple(scalars), finder).build()
    except _Inexpressible:
        return None


def concrete(definition: str, base: Binding) -> OpGraph:
    """Build the graph of one binding alone: every number a literal, `symbolic` False."""
    graph = _Builder(definition, base, (), (), ExpressionFinder([base.sizes], ())).build()
    return graph.model_copy(update={"symbolic": False})


class _Builder:
    def __init__(
        self,
        definition: str,
        base: Binding,
        others: tuple[Binding, ...],
        scalars: tuple[ScalarVariant, ...],
        finder: ExpressionFinder,
    ) -> None:
        self._definition = definition
        self._base = base
        self._others = others
        self._scalars = scalars
        self._finder = finder

    def build(self) -> OpGraph:
        trace = self._base.trace
        return OpGraph(
            definition=self._definition,
            sizes=dict(self._base.sizes),
            values=tuple(self._value(index) for index in range(len(trace.values))),
            inputs=dict(trace.inputs),
            outputs=dict(trace.outputs),
            operations=tuple(self._operation(index) for index in range(len(trace.operations))),
            symbolic=True,
            rows_touched=dict(trace.rows_touched),
            rows_routed=dict(trace.rows_routed),
            rows_listed=dict(trace.rows_listed),
            input_bytes=dict(trace.input_bytes),
            input_aliases=trace.aliases,
        )

    def _value(self, index: int) -> TensorValue:
        value = self._base.trace.values[index]
        others = [other.trace.values[index].shape for other in self._others]
        return TensorValue(
            id=index,
            shape=value.shape,
            dims=tuple(
                self._expression((size, *(shape[axis] for shape in others))) for axis, size in enumerate(value.shape)
            ),
            dtype=DType(value.dtype),
        )

    def _operation(self, index: int) -> Operation:
        base = self._base.trace.operations[index]
        others = [other.trace.operations[index] for other in self._others]
        variants = [variant.trace.operations[index] for variant in self._scalars]
        twins = [*others, *variants]
        kwargs = {
            key: self._arg(value, [twin.kwargs[place][1] for twin in twins])
            for place, (key, value) in enumerate(base.kwargs)
        }
        args = tuple(self._arg(value, [twin.args[place] for twin in twins]) for place, value in enumerate(base.args))
        return Operation(name=base.name, args=args, kwargs=kwargs, outputs=base.outputs)

    def _arg(self, base: RawArg, twins: list[RawArg]) -> Arg:
        if isinstance(base, RawTensor):
            return TensorArg(id=base.id)
        if isinstance(base, tuple):
            lists = [twin for twin in twins if isinstance(twin, tuple)]
            items = tuple(self._arg(item, [twin[place] for twin in lists]) for place, item in enumerate(base))
            return ListArg(items=items)
        scalar = self._scalar(base, twins[len(self._others) :])
        if scalar is not None:
            return scalar
        return self._number(base, twins[: len(self._others)])

    def _scalar(self, base: RawArg, variants: list[RawArg]) -> ScalarInputArg | None:
        for variant, changed in zip(self._scalars, variants, strict=True):
            if changed != base:
                if base == variant.value and changed == variant.changed:
                    return ScalarInputArg(name=variant.name)
                raise _Inexpressible
        return None

    def _number(self, base: LiteralValue, others: list[RawArg]) -> Arg:
        # repr tells NaN from NaN as equal, and 1 from 1.0 and True as different.
        if all(repr(other) == repr(base) for other in others):
            return LiteralArg(value=base)
        whole = [int(seen) for seen in (base, *others) if isinstance(seen, int | float) and seen == int(seen)]
        if len(whole) != len(others) + 1:
            raise _Inexpressible
        return SizeArg(expression=self._expression(tuple(whole)), value=whole[0])

    def _expression(self, numbers: tuple[int, ...]) -> str:
        found = self._finder.find(numbers)
        if found is None:
            raise _Inexpressible
        return found
