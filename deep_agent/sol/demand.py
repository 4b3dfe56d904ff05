"""Owns which elements of every tensor the outputs need: a walk backward from the outputs.

Regions are exact or too small, never too large, so that the traffic they give stays a lower bound.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod

import numpy as np

from deep_agent.problem.opgraph import ListArg, Operation, OpGraph, TensorArg, TensorValue
from deep_agent.sol.families import MAKERS, NORMALIZED, POINTWISE_FLOP, REDUCED, REDUCED_AXES_AT, ROW_AXES, WHOLE_FLOP
from deep_agent.sol.operands import (
    axis_of,
    base_name,
    flag_at,
    integer_at,
    integers_at,
    needed_tensor,
    tensor_at,
    tensors_in,
)
from deep_agent.sol.regions import Box, Span, union_size, volume, whole
from deep_agent.sol.viewmaps import VIEW_MAPS, Demand, broadcast_back, overlap, select_of, slice_of

MAX_BOXES = 256
"""Regions kept apart for one tensor; more are merged when together they are the whole."""


@dataclass
class DemandMap:
    """Regions needed of every value, and the operations that no rule covers."""

    graph: OpGraph
    boxes: dict[int, dict[Box, None]] = field(default_factory=dict)
    unruled: dict[str, None] = field(default_factory=dict)
    estimated: dict[str, None] = field(default_factory=dict)

    def need(self, tensor: TensorValue, box: Box) -> None:
        """Add a region of a value."""
        if volume(box) == 0:
            return
        known = self.boxes.setdefault(tensor.id, {})
        full = whole(tensor.shape)
        if full in known:
            return
        known[box] = None
        if box == full or (len(known) > MAX_BOXES and union_size(known, tensor.shape) == prod(tensor.shape)):
            self.boxes[tensor.id] = {full: None}

    def elements(self, value_id: int) -> int:
        """Count the distinct elements needed of a value."""
        return union_size(self.boxes.get(value_id, ()), self.graph.value(value_id).shape)

    def share(self, value_id: int) -> float:
        """Give the needed share of a value, from 0 to 1."""
        total = prod(self.graph.value(value_id).shape)
        return self.elements(value_id) / total if total else 0.0


def demands(graph: OpGraph) -> DemandMap:
    """Walk backward from the outputs and find what each value is needed for."""
    found = DemandMap(graph)
    for value_id in graph.outputs.values():
        found.need(graph.value(value_id), whole(graph.value(value_id).shape))
    for operation in reversed(graph.operations):
        for place, value_id in enumerate(operation.outputs):
            for box in tuple(found.boxes.get(value_id, ())):
                for tensor, part in _operand_demands(found, operation, place, box):
                    found.need(tensor, part)
    return found


def _operand_demands(found: DemandMap, operation: Operation, place: int, box: Box) -> list[Demand]:
    name = base_name(operation)
    graph = found.graph
    if name in MAKERS or operation.name.startswith("deep_agent.constant"):
        return []
    if name == "view" and operation.name.endswith(".dtype"):
        return _whole(graph, operation, place, box)
    if name in _GATHERS and operation.outputs[place] not in graph.rows_touched:
        found.estimated[operation.name] = None
    rule = _RULES.get(name)
    if rule is None:
        if name not in WHOLE_FLOP and name not in WHOLE_CONTRACTIONS:
            found.unruled[operation.name] = None
        rule = _whole
    return rule(graph, operation, place, box)


def _whole(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    return [(tensor, whole(tensor.shape)) for tensor in tensors_in(graph, operation)]


def _pointwise(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    operands = tensors_in(graph, operation)
    if base_name(operation) == "copy" or base_name(operation) == "fill":
        operands = operands[1:]
    elif base_name(operation) in {"flip", "roll"} and box != whole(graph.value(operation.outputs[place]).shape):
        box = tuple(Span(None, span.count) for span in box)
    elif base_name(operation) in {"tril", "triu"}:
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


def _along_axis(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    axes = {axis_of(integer_at(operation, ROW_AXES[base_name(operation)][0], -1) or 0, len(box))}
    return _widened(graph, operation, box, axes)


def _normalized(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    rank = len(needed_tensor(graph, operation, 0).shape)
    trailing = len(integers_at(operation, 1) or ())
    return _widened(graph, operation, box, set(range(rank - trailing, rank)))


def _widened(graph: OpGraph, operation: Operation, box: Box, axes: set[int]) -> list[Demand]:
    first = needed_tensor(graph, operation, 0)
    if len(first.shape) != len(box):
        return _whole(graph, operation, 0, box)
    wide = tuple(Span(0, first.shape[axis]) if axis in axes else span for axis, span in enumerate(box))
    return [(tensor, broadcast_back(wide, tensor)) for tensor in tensors_in(graph, operation)]


def _reduced(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    source = needed_tensor(graph, operation, 0)
    if len(tensors_in(graph, operation)) > 1:
        # max and min of two tensors are pointwise.
        return _pointwise(graph, operation, place, box)
    name = base_name(operation)
    rank = len(source.shape)
    default = (-1,) if name in {"topk", "kthvalue"} else None
    axes = integers_at(operation, REDUCED_AXES_AT.get(name, 1)) or default or tuple(range(rank))
    reduced = {axis_of(axis, rank) for axis in axes}
    keeps = len(box) == rank
    rest = iter(box)
    spans = []
    for axis, size in enumerate(source.shape):
        span = next(rest) if keeps or axis not in reduced else None
        spans.append(Span(0, size) if axis in reduced or span is None else span)
    return [(source, tuple(spans))]


def _matrices(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    at = 1 if base_name(operation) in {"addmm", "baddbmm"} else 0
    left, right = needed_tensor(graph, operation, at), needed_tensor(graph, operation, at + 1)
    *batch, row, column = box
    depth = Span(0, left.shape[-1])
    found: list[Demand] = [(left, (*batch, row, depth)), (right, (*batch, depth, column))]
    if at:
        bias = needed_tensor(graph, operation, 0)
        found.append((bias, broadcast_back(box, bias)))
    return found


def _rows(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """Embedding and index_select: whole rows, as many as there are indices at most."""
    name = base_name(operation)
    table = needed_tensor(graph, operation, 0)
    index = needed_tensor(graph, operation, 1 if name == "embedding" else 2)
    axis = 0 if name == "embedding" else axis_of(integer_at(operation, 1, 0) or 0, len(table.shape))
    rank = len(index.shape) if name == "embedding" else 1
    asked, rest = box[axis : axis + rank], (*box[:axis], *box[axis + rank :])
    touched = graph.rows_touched.get(operation.outputs[place], table.shape[axis])
    count = min(prod(span.count for span in asked), table.shape[axis], touched)
    region = (*rest[:axis], Span(None, count), *rest[axis:])
    return [(table, region), (index, asked if index.shape else ())]


def _along_gather(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    table, index = needed_tensor(graph, operation, 0), needed_tensor(graph, operation, 2)
    axis = axis_of(integer_at(operation, 1, 0) or 0, len(table.shape))
    if not table.shape:
        return _whole(graph, operation, place, box)
    count = min(box[axis].count, 1)
    # Indices of one row may all agree, so only one element a row is certain.
    return [(table, (*box[:axis], Span(None, count), *box[axis + 1 :])), (index, box)]


def _indexed(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    table = needed_tensor(graph, operation, 0)
    indices, axes = index_operands(graph, operation)
    demand: list[Demand] = [(index, whole(index.shape)) for index in indices]
    mask = any(index.dtype.value == "bool" for index in indices)
    if len(axes) != len(indices) or mask or not axes:
        return (
            [*demand, (table, tuple(Span(None, min(1, size)) for size in table.shape))]
            if mask
            else _whole(graph, operation, place, box)
        )
    first = axes[0]
    rank = max(len(index.shape) for index in indices)
    adjacent = axes == list(range(first, first + len(axes)))
    at = first if adjacent else 0
    asked = prod(span.count for span in box[at : at + rank])
    rest = iter((*box[:at], *box[at + rank :]))
    touched = graph.rows_touched.get(operation.outputs[place], table.shape[first])
    spans = []
    for axis, size in enumerate(table.shape):
        if axis == first:
            spans.append(Span(None, min(asked, size, touched)))
        else:
            spans.append(Span(None, min(1, size)) if axis in axes else next(rest))
    return [*demand, (table, tuple(spans))]


def index_operands(graph: OpGraph, operation: Operation) -> tuple[list[TensorValue], list[int]]:
    """Read the index tensors of `index` and `index_put`, and the axes they index."""
    listed = operation.args[1]
    items = listed.items if isinstance(listed, ListArg) else ()
    placed = [(axis, graph.value(item.id)) for axis, item in enumerate(items) if isinstance(item, TensorArg)]
    return [index for _, index in placed], [axis for axis, _ in placed]


def _picked(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """nll_loss: one element a row of the scores, and the targets."""
    scores, target = needed_tensor(graph, operation, 0), needed_tensor(graph, operation, 1)
    classes = 1 if len(scores.shape) > 1 else 0
    spans = tuple(Span(None, 1) if axis == classes else Span(0, size) for axis, size in enumerate(scores.shape))
    weight = tensor_at(graph, operation, 2)
    extra: list[Demand] = [] if weight is None else [(weight, (Span(None, 1),))]
    return [(scores, spans), (target, whole(target.shape)), *extra]


def _picked_backward(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    # The scores give nll_loss_backward their shape alone.
    return [(tensor, whole(tensor.shape)) for at in (0, 2, 3, 6) if (tensor := tensor_at(graph, operation, at))]


def _slice_scatter(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
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


def _scatter(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """Replace some rows: at least the others are read; adding to rows reads them all."""
    name = base_name(operation)
    kept = needed_tensor(graph, operation, 0)
    others: list[Demand] = [(tensor, whole(tensor.shape)) for tensor in tensors_in(graph, operation)[1:]]
    adds = name in {"scatter_add", "index_add", "scatter_reduce"} or (
        name == "index_put" and flag_at(operation, 3, "accumulate")
    )
    if adds or not kept.shape:
        return [*others, (kept, whole(kept.shape))]
    if name == "index_put":
        indices, axes = index_operands(graph, operation)
        axis = axes[0] if axes else 0
        replaced = kept.shape[axis] if len(axes) != 1 or indices[0].dtype.value == "bool" else prod(indices[0].shape)
    else:
        axis = axis_of(integer_at(operation, 1, 0) or 0, len(kept.shape))
        index = needed_tensor(graph, operation, 2)
        replaced = index.shape[axis] if name == "scatter" and index.shape else prod(index.shape)
    remainder = Span(None, max(0, kept.shape[axis] - replaced))
    spans = tuple(remainder if at == axis else Span(0, size) for at, size in enumerate(kept.shape))
    return [*others, (kept, spans)]


def _attention(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """Causal attention over more keys than queries never looks at the last keys."""
    query, key, value = (needed_tensor(graph, operation, at) for at in (0, 1, 2))
    seen = key.shape[-2]
    if attention_is_causal(operation):
        seen = min(seen, query.shape[-2])
    others = [tensor for tensor in tensors_in(graph, operation) if tensor.id not in {key.id, value.id}]
    cut = [(tensor, (*whole(tensor.shape[:-2]), Span(0, seen), Span(0, tensor.shape[-1]))) for tensor in (key, value)]
    return [*((tensor, whole(tensor.shape)) for tensor in others), *cut]


def attention_is_causal(operation: Operation) -> bool:
    """Whether a fused attention call masks the future; the position differs between variants."""
    name = base_name(operation)
    place = {
        "_scaled_dot_product_flash_attention_for_cpu": 4,
        "_scaled_dot_product_flash_attention": 4,
        "_scaled_dot_product_efficient_attention": 6,
        "_scaled_dot_product_cudnn_attention": 6,
        "scaled_dot_product_attention": 5,
        "_scaled_dot_product_attention_math": 5,
        "_scaled_dot_product_attention_math_for_mps": 5,
    }.get(name)
    return place is not None and flag_at(operation, place, "is_causal")


def _convolution_backward(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    wanted = {0: (0, 2), 1: (0, 1), 2: (0,)}[place]
    tensors = [needed_tensor(graph, operation, at) for at in wanted]
    return [(tensor, whole(tensor.shape)) for tensor in tensors]


WHOLE_CONTRACTIONS = frozenset(
    [
        "convolution",
        "_convolution",
        "linear",
        "mv",
        "dot",
        "vdot",
        "matmul",
        "einsum",
        "addmv",
        "addr",
        "_scaled_mm",
        "_grouped_mm",
        "_scaled_grouped_mm",
        "_int_mm",
        "_cdist_forward",
        "_trilinear",
        "bilinear",
        "_fft_r2c",
        "_fft_c2r",
        "_fft_c2c",
        "addbmm",
        "_scaled_dot_product_flash_attention_for_cpu_backward",
        "_scaled_dot_product_flash_attention_backward",
        "_scaled_dot_product_efficient_attention_backward",
    ]
)
"""Contractions that take their operands whole."""

_GATHERS = frozenset({"embedding", "index_select", "index", "gather"})
_ATTENTION = (
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "scaled_dot_product_attention",
    "_scaled_dot_product_attention_math",
)

_RULES: dict[str, Callable[[OpGraph, Operation, int, Box], list[Demand]]] = {
    **dict.fromkeys(POINTWISE_FLOP, _pointwise),
    **dict.fromkeys(ROW_AXES, _along_axis),
    **dict.fromkeys(NORMALIZED, _normalized),
    **dict.fromkeys(REDUCED, _reduced),
    **dict.fromkeys(("mm", "bmm", "addmm", "baddbmm"), _matrices),
    **dict.fromkeys(("embedding", "index_select"), _rows),
    **dict.fromkeys(("scatter", "scatter_add", "scatter_reduce", "index_add", "index_copy", "index_put"), _scatter),
    **dict.fromkeys(_ATTENTION, _attention),
    **dict.fromkeys(("slice_scatter", "select_scatter"), _slice_scatter),
    "gather": _along_gather,
    "index": _indexed,
    "nll_loss_forward": _picked,
    "nll_loss2d_forward": _picked,
    "nll_loss_backward": _picked_backward,
    "convolution_backward": _convolution_backward,
    **VIEW_MAPS,
}
