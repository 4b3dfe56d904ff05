"""Owns ATen's views, joins, casts and constants: operations that move or make elements without arithmetic."""

from collections.abc import Sequence

from deep_agent.lowering.analysis import Analysis, Handler, whole
from deep_agent.lowering.builder import Breaks, Builder, Make, Picture
from deep_agent.lowering.expression import NodeId, Unsupported
from deep_agent.lowering.graphview import Call
from deep_agent.lowering.layout import Layout
from deep_agent.lowering.size import ZERO, Size, Window
from deep_agent.problem.dtype import DType
from deep_agent.problem.opgraph import ListArg, TensorArg

_INTEGERS = frozenset({DType.INT8, DType.INT16, DType.INT32, DType.INT64})


def relaid(source: Picture, layout: Layout, dtype: DType | None = None) -> Picture:
    """Picture the same elements in other dimensions."""
    return Picture(layout, dtype or source.dtype, source.at, source.breaks, (source,))


def _same(analysis: Analysis, call: Call) -> Sequence[Picture]:
    return [analysis.picture(call.tensor(0))]


def _view(analysis: Analysis, call: Call) -> Sequence[Picture]:
    source, sizes = analysis.picture(call.tensor(0)), analysis.dims(call.operation.outputs[0])
    atoms = tuple(atom for dim in source.layout for atom in dim)
    kept = [index for index, size in enumerate(sizes) if size.text != "1"]
    layout: list[tuple[int, ...]] = [()] * len(sizes)
    for group, positions in analysis.atoms.aligned(atoms, [sizes[index] for index in kept]):
        layout[kept[positions[0]]] = group
    return [relaid(source, tuple(layout))]


def _unsqueeze(analysis: Analysis, call: Call) -> Sequence[Picture]:
    source = analysis.picture(call.tensor(0))
    dim = call.integer(1, "dim", 0)
    at = dim if dim >= 0 else dim + len(source.layout) + 1
    return [relaid(source, (*source.layout[:at], (), *source.layout[at:]))]


def _squeeze(analysis: Analysis, call: Call) -> Sequence[Picture]:
    source, sizes = analysis.picture(call.tensor(0)), analysis.dims(call.tensor(0) or 0)
    chosen = call.integers(1, "dim")
    dims = range(len(sizes)) if chosen is None else [dim % len(sizes) for dim in chosen]
    gone = {dim for dim in dims if sizes[dim].text == "1"}
    return [relaid(source, tuple(dim for index, dim in enumerate(source.layout) if index not in gone))]


def _expand(analysis: Analysis, call: Call) -> Sequence[Picture]:
    source, value_id = analysis.picture(call.tensor(0)), call.operation.outputs[0]
    sizes = analysis.dims(value_id)
    padded = ((),) * (len(sizes) - len(source.layout)) + source.layout
    layout = tuple(
        dim or analysis.fresh(call, value_id, index, size)
        for index, (dim, size) in enumerate(zip(padded, sizes, strict=True))
    )
    return [relaid(source, layout)]


def _permute(analysis: Analysis, call: Call) -> Sequence[Picture]:
    source = analysis.picture(call.tensor(0))
    rank = len(source.layout)
    order = list(range(rank))
    if call.base == "permute":
        order = [dim % rank for dim in call.integers(1, "dims") or ()]
    elif rank >= 2:
        first, second = (
            (0, 1) if call.base == "t" else (call.integer(1, "dim0", 0) % rank, call.integer(2, "dim1", 1) % rank)
        )
        order[first], order[second] = order[second], order[first]
    return [relaid(source, tuple(source.layout[dim] for dim in order))]


def cut(analysis: Analysis, call: Call, dim: int, window: Window, output: int = 0) -> Picture:
    """Picture a run of a tensor along its columns."""
    source, value_id = analysis.picture(call.tensor(0)), call.operation.outputs[output]
    at = dim % len(source.layout)
    old = source.layout[at]
    if window.offset.text == "0" and window.width.value == analysis.atoms.width(old).value:
        return relaid(source, source.layout)
    new = analysis.fresh(call, value_id, at, window.width)
    analysis.atoms.relate(new, old)
    layout = (*source.layout[:at], new, *source.layout[at + 1 :])

    def make(b: Builder, wanted: Window) -> NodeId:
        _require_columns(b, old)
        return source.at(b, Window(window.offset + wanted.offset, wanted.width))

    def breaks(b: Builder) -> tuple[Window, ...] | None:
        inner = source.breaks(b)
        return None if inner is None else tuple(_clipped(inner, window))

    return Picture(layout, source.dtype, make, breaks, (source,))


def _require_columns(b: Builder, dim: tuple[int, ...]) -> None:
    if not all(b.is_column(atom) for atom in dim):
        raise Unsupported("a run of rows is cut out of a tensor; only runs of columns can be")


def _clipped(windows: Sequence[Window], window: Window) -> list[Window]:
    """Give the parts of windows within a window, counted from its start."""
    parts = []
    for inner in windows:
        low = inner.offset if inner.offset.value > window.offset.value else window.offset
        high = inner.end if inner.end.value < window.end.value else window.end
        if low.value < high.value:
            is_all = low.value == window.offset.value and high.value == window.end.value
            parts.append(Window(low - window.offset, window.width if is_all else high - low))
    return parts


def _split(analysis: Analysis, call: Call) -> Sequence[Picture]:
    dim = call.integer(2, "dim", 0)
    offset, parts = ZERO, []
    for index, value_id in enumerate(call.operation.outputs):
        sizes = analysis.dims(value_id)
        width = sizes[dim % len(sizes)]
        parts.append(cut(analysis, call, dim, Window(offset, width), index))
        offset = offset + width
    return parts


def _slice(analysis: Analysis, call: Call) -> Sequence[Picture]:
    dim = call.integer(1, "dim", 0)
    if call.base == "slice" and call.integer(4, "step", 1) != 1:
        raise Unsupported("a slice takes every n-th element; only runs of neighbours can be taken")
    start = call.size(2, "start", ZERO)
    sizes, old = analysis.dims(call.operation.outputs[0]), analysis.dims(call.tensor(0) or 0)
    at = dim % len(sizes)
    if start.value < 0:
        start = old[at] - Size.of(-start.value)
    return [cut(analysis, call, dim, Window(start, sizes[at]))]


def _cat(analysis: Analysis, call: Call) -> Sequence[Picture]:
    arg, value_id = call.arg(0, "tensors"), call.operation.outputs[0]
    if not isinstance(arg, ListArg):
        raise Unsupported("the tensors to join are no list")
    pieces = [analysis.picture(item.id) for item in arg.items if isinstance(item, TensorArg)]
    rank = len(pieces[0].layout)
    at = call.integer(1, "dim", 0) % rank
    sizes = [analysis.dims(item.id)[at] for item in arg.items if isinstance(item, TensorArg)]
    new = analysis.fresh(call, value_id, at, analysis.dims(value_id)[at])
    rest = analysis.broadcast([(*piece.layout[:at], (), *piece.layout[at + 1 :]) for piece in pieces])
    for piece in pieces:
        analysis.atoms.relate(new, piece.layout[at])
    runs, offset = [], ZERO
    for size in sizes:
        runs.append(Window(offset, size))
        offset = offset + size
    make, breaks = _joined(pieces, runs, new)
    return [Picture((*rest[:at], new, *rest[at + 1 :]), analysis.dtype(value_id), make, breaks, tuple(pieces))]


def _joined(pieces: Sequence[Picture], runs: Sequence[Window], dim: tuple[int, ...]) -> tuple[Make, Breaks]:
    def make(b: Builder, wanted: Window) -> NodeId:
        _require_columns(b, dim)
        for piece, run in zip(pieces, runs, strict=True):
            if run.offset.value <= wanted.offset.value and wanted.end.value <= run.end.value:
                return piece.at(b, Window(wanted.offset - run.offset, wanted.width))
        raise Unsupported("joined tensors are read across the seam")

    def breaks(b: Builder) -> tuple[Window, ...]:
        found: list[Window] = []
        for piece, run in zip(pieces, runs, strict=True):
            inner = piece.breaks(b) or (Window(ZERO, run.width),)
            found.extend(Window(run.offset + window.offset, window.width) for window in inner)
        return tuple(found)

    return make, breaks


def _to_copy(analysis: Analysis, call: Call) -> Sequence[Picture]:
    source, value_id = analysis.picture(call.tensor(0)), call.operation.outputs[0]
    dtype = analysis.dtype(value_id)
    from_float = source.dtype.is_floating

    def make(b: Builder, window: Window) -> NodeId:
        node = source.at(b, window)
        if dtype is DType.BOOL and source.dtype is not DType.BOOL:
            return b.op("ne", node, b.constant(0.0))
        if source.dtype is DType.BOOL and dtype is not DType.BOOL:
            return b.op("where", node, b.constant(1.0), b.constant(0.0))
        if dtype in _INTEGERS and from_float:
            return b.op("trunc", node)
        return b.rounded(node, dtype)

    return [Picture(source.layout, dtype, make, source.breaks, (source,))]


def _filled(analysis: Analysis, call: Call) -> Sequence[Picture]:
    value_id = call.operation.outputs[0]
    position = {"full": 1, "full_like": 1, "scalar_tensor": 0}.get(call.base)
    fixed = {"zeros": 0.0, "zeros_like": 0.0, "ones": 1.0, "ones_like": 1.0}.get(call.base)
    arg = call.arg(position, "fill_value") if position is not None else None
    layout = tuple(analysis.fresh(call, value_id, dim, size) for dim, size in enumerate(analysis.dims(value_id)))
    dtype = analysis.dtype(value_id)

    def make(b: Builder, window: Window) -> NodeId:
        node = analysis.operand(b, arg, window) if arg is not None else b.constant(fixed or 0.0)
        if node is None:
            raise Unsupported("a tensor is filled with nothing")
        return b.op("ne", node, b.constant(0.0)) if dtype is DType.BOOL else node

    return [Picture(layout, dtype, make, lambda b: whole(b, layout), renew=lambda: _filled(analysis, call)[0])]


def _arange(analysis: Analysis, call: Call) -> Sequence[Picture]:
    value_id = call.operation.outputs[0]
    (size,) = analysis.dims(value_id)
    if len(call.operation.args) > 1:
        raise Unsupported("only a range that starts at 0 with step 1 can be made")
    dim = analysis.fresh(call, value_id, 0, size)

    def make(b: Builder, window: Window) -> NodeId:
        if not dim:
            return b.constant(0.0)
        if len(dim) > 1:
            raise Unsupported("a range is viewed in several dimensions")
        return b.column_index(window) if b.is_column(dim[0]) else b.row_index(dim[0])

    dtype, renew = analysis.dtype(value_id), lambda: _arange(analysis, call)[0]
    return [Picture((dim,), dtype, make, lambda b: whole(b, (dim,)), renew=renew)]


def _select(analysis: Analysis, call: Call) -> Sequence[Picture]:
    source = analysis.picture(call.tensor(0))
    at = call.integer(1, "dim", 0) % len(source.layout)
    if source.layout[at]:
        raise Unsupported("one element of a dimension is taken; only runs of columns can be")
    return [relaid(source, (*source.layout[:at], *source.layout[at + 1 :]))]


VIEWS: dict[str, Handler] = {
    **dict.fromkeys(("clone", "contiguous", "alias", "detach", "lift_fresh_copy", "lift_fresh", "positive"), _same),
    **dict.fromkeys(("view", "_unsafe_view", "reshape"), _view),
    **dict.fromkeys(("permute", "transpose", "t"), _permute),
    **dict.fromkeys(("split", "split_with_sizes", "chunk"), _split),
    **dict.fromkeys(("slice", "narrow"), _slice),
    **dict.fromkeys(("full", "full_like", "scalar_tensor", "zeros", "zeros_like", "ones", "ones_like"), _filled),
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    "expand": _expand,
    "select": _select,
    "cat": _cat,
    "_to_copy": _to_copy,
    "arange": _arange,
}
"""ATen base name -> handler."""
