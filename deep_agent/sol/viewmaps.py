"""Owns how views, broadcasts and concatenations carry a needed region from output to operand."""

from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np

from deep_agent.problem.opgraph import Operation, OpGraph, TensorValue
from deep_agent.sol.operands import axis_of, integer_at, integers_at, needed_tensor, tensors_in
from deep_agent.sol.regions import (
    Box,
    Span,
    flat_interval,
    interval_boxes,
    is_known,
    reshaped,
    somewhere,
    volume,
    whole,
)

Demand = tuple[TensorValue, Box]
"""A tensor, and a region of it that somebody needs."""
MAX_STRIDED = 2**22
"""Elements of a strided view up to which its distinct places are counted."""
ViewMap = Callable[[OpGraph, Operation, int, Box], list[Demand]]
"""From an operation, the position of an output, and a region of that output, to regions of operands."""


def broadcast_back(box: Box, operand: TensorValue) -> Box:
    """Carry a region of a broadcast result to an operand: absent axes drop, stretched ones become one element."""
    kept = box[len(box) - len(operand.shape) :] if operand.shape else ()
    return tuple(
        span if size != 1 else Span(0, min(1, span.count)) for span, size in zip(kept, operand.shape, strict=True)
    )


def _reshape(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    source = needed_tensor(graph, operation, 0)
    made = graph.value(operation.outputs[place]).shape
    found = reshaped(box, made, source.shape)
    if not is_known(found) and is_known(box) and 0 not in source.shape:
        run = flat_interval(box, made)
        if run is not None:
            return [(source, part) for part in interval_boxes(*run, source.shape)]
    return [(source, found)]


def _permute(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    source = needed_tensor(graph, operation, 0)
    rank = len(source.shape)
    order = list(range(rank))
    if operation.name.startswith("aten.permute"):
        order = [axis_of(axis, rank) for axis in integers_at(operation, 1) or ()]
    elif rank > 1:
        first = axis_of(integer_at(operation, 1, 0) or 0, rank)
        second = axis_of(integer_at(operation, 2, 1) or 0, rank)
        order[first], order[second] = order[second], order[first]
    spans = dict(zip(order, box, strict=True))
    return [(source, tuple(spans[axis] for axis in range(rank)))]


def _expand(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    source = needed_tensor(graph, operation, 0)
    return [(source, broadcast_back(box, source))]


def _slice(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    source = needed_tensor(graph, operation, 0)
    axis, start, step = slice_of(source, operation, 1)
    return [(source, (*box[:axis], shifted(box[axis], start, step), *box[axis + 1 :]))]


def slice_of(source: TensorValue, operation: Operation, at: int) -> tuple[int, int, int]:
    """Read axis, start and step of a slice whose axis stands at a position."""
    axis = axis_of(integer_at(operation, at, 0) or 0, len(source.shape))
    start = integer_at(operation, at + 1, 0) or 0
    size = source.shape[axis]
    start = min(max(start + size if start < 0 else start, 0), size)
    return axis, start, integer_at(operation, at + 3, 1) or 1


def shifted(span: Span, start: int, step: int = 1) -> Span:
    """Carry a span of a slice to the axis it was cut from."""
    where = None if span.start is None else start + span.start * step
    return Span(where, span.count, span.step * step)


def _select(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    source = needed_tensor(graph, operation, 0)
    axis, index = select_of(source, operation, 1)
    return [(source, (*box[:axis], Span(index, 1), *box[axis:]))]


def select_of(source: TensorValue, operation: Operation, at: int) -> tuple[int, int]:
    """Read axis and index of a select whose axis stands at a position."""
    axis = axis_of(integer_at(operation, at, 0) or 0, len(source.shape))
    index = integer_at(operation, at + 1, 0) or 0
    return axis, index + source.shape[axis] if index < 0 else index


def _pieces(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    source = needed_tensor(graph, operation, 0)
    axis = axis_of(integer_at(operation, 2, 0) or 0, len(source.shape))
    before = sum(graph.value(out).shape[axis] for out in operation.outputs[:place])
    return [(source, (*box[:axis], shifted(box[axis], before), *box[axis + 1 :]))]


def _unbind(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    source = needed_tensor(graph, operation, 0)
    axis = axis_of(integer_at(operation, 1, 0) or 0, len(source.shape))
    return [(source, (*box[:axis], Span(place, 1), *box[axis:]))]


def _unfold(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    source = needed_tensor(graph, operation, 0)
    axis = axis_of(integer_at(operation, 1, 0) or 0, len(source.shape))
    width, step = integer_at(operation, 2, 1) or 1, integer_at(operation, 3, 1) or 1
    windows, window = box[axis], box[-1]
    start = None if windows.start is None else windows.start * step
    reach = (windows.count - 1) * windows.step * step + width if windows.count else 0
    span = Span(start, reach if step <= width and window.within(width) else windows.count)
    return [(source, (*box[:axis], span, *box[axis + 1 : -1]))]


def _diagonal(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    source = needed_tensor(graph, operation, 0)
    return [(source, tuple(somewhere(volume(box), list(source.shape))))]


def _as_strided(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """Strides may overlap in any way: of the whole, distinct places are counted; of a part one is certain."""
    source = needed_tensor(graph, operation, 0)
    sizes, strides = integers_at(operation, 1) or (), integers_at(operation, 2) or ()
    count = 1
    if box == whole(sizes) and prod(sizes) <= MAX_STRIDED:
        places = np.zeros(1, dtype=np.int64)
        for size, stride in zip(sizes, strides, strict=True):
            places = np.unique((places[:, None] + np.arange(size, dtype=np.int64)[None, :] * stride).ravel())
        count = len(places)
    return [(source, tuple(somewhere(min(count, prod(source.shape)), list(source.shape))))]


def _cat(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    parts = tensors_in(graph, operation)
    axis = axis_of(integer_at(operation, 1, 0) or 0, len(box))
    demands: list[Demand] = []
    before = 0
    for part in parts:
        if len(part.shape) == len(box):
            span = overlap(box[axis], before, part.shape[axis])
            demands.append((part, (*box[:axis], span, *box[axis + 1 :])))
            before += part.shape[axis]
    return demands


def overlap(span: Span, before: int, size: int) -> Span:
    """Cut a span of a joined axis down to the piece [before, before + size), counted from its start."""
    if span.start is None:
        # At worst everything needed lies in the other pieces; claiming nothing invents no traffic.
        return Span(None, 0)
    skipped = max(0, -(-(before - span.start) // span.step))
    first = span.start + skipped * span.step
    count = min(span.count - skipped, -(-(before + size - first) // span.step))
    return Span(first - before, max(0, count), span.step) if count > 0 else Span(0, 0)


def _stack(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    parts = tensors_in(graph, operation)
    axis = axis_of(integer_at(operation, 1, 0) or 0, len(box))
    chosen = [overlap(box[axis], index, 1).count for index in range(len(parts))]
    rest = (*box[:axis], *box[axis + 1 :])
    return [(part, rest) for part, count in zip(parts, chosen, strict=True) if count]


def _pad(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    source = needed_tensor(graph, operation, 0)
    pads = integers_at(operation, 1) or ()
    spans = list(box)
    for pair in range(len(pads) // 2):
        axis = len(box) - 1 - pair
        spans[axis] = overlap(box[axis], pads[2 * pair], source.shape[axis])
        if pads[2 * pair] < 0:
            spans[axis] = replace(shifted(box[axis], -pads[2 * pair]), count=min(box[axis].count, source.shape[axis]))
    return [(source, tuple(spans))]


def _reinterpreted(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """view(dtype) and its kin: the last axis changes its size with the width of an element."""
    source, made = needed_tensor(graph, operation, 0), graph.value(operation.outputs[place])
    if source.shape == made.shape:
        return [(source, box)]
    if len(source.shape) != len(box):
        return [
            (source, tuple(somewhere(volume(box) * prod(source.shape) // max(1, prod(made.shape)), list(source.shape))))
        ]
    size, of = source.shape[-1], made.shape[-1]
    last = Span(0, size) if box[-1].within(of) else Span(None, max(min(1, box[-1].count), box[-1].count * size // of))
    return [(source, (*box[:-1], last))]


def _view(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    rule = _reinterpreted if operation.name.endswith(".dtype") else _reshape
    return rule(graph, operation, place, box)


def _paired_numbers(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """view_as_real and view_as_complex: the real tensor has one axis of two more."""
    source = needed_tensor(graph, operation, 0)
    return [(source, box[:-1] if operation.name.startswith("aten.view_as_real") else (*box, Span(0, 2)))]


def _repeated(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """repeat: a region that is the whole of an axis, or short of one copy, is known by its size at least."""
    source = needed_tensor(graph, operation, 0)
    made = graph.value(operation.outputs[place]).shape
    lead = len(box) - len(source.shape)
    spans = [
        span if size == full else Span(0, size) if span.within(full) else Span(None, min(1, span.count, size))
        for span, size, full in zip(box[lead:], source.shape, made[lead:], strict=True)
    ]
    return [(source, tuple(spans))]


VIEW_MAPS: dict[str, ViewMap] = {
    "view": _view,
    **dict.fromkeys(("view_as_real", "view_as_complex"), _paired_numbers),
    "repeat": _repeated,
    **dict.fromkeys(("_unsafe_view", "reshape", "_reshape_alias", "unsqueeze", "squeeze"), _reshape),
    **dict.fromkeys(("transpose", "t", "permute"), _permute),
    "expand": _expand,
    "slice": _slice,
    "select": _select,
    "split": _pieces,
    "split_with_sizes": _pieces,
    "unsafe_split": _pieces,
    "unsafe_split_with_sizes": _pieces,
    "unbind": _unbind,
    "diagonal": _diagonal,
    "as_strided": _as_strided,
    "unfold": _unfold,
    "cat": _cat,
    "stack": _stack,
    "constant_pad_nd": _pad,
}
"""Operations that only move or repeat elements."""
