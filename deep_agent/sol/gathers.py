"""Owns what gathers and scatters read: as many rows as their indices touch, or what is certain without knowing them."""

from math import prod

import numpy as np

from deep_agent.problem.opgraph import ListArg, Operation, OpGraph, TensorArg, TensorValue
from deep_agent.sol.operands import axis_of, base_name, flag_at, integer_at, needed_tensor, tensor_at, tensors_in
from deep_agent.sol.regions import Box, Span, is_known, somewhere, volume, whole
from deep_agent.sol.viewmaps import Demand, broadcast_back, overlap, select_of, slice_of
from deep_agent.sol.windows import little

MAX_RUNS = 8
"""Runs of rows up to which each is a region of its own."""


def rows(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """Embedding and index_select: whole rows."""
    name = base_name(operation)
    table = needed_tensor(graph, operation, 0)
    index = needed_tensor(graph, operation, 1 if name == "embedding" else 2)
    axis = 0 if name == "embedding" else axis_of(integer_at(operation, 1, 0) or 0, len(table.shape))
    rank = len(index.shape) if name == "embedding" else 1
    asked, rest = box[axis : axis + rank], (*box[:axis], *box[axis + rank :])
    spans = _row_spans(graph, operation, place, asked, index.shape)
    return [(index, asked if index.shape else ()), *((table, (*rest[:axis], span, *rest[axis:])) for span in spans)]


def _row_spans(graph: OpGraph, operation: Operation, place: int, asked: Box, shape: tuple[int, ...]) -> list[Span]:
    """Give the rows behind the asked part of the indices: where they lie if they are listed, else how many."""
    listing = graph.rows_listed.get(operation.outputs[place])
    if listing is None or not is_known(asked):
        return [Span(None, _surely(graph, operation, place, asked, prod(shape)))]
    chosen = np.asarray(listing, dtype=np.int64).reshape(shape)
    if shape:
        chosen = chosen[np.ix_(*(span.positions() for span in asked))]
    distinct = np.unique(chosen)
    runs = np.split(distinct, np.flatnonzero(np.diff(distinct) != 1) + 1)
    if len(runs) > MAX_RUNS:
        return [Span(None, len(distinct), picked=tuple(int(row) for row in distinct))]
    return [Span(int(run[0]), len(run)) for run in runs if len(run)]


def _surely(graph: OpGraph, operation: Operation, place: int, asked: Box, n_indices: int) -> int:
    """Count the distinct rows behind the asked part of the indices; unknown indices may all be one.

    Of a part of the indices all may be repeated ones, so what is left out is taken off.
    """
    asked_for = volume(asked)
    touched = graph.rows_touched.get(operation.outputs[place], 0)
    return max(min(1, asked_for), min(touched - max(0, n_indices - asked_for), asked_for))


def along(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """gather: single elements along an axis."""
    table, index = needed_tensor(graph, operation, 0), needed_tensor(graph, operation, 2)
    if not table.shape:
        return [(table, ()), (index, box)]
    touched = graph.rows_touched.get(operation.outputs[place])
    if touched is not None and box == whole(graph.value(operation.outputs[place]).shape):
        return [(table, tuple(somewhere(touched, list(table.shape)))), (index, box)]
    axis = axis_of(integer_at(operation, 1, 0) or 0, len(table.shape))
    # Indices of one row may all agree, so only one element a row is certain.
    return [(table, (*box[:axis], Span(None, min(box[axis].count, 1)), *box[axis + 1 :])), (index, box)]


def indexed(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """Advanced indexing by one or several index tensors, or by a mask."""
    table = needed_tensor(graph, operation, 0)
    indices, axes = index_operands(graph, operation)
    if any(index.dtype.value == "bool" for index in indices):
        return _masked(graph, operation, place, box)
    if not axes:
        return little(table)
    first = axes[0]
    rank = max(len(index.shape) for index in indices)
    at = first if axes == list(range(first, first + len(axes))) else 0
    asked = box[at : at + rank]
    demand: list[Demand] = [(index, broadcast_back(asked, index)) for index in indices]
    made = graph.value(operation.outputs[place]).shape
    if len(axes) == 1:
        rest = (*box[:at], *box[at + rank :])
        spans = _row_spans(graph, operation, place, asked, made[at : at + rank])
        return [*demand, *((table, (*rest[:first], span, *rest[first:])) for span in spans)]
    count = _surely(graph, operation, place, asked, prod(made[at : at + rank]))
    others = iter((*box[:at], *box[at + rank :]))
    # Of tuples of indices only their number is known: it is laid along the indexed axes, rounded down.
    laid = iter(somewhere(count, [table.shape[axis] for axis in axes]))
    region = tuple(next(laid) if axis in axes else next(others) for axis in range(len(table.shape)))
    return [*demand, (table, region)]


def _masked(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """A mask picks as many rows as the result has."""
    table = needed_tensor(graph, operation, 0)
    indices, axes = index_operands(graph, operation)
    demand: list[Demand] = [(index, whole(index.shape)) for index in indices]
    if len(indices) != 1:
        return [*demand, *little(table)]
    covered = len(indices[0].shape)
    at = axes[0]
    picked = box[at].count
    laid = somewhere(picked, list(table.shape[at : at + covered]))
    return [*demand, (table, (*box[:at], *laid, *box[at + 1 :]))]


def index_operands(graph: OpGraph, operation: Operation) -> tuple[list[TensorValue], list[int]]:
    """Read the index tensors of `index` and `index_put`, and the axes they index."""
    listed = operation.args[1]
    items = listed.items if isinstance(listed, ListArg) else ()
    placed = [(axis, graph.value(item.id)) for axis, item in enumerate(items) if isinstance(item, TensorArg)]
    return [index for _, index in placed], [axis for axis, _ in placed]


def picked(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """nll_loss: one element a row of the scores, and the targets."""
    scores, target = needed_tensor(graph, operation, 0), needed_tensor(graph, operation, 1)
    classes = 1 if len(scores.shape) > 1 else 0
    spans = tuple(Span(None, 1) if axis == classes else Span(0, size) for axis, size in enumerate(scores.shape))
    weight = tensor_at(graph, operation, 2)
    extra: list[Demand] = [] if weight is None else [(weight, (Span(None, 1),))]
    return [(scores, spans), (target, whole(target.shape)), *extra]


def picked_backward(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """The scores give nll_loss_backward their shape alone."""
    return [(tensor, whole(tensor.shape)) for at in (0, 2, 3, 6) if (tensor := tensor_at(graph, operation, at))]


def slice_scatter(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """Read what is written and, of the old, only what remains."""
    kept, written = needed_tensor(graph, operation, 0), needed_tensor(graph, operation, 1)
    if base_name(operation) == "select_scatter":
        axis, start = select_of(kept, operation, 2)
        step, size = 1, 1
    else:
        axis, start, step = slice_of(kept, operation, 2)
        size = written.shape[axis]
    span = box[axis]
    around = (box[:axis], box[axis + 1 :])
    if step != 1 or span.start is None or span.step != 1:
        return [(written, tuple(Span(None, min(1, length)) for length in written.shape))]
    inside = overlap(span, start, size)
    before = overlap(span, 0, start)
    after = overlap(span, start + size, kept.shape[axis] - start - size)
    middle = () if base_name(operation) == "select_scatter" else (inside,)
    demand: list[Demand] = [(written, (*around[0], *middle, *around[1]))] if inside.count else []
    demand.append((kept, (*around[0], before, *around[1])))
    moved = Span((after.start or 0) + start + size, after.count)
    return [*demand, (kept, (*around[0], moved, *around[1]))]


_ADDING = frozenset(["scatter_add", "index_add"])


def scatter(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """Replace or add to some rows: of the old at least the others are read, of a part of the result only those."""
    kept = needed_tensor(graph, operation, 0)
    others = tensors_in(graph, operation)[1:]
    if box != whole(kept.shape):
        return [*little(*others), *_part_kept(graph, operation, kept, box)]
    demand: list[Demand] = [(tensor, whole(tensor.shape)) for tensor in others]
    if _adds(operation) or not kept.shape:
        return [*demand, (kept, whole(kept.shape))]
    axis, replaced = _replaced(graph, operation, place, kept)
    if axis is None:
        left = max(0, prod(kept.shape) - replaced)
        return [*demand, (kept, tuple(somewhere(left, list(kept.shape))))]
    remainder = Span(None, max(0, kept.shape[axis] - replaced))
    return [*demand, (kept, tuple(remainder if at == axis else Span(0, n) for at, n in enumerate(kept.shape)))]


def _part_kept(graph: OpGraph, operation: Operation, kept: TensorValue, box: Box) -> list[Demand]:
    # Everything that is looked at may have been replaced; adding keeps it.
    return [(kept, box)] if _adds(operation) else []


def _adds(operation: Operation) -> bool:
    name = base_name(operation)
    if name == "scatter_reduce":
        include = operation.kwargs.get("include_self")
        return include is None or flag_at(operation, 5, "include_self")
    return (
        name in _ADDING
        or operation.name == "aten.scatter.reduce"
        or (name == "index_put" and flag_at(operation, 3, "accumulate"))
    )


def _replaced(graph: OpGraph, operation: Operation, place: int, kept: TensorValue) -> tuple[int | None, int]:
    """Give the axis and how many of its rows are replaced at most; without an axis, how many elements."""
    name = base_name(operation)
    known = graph.rows_touched.get(operation.outputs[place])
    if name in {"scatter", "scatter_reduce"}:
        return None, prod(needed_tensor(graph, operation, 2).shape) if known is None else known
    if name != "index_put":
        axis = axis_of(integer_at(operation, 1, 0) or 0, len(kept.shape))
        return axis, prod(needed_tensor(graph, operation, 2).shape) if known is None else known
    indices, axes = index_operands(graph, operation)
    if not indices:
        return None, prod(kept.shape)
    if indices[0].dtype.value == "bool":
        covered = len(indices[0].shape) if len(indices) == 1 else len(kept.shape)
        each = prod(kept.shape) // max(1, prod(kept.shape[axes[0] : axes[0] + covered]))
        return None, prod(kept.shape) if known is None else known * each
    if len(axes) == 1:
        return axes[0], prod(indices[0].shape) if known is None else known
    each = prod(size for axis, size in enumerate(kept.shape) if axis not in axes)
    count = max(prod(index.shape) for index in indices) if known is None else known
    return None, count * each
