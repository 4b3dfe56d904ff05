"""Owns the part of an operand that a constant mask lets through, as a few boxes; the mask is a matrix of truths."""

from itertools import pairwise

import numpy as np

from deep_agent.problem.opgraph import Operation, OpGraph, TensorArg
from deep_agent.sol.constants import Array, Constants
from deep_agent.sol.operands import base_name
from deep_agent.sol.regions import Box, Span

N_BANDS = 16
"""Bands of rows that a mask is cut into; within a band, columns that all its rows show count."""


def kept_by_mask(graph: OpGraph, constants: Constants, operation: Operation, box: Box) -> dict[int, list[Box]]:
    """Give, for `where` and `masked_fill` under a constant mask, which part of the result comes from each operand.

    Returns:
        Position of an operand -> regions of the result; operands that are not mentioned are needed as ever.
    """
    at, taken = {"where": (0, {1: False, 2: True}), "masked_fill": (1, {0: True})}.get(base_name(operation), (0, {}))
    arg = operation.args[at] if at < len(operation.args) else None
    made = graph.value(operation.outputs[0]).shape
    if (
        not taken
        or not isinstance(arg, TensorArg)
        or len(made) < 2
        or any(s.start is None or s.step != 1 for s in box[-2:])
    ):
        return {}
    mask = constants.value(arg.id)
    if mask is None or mask.size == 0:
        return {}
    truths = mask.astype(bool)
    return {
        place: _parts(box, _in_every_image(truths if not hidden else ~truths, made[-2:]))
        for place, hidden in taken.items()
    }


def _parts(box: Box, visible: Array) -> list[Box]:
    rows, columns = box[-2], box[-1]
    above, left = rows.start or 0, columns.start or 0
    inside = visible[above : above + rows.count, left : left + columns.count]
    return [
        (*box[:-2], Span(above + (row.start or 0), row.count), Span(left + (column.start or 0), column.count))
        for row, column in _boxes(inside)
    ]


def _in_every_image(visible: Array, shape: tuple[int, ...]) -> Array:
    """Reduce to one matrix: what every image shows."""
    matrix = visible.reshape((1,) * max(0, 2 - visible.ndim) + visible.shape)
    lead = tuple(range(matrix.ndim - 2))
    return np.broadcast_to(matrix.all(axis=lead) if lead else matrix, shape)


def _boxes(visible: Array) -> list[tuple[Span, Span]]:
    """Fill a matrix of truths with boxes from inside; rows and columns that show anything keep their number."""
    n_rows = visible.shape[0]
    edges = np.unique(np.linspace(0, n_rows, N_BANDS + 1).astype(int))
    found: list[tuple[Span, Span]] = []
    for first, last in pairwise(edges):
        run = _longest_run(np.asarray(visible[first:last].all(axis=0)))
        if run.count:
            found.append((Span(int(first), int(last - first)), run))
    row = int(np.argmax(visible.sum(axis=1)))
    column = int(np.argmax(visible.sum(axis=0)))
    across, down = _longest_run(visible[row]), _longest_run(visible[:, column])
    return [*found, (Span(row, 1), across), (down, Span(column, 1))]


def _longest_run(truths: Array) -> Span:
    padded = np.concatenate(([False], truths, [False])).astype(np.int8)
    steps = np.diff(padded)
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    if not len(starts):
        return Span(0, 0)
    best = int(np.argmax(ends - starts))
    return Span(int(starts[best]), int(ends[best] - starts[best]))
