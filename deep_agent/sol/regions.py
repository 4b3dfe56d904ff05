"""Owns regions of a tensor: which elements somebody needs, and how many distinct ones they are."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

MAX_MASK_CELLS = 2**24
"""Cells up to which a union is counted exactly; above it the largest single region stands for all."""


@dataclass(frozen=True)
class Span:
    """Indices along one axis: `count` of them from `start` by `step`; a start of None is unknown or picked."""

    start: int | None
    count: int
    step: int = 1
    picked: tuple[int, ...] = ()
    """The indices one by one, ascending, where no start and step give them."""

    @property
    def is_known(self) -> bool:
        """Whether every position is known."""
        return self.start is not None or bool(self.picked)

    def positions(self) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        """Give every position of a known span."""
        if self.picked:
            return np.asarray(self.picked, dtype=np.int64)
        return (self.start or 0) + np.arange(self.count, dtype=np.int64) * self.step

    def within(self, size: int) -> bool:
        """Whether the span is the whole axis."""
        return self.count == size


Box = tuple[Span, ...]
"""A span for every axis, outermost first; the empty box is the one element of a 0-d tensor."""


def whole(shape: Sequence[int]) -> Box:
    """Give the region of every element."""
    return tuple(Span(0, size) for size in shape)


def volume(box: Box) -> int:
    """Count the elements of one box."""
    return prod(span.count for span in box)


def is_known(box: Box) -> bool:
    """Whether every position is known."""
    return all(span.is_known for span in box)


def union_size(boxes: Iterable[Box], shape: Sequence[int]) -> int:
    """Count distinct elements in a union of boxes, or a lower bound of it.

    Boxes at unknown places may lie inside any other, so only the largest of them counts.
    """
    total = prod(shape)
    distinct = [box for box in dict.fromkeys(boxes) if volume(box) > 0]
    largest = max((volume(box) for box in distinct), default=0)
    known = [box for box in distinct if is_known(box)]
    if largest >= total or len(known) <= 1:
        return min(largest, total)
    return min(total, max(largest, _exact_union(known, shape, largest)))


def _exact_union(boxes: list[Box], shape: Sequence[int], largest: int) -> int:
    """Count on a grid whose lines are the boxes' edges: few cells, however large the tensor."""
    edges = [_edges([box[axis] for box in boxes], size) for axis, size in enumerate(shape)]
    if prod(len(edge) - 1 for edge in edges) > MAX_MASK_CELLS:
        return largest
    grid = np.zeros([len(edge) - 1 for edge in edges], dtype=bool)
    for box in boxes:
        grid[np.ix_(*(_cells(edge, span) for edge, span in zip(edges, box, strict=True)))] = True
    weights = np.ones((1,) * len(edges))
    for axis, edge in enumerate(edges):
        form = [1] * len(edges)
        form[axis] = -1
        weights = weights * np.diff(edge).reshape(form)
    return round(float(np.where(grid, weights, 0.0).sum()))


def _edges(spans: list[Span], size: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    if any(span.step > 1 and span.count > 1 for span in spans):
        return np.arange(size + 1, dtype=np.int64)
    plain = [span for span in spans if not span.picked]
    starts = [span.start or 0 for span in plain]
    ends = [(span.start or 0) + span.count for span in plain]
    picked = [span.positions() for span in spans if span.picked]
    each = np.unique(np.concatenate(picked)) if picked else np.zeros(0, dtype=np.int64)
    return np.unique(np.concatenate((np.array([0, size, *starts, *ends], dtype=np.int64), each, each + 1)))


def _cells(
    edges: "np.ndarray[tuple[int], np.dtype[np.int64]]", span: Span
) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    if span.picked:
        return np.searchsorted(edges, span.positions())
    start = span.start or 0
    if span.step > 1 and span.count > 1:
        return np.arange(start, start + span.count * span.step, span.step, dtype=np.int64)[: span.count]
    first, last = np.searchsorted(edges, [start, start + span.count])
    return np.arange(first, last, dtype=np.int64)


def reshaped(box: Box, old: Sequence[int], new: Sequence[int]) -> Box:
    """Carry a box from shape `old` to shape `new` of equally many elements.

    Where a part of an axis is cut into pieces that no box describes, its place becomes unknown; the count stays.
    """
    if 0 in old or 0 in new:
        return tuple(Span(0, 0) for _ in new)
    result: list[Span] = []
    for old_axes, new_axes in _matched(old, new):
        result.extend(
            _regrouped([box[axis] for axis in old_axes], [old[a] for a in old_axes], [new[a] for a in new_axes])
        )
    return tuple(result)


def _matched(old: Sequence[int], new: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """Pair the shortest runs of axes that hold equally many elements."""
    left, right = 0, 0
    while left < len(old) or right < len(new):
        old_axes: list[int] = []
        new_axes: list[int] = []
        a, b = 1, 1
        while True:
            if left < len(old) and (a < b or not old_axes):
                old_axes.append(left)
                a *= old[left]
                left += 1
            elif right < len(new) and (b < a or not new_axes):
                new_axes.append(right)
                b *= new[right]
                right += 1
            if a == b and (old_axes or left == len(old)) and (new_axes or right == len(new)):
                break
        yield old_axes, new_axes


def _regrouped(spans: list[Span], old: list[int], new: list[int]) -> list[Span]:
    if all(span.within(size) for span, size in zip(spans, old, strict=True)):
        return [Span(0, size) for size in new]
    if old == new:
        return spans
    kept = [(span, size) for span, size in zip(spans, old, strict=True) if size != 1]
    if [size for _, size in kept] == [size for size in new if size != 1]:
        remaining = iter([span for span, _ in kept])
        return [Span(0, 1) if size == 1 else next(remaining) for size in new]
    interval = _interval(spans, old)
    found = None if interval is None else _from_interval(*interval, new)
    return found if found is not None else somewhere(prod(span.count for span in spans), new)


def _interval(spans: list[Span], old: list[int]) -> tuple[int, int] | None:
    """Write the spans as one run of the flattened axes, if they are one."""
    start, count, partial = 0, 1, False
    for span, size in zip(spans, old, strict=True):
        if span.start is None or (partial and not span.within(size)):
            return None
        if span.step != 1 and span.count > 1:
            return None
        if (span.count > 1 and span.count < size) or (span.within(size) and size > 1):
            partial = True
        start, count = start * size + span.start, count * span.count
    return start, count


def _from_interval(start: int, count: int, new: list[int]) -> list[Span] | None:
    """Write one run of the flattened axes as a box of the new axes, if it is one."""
    result: list[Span] = []
    inner = prod(new)
    for size in new:
        inner //= size
        first, offset = divmod(start, inner)
        if count >= inner:
            if offset or count % inner:
                return None
            result.append(Span(first, count // inner))
            rest = new[len(result) :]
            return [*result, *(Span(0, further) for further in rest)]
        if offset + count > inner:
            return None
        result.append(Span(first, 1))
        start = offset
    return result


def somewhere(count: int, new: list[int]) -> list[Span]:
    """Place `count` elements nowhere in particular; counts round down so that none is invented."""
    result: list[Span] = []
    if count == 0:
        return [Span(None, 0) for _ in new]
    for size in reversed(new):
        taken = min(size, count)
        result.append(Span(None, taken))
        count //= taken
    result.reverse()
    return result


def flat_interval(box: Box, shape: Sequence[int]) -> tuple[int, int] | None:
    """Write a box as start and length of one run of the flattened tensor, if it is one."""
    return _interval(list(box), list(shape)) if box else (0, 1)


def interval_boxes(start: int, count: int, shape: Sequence[int]) -> list[Box]:
    """Cut one run of the flattened tensor into boxes: a part of a block, whole blocks, a part of a block."""
    if not shape or count == 0:
        return [()] if count else []
    inner = prod(shape[1:])
    first, offset = divmod(start, inner)
    found: list[Box] = []
    if offset:
        taken = min(count, inner - offset)
        found += [(Span(first, 1), *rest) for rest in interval_boxes(offset, taken, shape[1:])]
        first, count = first + 1, count - taken
    if count >= inner:
        found.append((Span(first, count // inner), *whole(shape[1:])))
        first, count = first + count // inner, count % inner
    return found + [(Span(first, 1), *rest) for rest in interval_boxes(0, count, shape[1:])]
