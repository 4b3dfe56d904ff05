"""Owns which parts of their operands contractions read: matrix products, grouped products, attention."""

import numpy as np

from deep_agent.problem.opgraph import Operation, OpGraph, TensorArg, TensorValue
from deep_agent.sol.constants import MASKING_BELOW, Array, Constants
from deep_agent.sol.operands import base_name, flag_at, integers_at, needed_tensor, tensor_at, tensors_in
from deep_agent.sol.regions import Box, Span, whole
from deep_agent.sol.viewmaps import Demand, broadcast_back
from deep_agent.sol.windows import little

ATTENTION = (
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "scaled_dot_product_attention",
    "_scaled_dot_product_attention_math",
    "_scaled_dot_product_fused_attention_overrideable",
)
ATTENTION_BACKWARD = (
    "_scaled_dot_product_flash_attention_for_cpu_backward",
    "_scaled_dot_product_flash_attention_backward",
    "_scaled_dot_product_efficient_attention_backward",
    "_scaled_dot_product_cudnn_attention_backward",
)
_CAUSAL_AT = {
    "_scaled_dot_product_flash_attention_for_cpu": 4,
    "_scaled_dot_product_flash_attention": 4,
    "_scaled_dot_product_efficient_attention": 6,
    "_scaled_dot_product_cudnn_attention": 6,
    "_scaled_dot_product_fused_attention_overrideable": 5,
    "scaled_dot_product_attention": 5,
    "_scaled_dot_product_attention_math": 5,
    "_scaled_dot_product_flash_attention_for_cpu_backward": 7,
    "_scaled_dot_product_flash_attention_backward": 11,
    "_scaled_dot_product_efficient_attention_backward": 11,
}
_MASK_AT = {
    "_scaled_dot_product_efficient_attention": 3,
    "_scaled_dot_product_cudnn_attention": 3,
    "_scaled_dot_product_fused_attention_overrideable": 3,
    "scaled_dot_product_attention": 3,
    "_scaled_dot_product_attention_math": 3,
    "_scaled_dot_product_efficient_attention_backward": 4,
}


def matrices(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """mm, bmm, addmm and baddbmm: rows of the left, columns of the right."""
    at = 1 if base_name(operation) in {"addmm", "baddbmm"} else 0
    left, right = needed_tensor(graph, operation, at), needed_tensor(graph, operation, at + 1)
    *batch, row, column = box
    depth = Span(0, left.shape[-1])
    found: list[Demand] = [(left, (*batch, row, depth)), (right, (*batch, depth, column))]
    if at:
        bias = needed_tensor(graph, operation, 0)
        found.append((bias, broadcast_back(box, bias)))
    return found


def scaled(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """_scaled_mm: as mm, with a scale for a tensor, a row, or a block of which some is read."""
    scales = [tensor for at in (2, 3) if (tensor := tensor_at(graph, operation, at)) is not None]
    demand = matrices(graph, operation, place, box)
    made = graph.value(operation.outputs[0]).shape
    for at, scale in enumerate(scales):
        fits = len(scale.shape) in {0, 2} and all(size in {1, made[axis]} for axis, size in enumerate(scale.shape))
        full = box == whole(made)
        demand += (
            [(scale, broadcast_back(box, scale))] if fits else [(scale, whole(scale.shape))] if full else little(scale)
        )
        assert at < 2
    bias = tensor_at(graph, operation, 4)
    return demand if bias is None else [*demand, (bias, broadcast_back(box, bias))]


def grouped(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """A product a group: rows that the groups hold, and matrices of the groups that have any."""
    left, right = needed_tensor(graph, operation, 0), needed_tensor(graph, operation, 1)
    out = operation.outputs[place]
    n_rows, n_groups = graph.rows_routed.get(out, 0), graph.rows_touched.get(out, 0)
    offsets = [tensor for tensor in tensors_in(graph, operation)[2:] if tensor.dtype.value == "int32"]
    if box != whole(graph.value(out).shape):
        return little(*offsets)
    scales = tensors_in(graph, operation)[2:4] if "scaled" in base_name(operation) else ()
    demand: list[Demand] = [(tensor, whole(tensor.shape)) for tensor in offsets]
    demand += little(*scales) if n_rows else []
    if len(left.shape) == 2 and len(right.shape) == 2:
        depth = Span(0, n_rows) if n_rows == left.shape[1] else Span(None, n_rows)
        return [*demand, (left, (Span(0, left.shape[0]), depth)), (right, (depth, Span(0, right.shape[1])))]
    if len(left.shape) == 2:
        return [*demand, (left, (Span(0, n_rows), Span(0, left.shape[1]))), (right, _some(right, n_groups))]
    if len(right.shape) == 2:
        return [*demand, (left, _some(left, n_groups)), (right, (Span(0, right.shape[0]), Span(0, n_rows)))]
    return [(left, whole(left.shape)), (right, whole(right.shape))]


def _some(tensor: TensorValue, n_groups: int) -> Box:
    groups = Span(0, n_groups) if n_groups == tensor.shape[0] else Span(None, n_groups)
    return (groups, *whole(tensor.shape[1:]))


def linear(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """Rows of the data, and a row of the weight for every column that is needed."""
    data, weight = needed_tensor(graph, operation, 0), needed_tensor(graph, operation, 1)
    bias = tensor_at(graph, operation, 2)
    depth = Span(0, data.shape[-1])
    found: list[Demand] = [(data, (*box[:-1], depth)), (weight, (box[-1], depth))]
    return found if bias is None else [*found, (bias, (box[-1],))]


def distances(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """cdist: rows of both operands."""
    left, right = needed_tensor(graph, operation, 0), needed_tensor(graph, operation, 1)
    *batch, row, column = box
    depth = Span(0, left.shape[-1])
    if len(left.shape) != len(box) or len(right.shape) != len(box):
        return little(left, right)
    return [(left, (*batch, row, depth)), (right, (*batch, column, depth))]


def attention(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """Attention reads the queries that are needed and see a key, and the keys that some query sees."""
    query, key, value = (needed_tensor(graph, operation, at) for at in (0, 1, 2))
    if place or len(box) != len(query.shape):
        return [(query, whole(query.shape)), (key, _first_keys(operation, query, key))] if place == 1 else []
    n_queries, n_keys = seen_rows(graph, operation, query.shape[-2], key.shape[-2])
    rows = box[-2]
    if n_queries < query.shape[-2]:
        rows = Span(None, max(0, min(rows.count, n_queries - (query.shape[-2] - rows.count))))
    keys = _seen_keys(operation, box[-2], key) if n_keys == key.shape[-2] else Span(None, n_keys)
    lead = box[:-2]
    shared = tuple(
        span if size == of else Span(0, size) if span.within(of) else Span(None, min(1, span.count))
        for span, size, of in zip(lead, key.shape[:-2], query.shape[:-2], strict=True)
    )
    mask = mask_of(graph, operation)
    extra: list[Demand] = (
        [] if mask is None or box != whole(query.shape[:-1] + value.shape[-1:]) else [(mask, whole(mask.shape))]
    )
    return [
        (query, (*lead, rows, Span(0, query.shape[-1]))),
        (key, (*shared, keys, Span(0, key.shape[-1]))),
        (value, (*shared, keys, box[-1])),
        *extra,
    ]


def attention_backward(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """The values' gradient is made of queries, keys and the gradient above; the others' of the values too."""
    if place > 2:
        return []
    unread = (3, 4) if place == 2 else ()
    ids = {tensor.id for at in unread if (tensor := tensor_at(graph, operation, at)) is not None}
    kept = {tensor.id for at in (0, 1, 2) if (tensor := tensor_at(graph, operation, at)) is not None}
    return [demand for demand in complete(graph, operation, place, box) if demand[0].id not in ids - kept]


def _seen_keys(operation: Operation, rows: Span, key: TensorValue) -> Span:
    """Give the keys that some queries see: all of them, or, causal, those up to the last query."""
    last = (rows.count if rows.start is None else rows.start + (rows.count - 1) * rows.step + 1) if rows.count else 0
    return Span(0, min(key.shape[-2], last) if is_causal(operation) else key.shape[-2])


def _first_keys(operation: Operation, query: TensorValue, key: TensorValue) -> Box:
    seen = min(key.shape[-2], query.shape[-2]) if is_causal(operation) else key.shape[-2]
    return (*whole(key.shape[:-2]), Span(0, seen), Span(0, key.shape[-1]))


def seen_rows(graph: OpGraph, operation: Operation, n_queries: int, n_keys: int) -> tuple[int, int]:
    """Count the queries that see a key and the keys that are seen, under an explicit mask that is a constant."""
    visible = visible_under(graph, operation)
    if visible is None or visible.ndim < 2 or visible.shape[-2:] != (n_queries, n_keys):
        return n_queries, n_keys
    # Heads may differ: what none of them sees is unread in all, and the fewest queries count.
    per_head = visible.reshape(-1, n_queries, n_keys)
    return int(per_head.any(axis=-1).sum(axis=-1).min()), int(per_head.any(axis=-2).sum(axis=-1).min())


def visible_under(graph: OpGraph, operation: Operation, constants: Constants | None = None) -> Array | None:
    """Give which pairs an explicit mask leaves, if the mask is a constant."""
    mask = mask_of(graph, operation)
    if mask is None:
        return None
    found = (constants or Constants(graph)).value(mask.id)
    if found is None:
        return None
    return found if found.dtype.kind == "b" else np.asarray(found.astype(np.float64) > MASKING_BELOW)


def mask_of(graph: OpGraph, operation: Operation) -> TensorValue | None:
    """Give the explicit mask of an attention call."""
    name = base_name(operation)
    if name in _MASK_AT:
        return tensor_at(graph, operation, _MASK_AT[name])
    arg = operation.kwargs.get("attn_mask")
    return graph.value(arg.id) if isinstance(arg, TensorArg) else None


def is_causal(operation: Operation) -> bool:
    """Whether a fused attention call masks the future; the position differs between variants."""
    place = _CAUSAL_AT.get(base_name(operation))
    return place is not None and flag_at(operation, place, "is_causal")


def outer(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """addr: a row of the matrix, an element of each vector."""
    base, left, right = (needed_tensor(graph, operation, at) for at in (0, 1, 2))
    return [(base, broadcast_back(box, base)), (left, box[:1]), (right, box[1:])]


def complete(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """Every operand whole when the whole result is needed; of a part only little is certain."""
    tensors = tensors_in(graph, operation)
    if box != whole(graph.value(operation.outputs[place]).shape):
        return little(*tensors)
    return [(tensor, whole(tensor.shape)) for tensor in tensors]


def everything(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """Operations whose result has a size that every number of the operands decides."""
    return [(tensor, whole(tensor.shape)) for tensor in tensors_in(graph, operation)]


def transformed(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """A Fourier transform reads whole lines of the axes it transforms."""
    source = needed_tensor(graph, operation, 0)
    axes = {axis % len(box) for axis in integers_at(operation, 1) or ()}
    spans = (
        Span(0, size) if axis in axes else span for axis, (span, size) in enumerate(zip(box, source.shape, strict=True))
    )
    return [(source, tuple(spans))]
