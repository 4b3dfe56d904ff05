"""Owns the values of tensors that depend on no input, such as attention masks; evaluated with numpy, on demand."""

from collections.abc import Callable
from math import prod

import numpy as np
from numpy.typing import NDArray

from deep_agent.problem.dtype import DType
from deep_agent.problem.opgraph import Arg, LiteralArg, Operation, OpGraph, TensorArg
from deep_agent.sol.operands import axis_of, base_name, integer_at, integers_at, number_of

MAX_ELEMENTS = 2**25
"""Larger constants are not evaluated; what they mask is then counted as visible."""

Array = NDArray[np.generic]

_NUMPY_TYPES: dict[DType, str] = {
    DType.BOOL: "bool",
    DType.INT8: "int8",
    DType.INT16: "int16",
    DType.INT32: "int32",
    DType.INT64: "int64",
    DType.FLOAT64: "float64",
}
_COMPARISONS: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "le": np.less_equal,
    "lt": np.less,
    "ge": np.greater_equal,
    "gt": np.greater,
    "eq": np.equal,
    "ne": np.not_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "__and__": np.bitwise_and,
    "__or__": np.bitwise_or,
}


class Constants:
    """Evaluates, once each, the values of a graph that depend on no input."""

    def __init__(self, graph: OpGraph) -> None:
        """Keep the graph; nothing is evaluated yet."""
        self._graph = graph
        self._makers = {out: operation for operation in graph.operations for out in operation.outputs}
        self._known: dict[int, Array | None] = {}

    def value(self, value_id: int) -> Array | None:
        """Give the array, broadcast lazily; None when it depends on an input or no rule covers it."""
        if value_id not in self._known:
            operation = self._makers.get(value_id)
            self._known[value_id] = None if operation is None else self._evaluate(operation, value_id)
        return self._known[value_id]

    def _evaluate(self, operation: Operation, value_id: int) -> Array | None:
        target = self._graph.value(value_id)
        operands = [self._operand(arg) for arg in operation.args]
        rule = _RULES.get(base_name(operation))
        if rule is None or len(operation.outputs) != 1 or prod(target.shape) > MAX_ELEMENTS:
            return None
        if any(
            isinstance(arg, TensorArg) and found is None for arg, found in zip(operation.args, operands, strict=True)
        ):
            return None
        made = rule(operation, operands, target.shape)
        if made is None or made.shape != target.shape:
            return None
        return made.astype(_NUMPY_TYPES.get(target.dtype, "float32"), copy=False)

    def _operand(self, arg: Arg) -> "Array | float | None":
        return self.value(arg.id) if isinstance(arg, TensorArg) else number_of(arg)


Operands = list["Array | float | None"]


def _filled(operation: Operation, operands: Operands, shape: tuple[int, ...]) -> Array | None:
    name = base_name(operation)
    fill = {"ones": 1.0, "zeros": 0.0}.get(name)
    if name == "full":
        found = operands[1]
        fill = found if isinstance(found, float) else None
    elif name == "scalar_tensor":
        found = operands[0]
        fill = found if isinstance(found, float) else None
    return None if fill is None else np.broadcast_to(np.float64(fill), shape)


def _arange(operation: Operation, operands: Operands, shape: tuple[int, ...]) -> Array | None:
    numbers = [operand for operand in operands if isinstance(operand, float)]
    return np.arange(*numbers)


def _triangle(operation: Operation, operands: Operands, shape: tuple[int, ...]) -> Array | None:
    diagonal = integer_at(operation, 1, 0) or 0
    cut: Callable[[Array, int], Array] = np.triu if base_name(operation) == "triu" else np.tril
    source: Array = np.asarray(operands[0])
    return np.asarray(cut(source, diagonal))


def _paired(operation: Operation, operands: Operands, shape: tuple[int, ...]) -> Array | None:
    left, right = operands[0], operands[1]
    if left is None or right is None or "alpha" in operation.kwargs:
        return None
    return _COMPARISONS[base_name(operation)](left, right)


def _negated(operation: Operation, operands: Operands, shape: tuple[int, ...]) -> Array | None:
    negated: Array = ~np.asarray(operands[0]).astype(bool)
    return negated


def _moved(operation: Operation, operands: Operands, shape: tuple[int, ...]) -> Array | None:
    source = np.asarray(operands[0])
    name = base_name(operation)
    if name == "expand":
        return np.broadcast_to(source, shape)
    if name in {"transpose", "t"}:
        rank = source.ndim
        first, second = (integer_at(operation, at, at - 1) or 0 for at in (1, 2))
        return np.swapaxes(source, axis_of(first, rank), axis_of(second, rank)) if rank > 1 else source
    if name == "permute":
        return np.transpose(source, integers_at(operation, 1))
    return source.reshape(shape) if name != "_to_copy" else source


def _sliced(operation: Operation, operands: Operands, shape: tuple[int, ...]) -> Array | None:
    source = np.asarray(operands[0])
    axis = axis_of(integer_at(operation, 1, 0) or 0, source.ndim)
    cut = slice(integer_at(operation, 2, None), integer_at(operation, 3, None), integer_at(operation, 4, 1))
    return source[(slice(None),) * axis + (cut,)]


def _chosen(operation: Operation, operands: Operands, shape: tuple[int, ...]) -> Array | None:
    if base_name(operation) == "where":
        condition, yes, no = operands[:3]
    else:
        no, condition, yes = operands[:3]
    if condition is None or yes is None or no is None:
        return None
    return np.where(np.asarray(condition, dtype=bool), yes, no)


_RULES: dict[str, Callable[[Operation, Operands, tuple[int, ...]], Array | None]] = {
    **dict.fromkeys(("ones", "zeros", "full", "scalar_tensor", "zeros_like", "ones_like"), _filled),
    **dict.fromkeys(("triu", "tril"), _triangle),
    **dict.fromkeys(_COMPARISONS, _paired),
    **dict.fromkeys(("logical_not", "bitwise_not"), _negated),
    **dict.fromkeys(
        ("expand", "transpose", "t", "permute", "view", "unsqueeze", "squeeze", "_to_copy", "clone", "_unsafe_view"),
        _moved,
    ),
    **dict.fromkeys(("where", "masked_fill"), _chosen),
    "arange": _arange,
    "slice": _sliced,
}


def literal_is_masking(arg: Arg | None) -> bool:
    """Whether a fill value wipes a score out of a softmax: -inf, or the least number of its type."""
    number = number_of(arg) if isinstance(arg, LiteralArg) else None
    return number is not None and number <= MASKING_BELOW


MASKING_BELOW = -1e4
"""Scores at or below this vanish in a softmax beside any ordinary score; fp16's least number is -65504."""
