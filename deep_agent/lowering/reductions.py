"""Owns ATen's reductions, along the columns or over the rows, and the compositions made of them."""

from collections.abc import Callable, Sequence
from math import inf

from deep_agent.lowering.analysis import Analysis, Handler, Reduction
from deep_agent.lowering.builder import Builder, Make, Picture
from deep_agent.lowering.expression import NodeId, Unsupported
from deep_agent.lowering.graphview import Call
from deep_agent.lowering.layout import Atom, Layout
from deep_agent.lowering.size import ZERO, Window, product

NOWHERE = Window(ZERO, ZERO)
"""The window asked of tensors without columns, where it does not matter."""

Each = Callable[[NodeId, Window], NodeId]
"""What is done to an element before it is reduced, given the columns it stands for."""

_PLAIN = {"sum": "row_sum", "amax": "row_max", "amin": "row_min", "argmax": "row_argmax", "argmin": "row_argmin"}
_COMBINE = {"row_sum": "add", "row_max": "maximum", "row_max_quiet": "maximum", "row_min": "minimum"}


class Reducer:
    """Reduces one picture over chosen dimensions."""

    def __init__(self, analysis: Analysis, operand: Picture, dims: Sequence[int]) -> None:
        """Note the reduction with the analysis, which chooses the columns by them."""
        self._analysis = analysis
        self.operand = operand
        self._atoms: tuple[Atom, ...] = tuple(atom for dim in dims for atom in operand.layout[dim])
        self._dims = frozenset(dims)
        analysis.reductions.append(Reduction(operand.layout, [operand.layout[dim] for dim in dims]))

    def layout(self, *, keep: bool) -> Layout:
        """Give the layout of the result."""
        kept = [() if index in self._dims else dim for index, dim in enumerate(self.operand.layout)]
        return tuple(dim for index, dim in enumerate(kept) if keep or index not in self._dims)

    def count(self, b: Builder) -> NodeId:
        """Give how many elements go into one result."""
        return b.size(product(tuple(self._analysis.atoms.size(atom) for atom in self._atoms)))

    def reduce(self, b: Builder, op: str, window: Window = NOWHERE, each: Each | None = None) -> NodeId:
        """Reduce; each element passes through `each` first. The window matters to sums over the rows only.

        Raises:
            Unsupported: it takes away some of the rows only, or is no sum over the rows.
        """
        find = self._analysis.atoms.find
        rows = {find(atom) for atom in self._atoms if not b.is_column(atom)}
        has_columns = any(b.is_column(atom) for atom in self._atoms)
        if rows and rows != set(b.row_atoms):
            raise Unsupported("it reduces over some dimensions of the rows, but not over all")
        if rows and op != "row_sum":
            raise Unsupported("only sums and means can be taken over the rows")
        if not has_columns:
            node = self.operand.at(b, window)
            return b.over_rows(each(node, window) if each else node)
        node = self._along(b, op, each)
        return b.over_rows(node) if rows else node

    def _along(self, b: Builder, op: str, each: Each | None) -> NodeId:
        windows = self.operand.breaks(b)
        if windows is None:
            width = product(tuple(self._analysis.atoms.size(atom) for atom in self._atoms if b.is_column(atom)))
            windows = (Window(ZERO, width),)
        parts = []
        for window in windows:
            node = self.operand.at(b, window)
            node = each(node, window) if each else node
            parts.append(b.row_reduction(op, node, window.width, first=window.offset if "arg" in op else None))
        if len(parts) > 1 and op not in _COMBINE:
            raise Unsupported("the position of an extreme is looked for across joined tensors")
        result = parts[0]
        for part in parts[1:]:
            result = b.op(_COMBINE[op], result, part)
        return result


def chosen_dims(analysis: Analysis, call: Call, picture: Picture, position: int = 1) -> tuple[int, ...]:
    """Give the dimensions a call reduces; all where it names none."""
    rank = len(picture.layout)
    dims = call.integers(position, "dim")
    return tuple(range(rank)) if not dims else tuple(dim % rank for dim in dims)


def reduced(analysis: Analysis, value_id: int, reducer: Reducer, *, keep: bool, make: Make) -> Picture:
    """Picture the result of a reduction, rounded to its type."""
    layout, dtype, operand = reducer.layout(keep=keep), analysis.dtype(value_id), reducer.operand

    def breaks(b: Builder) -> tuple[Window, ...] | None:
        return None if b.column_width(layout) is None else operand.breaks(b)

    return Picture(layout, dtype, lambda b, window: b.rounded(make(b, window), dtype), breaks, (operand,))


def _plain(analysis: Analysis, call: Call) -> Sequence[Picture]:
    source = analysis.picture(call.tensor(0))
    reducer = Reducer(analysis, source, chosen_dims(analysis, call, source))
    keep = bool(call.literal(2, "keepdim", default=False))
    op = "row_sum" if call.base == "mean" else _PLAIN[call.base]

    def make(b: Builder, window: Window) -> NodeId:
        node = reducer.reduce(b, op, window)
        return b.op("div", node, reducer.count(b)) if call.base == "mean" else node

    return [reduced(analysis, call.operation.outputs[0], reducer, keep=keep, make=make)]


def centred_square(b: Builder, mean: NodeId) -> Each:
    """Make the squared distance from a mean."""

    def each(node: NodeId, _window: Window) -> NodeId:
        distance = b.op("sub", node, mean)
        return b.op("mul", distance, distance)

    return each


def mean_of(b: Builder, reducer: Reducer, each: Each | None = None) -> NodeId:
    """Make the mean along the columns."""
    return b.op("div", reducer.reduce(b, "row_sum", each=each), reducer.count(b))


def _variance(analysis: Analysis, call: Call) -> Sequence[Picture]:
    """Two passes, as accuracy wants: the mean, then the squared distances from it."""
    source = analysis.picture(call.tensor(0))
    reducer = Reducer(analysis, source, chosen_dims(analysis, call, source))
    keep = bool(call.literal(3, "keepdim", default=False))
    correction = call.literal(2, "correction", 1)

    def variance(b: Builder, _window: Window) -> NodeId:
        total = reducer.reduce(b, "row_sum", each=centred_square(b, mean_of(b, reducer)))
        count = b.op("sub", reducer.count(b), b.constant(float(correction if correction is not None else 1)))
        ratio = b.op("div", total, count)
        return b.op("sqrt", ratio) if call.base.startswith("std") else ratio

    outputs = call.operation.outputs
    made = [reduced(analysis, outputs[0], reducer, keep=keep, make=variance)]
    if len(outputs) > 1:
        made.append(reduced(analysis, outputs[1], reducer, keep=keep, make=lambda b, _window: mean_of(b, reducer)))
    return made


def _logsumexp(analysis: Analysis, call: Call) -> Sequence[Picture]:
    source = analysis.picture(call.tensor(0))
    reducer = Reducer(analysis, source, chosen_dims(analysis, call, source))
    keep = bool(call.literal(2, "keepdim", default=False))

    def make(b: Builder, _window: Window) -> NodeId:
        # Infinite maxima are taken out, or the difference would be NaN where the sum is 0 or infinite.
        top = reducer.reduce(b, "row_max")
        shift = b.op("where", b.op("eq", b.op("abs", top), b.constant(inf)), b.constant(0.0), top)
        total = reducer.reduce(b, "row_sum", each=lambda node, _w: b.op("exp", b.op("sub", node, shift)))
        return b.op("add", b.op("log", total), shift)

    return [reduced(analysis, call.operation.outputs[0], reducer, keep=keep, make=make)]


def _vector_norm(analysis: Analysis, call: Call) -> Sequence[Picture]:
    source = analysis.picture(call.tensor(0))
    if call.literal(1, "ord", 2) != 2:
        raise Unsupported("only the Euclidean norm is known")
    reducer = Reducer(analysis, source, chosen_dims(analysis, call, source, 2))
    keep = bool(call.literal(3, "keepdim", default=False))

    def make(b: Builder, window: Window) -> NodeId:
        return b.op("sqrt", reducer.reduce(b, "row_sum", window, lambda node, _w: b.op("mul", node, node)))

    return [reduced(analysis, call.operation.outputs[0], reducer, keep=keep, make=make)]


REDUCTIONS: dict[str, Handler] = {
    **dict.fromkeys(("sum", "mean", "amax", "amin", "argmax", "argmin"), _plain),
    **dict.fromkeys(("var", "std", "var_mean", "std_mean"), _variance),
    "logsumexp": _logsumexp,
    "linalg_vector_norm": _vector_norm,
}
"""ATen base name -> handler."""
