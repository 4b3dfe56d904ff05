"""Owns what pointwise operations, scans, reductions and searches read of their operands."""

import numpy as np

from deep_agent.problem.opgraph import Operation, OpGraph
from deep_agent.sol.families import REDUCED_AXES_AT, ROW_AXES
from deep_agent.sol.operands import (
    axis_of,
    base_name,
    integer_at,
    integers_at,
    needed_tensor,
    number_of,
    tensor_at,
    tensors_in,
)
from deep_agent.sol.regions import Box, Span, somewhere, whole
from deep_agent.sol.viewmaps import Demand, broadcast_back
from deep_agent.sol.windows import little

_SCANS = frozenset(["cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"])


def pointwise(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """Element for element, operands broadcast."""
    operands = tensors_in(graph, operation)
    name = base_name(operation)
    if name in {"copy", "fill"}:
        operands = operands[1:]
    elif name in {"flip", "roll"} and box != whole(graph.value(operation.outputs[place]).shape):
        box = tuple(Span(None, span.count) for span in box)
    elif name in {"tril", "triu"}:
        box = _triangle(operation, box)
    return [(tensor, broadcast_back(box, tensor)) for tensor in operands]


def _triangle(operation: Operation, box: Box) -> Box:
    """Shrink a region of a triangle's matrix to as many elements as the triangle keeps of the whole, rounded down."""
    rows, columns = box[-2].count, box[-1].count
    diagonal = integer_at(operation, 1, 0) or 0
    kept = np.clip(np.arange(rows) + 1 + diagonal, 0, columns)
    if base_name(operation) == "triu":
        kept = columns - np.clip(np.arange(rows) + diagonal, 0, columns)
    return (*box[:-1], Span(None, int(kept.sum()) // max(1, rows)))


def along_axis(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """Softmax and sort read whole lines; a scan reads a line up to what is asked."""
    if not box:
        return [(tensor, whole(tensor.shape)) for tensor in tensors_in(graph, operation)]
    named = number_of(operation.kwargs.get("dim"))
    at = ROW_AXES[base_name(operation)][0]
    axis = axis_of(int(named) if named is not None else _first(integer_at(operation, at, -1)), len(box))
    first = needed_tensor(graph, operation, 0)
    line = Span(0, first.shape[axis])
    if base_name(operation) in _SCANS and box[axis] != line:
        start = box[axis].start
        line = (
            Span(None, box[axis].count)
            if start is None
            else Span(0, start + (box[axis].count - 1) * box[axis].step + 1)
        )
    wide = (*box[:axis], line, *box[axis + 1 :])
    return [(tensor, broadcast_back(wide, tensor)) for tensor in tensors_in(graph, operation)]


def _first(found: int | None) -> int:
    return -1 if found is None else found


def reduced(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """Lines of the reduced axes."""
    source = needed_tensor(graph, operation, 0)
    if len(tensors_in(graph, operation)) > 1:
        # max and min of two tensors are pointwise.
        return pointwise(graph, operation, place, box)
    name = base_name(operation)
    rank = len(source.shape)
    default = (-1,) if name in {"topk", "kthvalue"} else None
    axes = integers_at(operation, REDUCED_AXES_AT.get(name, 1)) or default or tuple(range(rank))
    gone = {axis_of(axis, rank) for axis in axes}
    keeps = len(box) == rank
    rest = iter(box)
    spans = []
    for axis, size in enumerate(source.shape):
        span = next(rest) if keeps or axis not in gone else None
        spans.append(Span(0, size) if axis in gone or span is None else span)
    return [(source, tuple(spans))]


def searched(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """A binary search reads every value and little of the sorted sequence."""
    at = 0 if base_name(operation) == "bucketize" else 1
    found = [tensor for place in (0, 1) if (tensor := tensor_at(graph, operation, place)) is not None]
    values = tensor_at(graph, operation, at)
    ordered = [tensor for tensor in found if values is None or tensor.id != values.id]
    return [*little(*ordered), *([] if values is None else [(values, box)])]


def selected(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """masked_select reads the mask, and as many elements as the result has."""
    data, mask = needed_tensor(graph, operation, 0), needed_tensor(graph, operation, 1)
    return [(mask, whole(mask.shape)), (data, tuple(somewhere(box[0].count, list(data.shape))))]


def filled(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """masked_scatter: the mask decides what of both operands is read."""
    mask = needed_tensor(graph, operation, 1)
    return [(mask, broadcast_back(box, mask))]


def gated(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """glu: both halves of the axis that is cut."""
    source = needed_tensor(graph, operation, 0)
    axis = axis_of(_first(integer_at(operation, 1, -1)), len(box))
    half = box[axis]
    other = Span(None if half.start is None else half.start + source.shape[axis] // 2, half.count, half.step)
    return [(source, (*box[:axis], span, *box[axis + 1 :])) for span in (half, other)]
