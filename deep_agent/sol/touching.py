"""Loads torch. Owns which rows or elements a gather or scatter touches, counted on real indices."""

from collections.abc import Callable, Sequence
from math import prod

import torch

Look = Callable[[torch.Tensor], torch.Tensor]
"""From a tensor of the run to its value; raises when it is unknown."""

MAX_LISTED = 2**16
"""Indices up to which the rows of a gather are listed, so that several gathers of one table share rows."""

_ROWS_AT = {
    # Operation -> position of the indices, and of the axis they index; None for the first axis.
    "aten.embedding.default": (1, None),
    "aten.index_select.default": (2, 1),
    "aten.index_copy.default": (2, 1),
    "aten.index_add.default": (2, 1),
    "aten.index_fill.int_Scalar": (2, 1),
    "aten.index_fill.int_Tensor": (2, 1),
}
_ALONG = frozenset(
    ["aten.gather.default", "aten.scatter.src", "aten.scatter.value", "aten.scatter_reduce.two", "aten.scatter.reduce"]
)
_INDEXED = frozenset(["aten.index.Tensor", "aten.index_put.default"])
GROUPED = frozenset(["aten._grouped_mm.default", "aten._scaled_grouped_mm.default"])
DECIDED_BY_INDICES = frozenset({*_ROWS_AT, *_ALONG, *_INDEXED, *GROUPED})
"""Operations whose traffic the values of an index tensor decide."""


def touched(name: str, args: Sequence[object], look: Look) -> int | None:
    """Count distinct rows (or, along an axis, elements) of the first operand that a call touches; None for other calls.

    For a grouped product: the groups that have rows.
    """
    if name in _ROWS_AT:
        at, axis_at = _ROWS_AT[name]
        axis = 0 if axis_at is None else args[axis_at]
        table, index = args[0], args[at]
        if isinstance(table, torch.Tensor) and isinstance(index, torch.Tensor) and isinstance(axis, int):
            return _distinct([look(index)], [_size(table, axis)])
    if name in _ALONG:
        return _along(args, look)
    if name in _INDEXED and isinstance(args[1], list | tuple):
        return _indexed(args, args[1], look)
    return None


def listed(name: str, args: Sequence[object], look: Look) -> tuple[int, ...] | None:
    """Give the rows that a gather of whole rows reads, in the order of its indices; None for other calls and long ones."""
    if name in {"aten.embedding.default", "aten.index_select.default"}:
        at, axis_at = _ROWS_AT[name]
        index, axis = args[at], 0 if axis_at is None else args[axis_at]
    elif name == "aten.index.Tensor" and isinstance(args[1], list | tuple):
        chosen = [(axis, index) for axis, index in enumerate(args[1]) if isinstance(index, torch.Tensor)]
        if len(chosen) != 1 or chosen[0][1].dtype == torch.bool:
            return None
        axis, index = chosen[0]
    else:
        return None
    table = args[0]
    if not (isinstance(table, torch.Tensor) and isinstance(index, torch.Tensor) and isinstance(axis, int)):
        return None
    if index.numel() > MAX_LISTED or not table.dim():
        return None
    rows = look(index).long() % max(1, table.shape[axis])
    return tuple(int(row) for row in rows.flatten().numpy())


def group_rows(offsets: torch.Tensor) -> tuple[int, ...]:
    """Give the rows of every group of a grouped product from the ends of the groups."""
    ends = offsets.tolist()
    return tuple(max(0, end - start) for start, end in zip([0, *ends[:-1]], ends, strict=True))


def _size(tensor: torch.Tensor, axis: int) -> int:
    return tensor.shape[axis] if tensor.dim() else 1


def _distinct(indices: Sequence[torch.Tensor], sizes: Sequence[int]) -> int:
    flat: torch.Tensor | None = None
    for index, size in zip(torch.broadcast_tensors(*indices), sizes, strict=True):
        # A negative index counts from the end.
        place = index.long() % max(1, size)
        flat = place if flat is None else flat * size + place
    return 0 if flat is None else int(torch.unique(flat).numel())


def _along(args: Sequence[object], look: Look) -> int | None:
    table, axis, index = args[0], args[1], args[2]
    if not (isinstance(table, torch.Tensor) and isinstance(index, torch.Tensor) and isinstance(axis, int)):
        return None
    if not table.dim():
        return 1
    axis %= table.dim()
    if index.numel() == 0:
        return 0
    real = look(index).long()
    outer, inner = prod(index.shape[:axis]), prod(index.shape[axis + 1 :])
    size = table.shape[axis]
    rows = real.reshape(outer, index.shape[axis], inner) % max(1, size)
    lines = torch.arange(outer)[:, None, None] * inner + torch.arange(inner)[None, None, :]
    return int(torch.unique(lines * size + rows).numel())


def _indexed(args: Sequence[object], given: Sequence[object], look: Look) -> int | None:
    table = args[0]
    chosen = [(axis, index) for axis, index in enumerate(given) if isinstance(index, torch.Tensor)]
    if not isinstance(table, torch.Tensor) or not chosen:
        return None
    if any(index.dtype == torch.bool for _, index in chosen):
        return int(look(chosen[0][1]).sum()) if len(chosen) == 1 else None
    return _distinct([look(index) for _, index in chosen], [table.shape[axis] for axis, _ in chosen])
