"""Owns the multiply-adds of every contraction."""

from collections.abc import Callable
from math import log2, prod

from deep_agent.problem.opgraph import Operation, OpGraph
from deep_agent.sol.operands import base_name, flag_at, needed_tensor, number_of, tensors_in
from deep_agent.sol.products import ATTENTION, ATTENTION_BACKWARD, is_causal
from deep_agent.sol.windows import convolution_windows

MacRule = Callable[[OpGraph, Operation, tuple[int, ...]], float]
"""From an operation and the positions of the outputs that anyone needs to multiply-adds."""


def _product(graph: OpGraph, operation: Operation, wanted: tuple[int, ...]) -> float:
    """Every output element of a matrix product takes one multiply-add a step of the inner axis."""
    left = needed_tensor(graph, operation, 1 if base_name(operation) in {"addmm", "baddbmm", "addmv"} else 0)
    return prod(graph.value(operation.outputs[0]).shape) * (left.shape[-1] if left.shape else 1)


def _outer(graph: OpGraph, operation: Operation, wanted: tuple[int, ...]) -> float:
    return prod(graph.value(operation.outputs[0]).shape)


def _convolution(graph: OpGraph, operation: Operation, wanted: tuple[int, ...]) -> float:
    """Weight is (out, in/groups, kernel), or (in, out/groups, kernel) when transposed; padding is no work."""
    weight = needed_tensor(graph, operation, 1)
    over = needed_tensor(graph, operation, 0) if flag_at(operation, 6, "transposed") else None
    shape = graph.value(operation.outputs[0]).shape if over is None else over.shape
    pairs = prod(window.pairs() for window in convolution_windows(graph, operation))
    return prod(shape[:2]) * weight.shape[1] * pairs


def _convolution_backward(graph: OpGraph, operation: Operation, wanted: tuple[int, ...]) -> float:
    """One convolution for each gradient that is needed; the bias gradient multiplies nothing."""
    weight = needed_tensor(graph, operation, 2)
    over = needed_tensor(graph, operation, 1 if flag_at(operation, 7, "transposed") else 0)
    pairs = prod(window.pairs() for window in convolution_windows(graph, operation))
    return prod(over.shape[:2]) * weight.shape[1] * pairs * len({0, 1}.intersection(wanted))


def visible_pairs(n_queries: int, n_keys: int, *, causal: bool) -> int:
    """Count the (query, key) pairs attention looks at; causal masks align at the first query and key."""
    if not causal:
        return n_queries * n_keys
    full = max(0, n_queries - n_keys)
    rising = n_queries - full
    return rising * (rising + 1) // 2 + full * n_keys


def _attention(graph: OpGraph, operation: Operation, wanted: tuple[int, ...]) -> float:
    """Two products: scores over the query's width, outputs over the value's.

    Beside its gradient the scores are made once, there; and the gradient needs no output to be made.
    """
    query, key, value = (needed_tensor(graph, operation, at).shape for at in (0, 1, 2))
    pairs = visible_pairs(query[-2], key[-2], causal=is_causal(operation))
    made = set(operation.outputs)
    users = [later for later in graph.operations if made.intersection(t.id for t in tensors_in(graph, later))]
    gradients = [later for later in users if base_name(later) in ATTENTION_BACKWARD]
    out = operation.outputs[0]
    others = [later for later in users if later not in gradients and out in {t.id for t in tensors_in(graph, later)}]
    wants_output = 0 in wanted and (bool(others) or not gradients or out in graph.outputs.values())
    return prod(query[:-2]) * pairs * (query[-1] * (not gradients) + value[-1] * wants_output)


def _attention_backward(graph: OpGraph, operation: Operation, wanted: tuple[int, ...]) -> float:
    """Five products: scores, dP for either of dQ and dK, and each of dQ, dK and dV that is needed."""
    query, key, value = (needed_tensor(graph, operation, at).shape for at in (1, 2, 3))
    pairs = visible_pairs(query[-2], key[-2], causal=is_causal(operation))
    of_query, of_key, of_value = (place in wanted for place in range(3))
    widths = query[-1] * (1 + of_query + of_key) + value[-1] * (of_value + (of_query or of_key))
    return prod(query[:-2]) * pairs * widths


def _distance(graph: OpGraph, operation: Operation, wanted: tuple[int, ...]) -> float:
    """Only the Euclidean distance is a matrix product."""
    norm = number_of(operation.args[2]) if len(operation.args) > 2 else 2.0
    steps = needed_tensor(graph, operation, 0).shape[-1] if norm == 2.0 else 0
    return prod(graph.value(operation.outputs[0]).shape) * steps


def _grouped(graph: OpGraph, operation: Operation, wanted: tuple[int, ...]) -> float:
    """A product for each group, over the rows that the offsets give it; unknown offsets give none."""
    left, right = needed_tensor(graph, operation, 0).shape, needed_tensor(graph, operation, 1).shape
    if len(left) == 3 and len(right) == 3:
        return prod(left) * right[-1]
    n_rows = graph.rows_routed.get(operation.outputs[0], 0)
    return n_rows * (
        right[-1] * left[-1] if len(left) == 2 and len(right) == 3 else left[-2] * right[-1 if len(left) == 2 else 0]
    )


MAC_RULES: dict[str, MacRule] = {
    **dict.fromkeys(
        ("mm", "bmm", "addmm", "baddbmm", "mv", "addmv", "dot", "vdot", "matmul", "linear", "_scaled_mm", "_int_mm"),
        _product,
    ),
    **dict.fromkeys(("convolution", "_convolution"), _convolution),
    **dict.fromkeys(ATTENTION, _attention),
    **dict.fromkeys(ATTENTION_BACKWARD, _attention_backward),
    **dict.fromkeys(("_grouped_mm", "_scaled_grouped_mm"), _grouped),
    "convolution_backward": _convolution_backward,
    "_cdist_forward": _distance,
    "addr": _outer,
}
"""Contractions with a rule."""

OPERANDS_AT: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("addmm", "baddbmm", "addmv", "addr"), (1, 2)),
    "convolution_backward": (1, 2),
    **dict.fromkeys(ATTENTION_BACKWARD, (1, 2)),
}
"""Positions of the two operands whose types choose the rate; (0, 1) where absent."""


def fft_flop(n_elements: int) -> float:
    """Count the operations of a Fourier transform: 5 N log2 N."""
    return 5 * n_elements * log2(n_elements) if n_elements > 1 else 0.0
