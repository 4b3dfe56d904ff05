"""Owns the ledger of a graph: what each operation by itself moves and multiplies; pure.

The strict bound counts a graph as a whole (`counting`); the other kinds of bounds need it call by call.
"""

from collections.abc import Container
from dataclasses import dataclass
from math import prod

from deep_agent.problem.dtype import DType
from deep_agent.problem.opgraph import Operation, OpGraph, TensorValue
from deep_agent.sol.demand import DemandMap, demands
from deep_agent.sol.families import MAKERS
from deep_agent.sol.multiplying import Multiplier
from deep_agent.sol.necessity import necessity
from deep_agent.sol.operands import base_name, integers_at, needed_tensor, tensors_in
from deep_agent.sol.viewmaps import VIEW_MAPS

COPIES = frozenset({"cat", "stack", "constant_pad_nd"})
"""Among the view maps, but each writes a tensor of its own."""
MATRIX_PRODUCTS = frozenset({"mm", "bmm", "addmm", "baddbmm", "matmul", "linear", "_scaled_mm", "_int_mm"})
_TABLES = frozenset({"embedding", "index_select", "gather", "index"})
WINOGRAD_TILE = 4
"""Outputs a minimal-filtering tile makes along one axis."""


@dataclass(frozen=True)
class Entry:
    """One operation by itself."""

    operation: Operation
    moved_bytes: float
    """Operands read and outputs written, as if each crossed memory."""
    macs: float = 0.0
    least_macs: float = 0.0
    """Multiply-adds when a stride-1 convolution is computed by minimal filtering; 0 where another order may need fewer;
    else `macs`."""
    dtype: DType | None = None
    """The type that prices the multiply-adds; None for an operation without any."""

    @property
    def is_matrix_product(self) -> bool:
        """Whether it multiplies matrices, whole or masked."""
        return base_name(self.operation) in MATRIX_PRODUCTS


@dataclass(frozen=True)
class Ledger:
    """Every operation's entry, in execution order, and the elements that cross memory at all."""

    entries: tuple[Entry, ...]
    external_elements: float
    """Needed elements of the inputs and all elements of the outputs."""
    may_hide_work: bool = False
    """Whether zeros or a mask may spare what is counted all the same: then no count proves a time impossible."""


def ledger(graph: OpGraph, needs: DemandMap | None = None) -> Ledger:
    """Write the ledger of a graph at its concrete sizes."""
    needs = needs or demands(graph)
    sizes = _physical_elements(graph)
    spared = necessity(graph, needs.constants)
    multiplier = Multiplier(graph, needs)
    entries = [
        _entry(graph, operation, _moved_bytes(graph, operation, sizes), multiplier, spared.reordered)
        for operation in graph.operations
        if any(needs.boxes.get(out) for out in operation.outputs)
    ]
    elements = sum(_numbers(graph.value(one), needs.elements(one)) for one in dict.fromkeys(graph.inputs.values()))
    elements += sum(_numbers(graph.value(out), prod(graph.value(out).shape)) for out in graph.outputs.values())
    return Ledger(tuple(entries), float(elements), may_hide_work=bool(needs.assumed_open or spared.hidden))


def _numbers(value: TensorValue, elements: int) -> int:
    # A traced fp4 tensor's shape counts bytes, two numbers each.
    return elements * 2 if value.dtype.bits < 8 else elements


def _entry(
    graph: OpGraph, operation: Operation, moved_bytes: float, multiplier: Multiplier, reordered: Container[int]
) -> Entry:
    counted = multiplier.of(operation)
    if counted is None:
        return Entry(operation, moved_bytes)
    macs, dtype = counted
    least = 0.0 if operation.outputs[0] in reordered else macs / filtering_gain(graph, operation)
    return Entry(operation, moved_bytes, macs=macs, least_macs=least, dtype=dtype)


def filtering_gain(graph: OpGraph, operation: Operation) -> float:
    """Give how many times fewer multiply-adds minimal filtering (Winograd) needs: 4 for a 3x3 kernel of stride 1.

    A tile of m outputs of k taps takes m + k - 1 multiplications an axis instead of m k; axes multiply.
    """
    places = {"convolution": (1, 3), "_convolution": (1, 3), "convolution_backward": (2, 4)}.get(base_name(operation))
    if places is None:
        return 1.0
    taps = needed_tensor(graph, operation, places[0]).shape[2:]
    strides = integers_at(operation, places[1]) or (1,)
    gain = 1.0
    for axis, n_taps in enumerate(taps):
        if strides[axis if axis < len(strides) else -1] == 1 and n_taps > 0:
            gain *= WINOGRAD_TILE * n_taps / (WINOGRAD_TILE + n_taps - 1)
    return gain


def is_view(operation: Operation) -> bool:
    """Whether the operation only looks at its operand's storage another way."""
    name = base_name(operation)
    return name in VIEW_MAPS and name not in COPIES


def _physical_elements(graph: OpGraph) -> dict[int, int]:
    """Give the elements of each value's own storage: an expanded view has no more than what it views."""
    found = {value.id: prod(value.shape) for value in graph.values}
    for operation in graph.operations:
        if is_view(operation):
            source = found[needed_tensor(graph, operation, 0).id]
            found |= {out: min(found[out], source) for out in operation.outputs}
    return found


def _moved_bytes(graph: OpGraph, operation: Operation, sizes: dict[int, int]) -> float:
    name = base_name(operation)
    if is_view(operation) or operation.name.startswith("deep_agent.constant") or name.startswith("empty"):
        return 0.0
    written = sum(storage_bytes(graph.value(out), sizes[out]) for out in operation.outputs)
    if name in MAKERS:
        return written
    asked = prod(graph.value(operation.outputs[0]).shape) if operation.outputs else 0
    read = 0.0
    operands = dict.fromkeys(tensor.id for tensor in tensors_in(graph, operation))
    for place, value_id in enumerate(operands):
        elements = min(sizes[value_id], asked) if place == 0 and name in _TABLES else sizes[value_id]
        read += storage_bytes(graph.value(value_id), elements)
    return read + written


def storage_bytes(value: TensorValue, elements: float) -> float:
    """Give the bytes of some elements of a value; a traced fp4 tensor counts bytes, two numbers each."""
    return elements * max(value.dtype.bits, 8) / 8
