"""Owns the element type whose rate prices a contraction: the narrowest that the reference's own inputs allow."""

from math import prod

from deep_agent.problem.dtype import DType
from deep_agent.problem.opgraph import Operation, OpGraph, TensorValue
from deep_agent.sol.families import MAKERS, POINTWISE_FLOP
from deep_agent.sol.operands import base_name, needed_tensor, tensors_in
from deep_agent.sol.viewmaps import VIEW_MAPS

_KEEPS_NUMBERS = frozenset({*VIEW_MAPS, *POINTWISE_FLOP, "index", "index_select", "repeat_interleave"})


def source_types(graph: OpGraph) -> dict[int, DType | None]:
    """Give each value the widest type of the inputs it is made of, or its own where that is narrower.

    A reference that widens bf16 operands, scales them by a float32 vector or keeps a product's sums in float32
    computes nothing that narrow multipliers with wide sums could not, so the narrow type's rate prices it.
    None is a constant: it takes the type of whatever it meets.
    """
    found: dict[int, DType | None] = {value: graph.value(value).dtype for value in graph.inputs.values()}
    own = _own_elements(graph)
    for operation in graph.operations:
        constant = base_name(operation) in MAKERS or operation.name.startswith("deep_agent.constant")
        for out in operation.outputs:
            found[out] = None if constant else _made_of(graph, operation, graph.value(out), found, own)
    return found


def _own_elements(graph: OpGraph) -> dict[int, int]:
    """Give how many numbers of its own each value is made of at most: a scale of blocks that is repeated has no more."""
    own = {value.id: prod(value.shape) for value in graph.values}
    for operation in graph.operations:
        name = base_name(operation)
        held = [own[tensor.id] for tensor in tensors_in(graph, operation)]
        if not held or name not in _KEEPS_NUMBERS:
            continue
        most = sum(held) if name in {"cat", "stack"} else max(held) if name in POINTWISE_FLOP else held[0]
        own |= {out: min(own[out], most) for out in operation.outputs}
    return own


def _made_of(
    graph: OpGraph, operation: Operation, made: TensorValue, found: dict[int, DType | None], own: dict[int, int]
) -> DType | None:
    operands = tensors_in(graph, operation)
    if base_name(operation) in POINTWISE_FLOP:
        # A scale, a bias or an epsilon has fewer numbers than what it is applied to, and does not set its type.
        most = max((own[tensor.id] for tensor in operands), default=0)
        operands = tuple(tensor for tensor in operands if own[tensor.id] == most)
    # A truth is exact in any type, as a constant is taken to be.
    if operands and all(
        tensor.dtype is DType.BOOL or found.get(tensor.id, tensor.dtype) is None for tensor in operands
    ):
        return None
    if not made.dtype.is_floating:
        return made.dtype
    sources = [
        dtype for tensor in operands if (dtype := found.get(tensor.id, tensor.dtype)) and _carries_numbers(dtype)
    ]
    source = max(sources, key=lambda dtype: dtype.bits, default=made.dtype)
    return source if source.bits <= made.dtype.bits else made.dtype


def _carries_numbers(dtype: DType) -> bool:
    return dtype.is_floating or dtype is DType.INT8


def priced_type(graph: OpGraph, operation: Operation, at: tuple[int, int], types: dict[int, DType | None]) -> DType:
    """Give the wider of the two operands' source types; `at` has their positions."""
    pair = [needed_tensor(graph, operation, place) for place in at]
    known = [dtype for tensor in pair if (dtype := types.get(tensor.id, tensor.dtype)) is not None]
    if not known:
        return pair[0].dtype
    floating = [dtype for dtype in known if dtype.is_floating] or known
    widest = max(dtype.bits for dtype in known)
    return next((dtype for dtype in floating if dtype.bits == widest), max(known, key=lambda dtype: dtype.bits))
