"""Owns the work of a graph: multiply-adds, other operations, and bytes that must cross memory.

Only external traffic counts: what `run` makes and uses up is free. Everything errs low.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from deep_agent.problem.bound import Work
from deep_agent.problem.definition import Definition
from deep_agent.problem.dtype import DType
from deep_agent.problem.opgraph import Operation, OpGraph, TensorValue
from deep_agent.sol.contractions import fft_flop
from deep_agent.sol.demand import DemandMap, demands
from deep_agent.sol.families import NORMALIZED, POINTWISE_FLOP, REDUCED, ROW_AXES
from deep_agent.sol.multiplying import Multiplier
from deep_agent.sol.necessity import necessity
from deep_agent.sol.operands import base_name, tensors_in
from deep_agent.sol.wholefamilies import WHOLE_FLOP


@dataclass(frozen=True)
class Tally:
    """The work, and what a reader should know about how it was counted."""

    work: Work
    notes: tuple[str, ...]


def count(graph: OpGraph) -> Work:
    """Count what the graph must do at its concrete sizes; see `tally` for the notes."""
    return tally(graph).work


def tally(graph: OpGraph) -> Tally:
    """Count the work, and name what was estimated or has no rule."""
    needs = demands(graph)
    macs, unpriced = _multiply_adds(graph, needs)
    plain, special = _other_operations(graph, needs)
    work = Work(
        macs=macs,
        other_flop=plain,
        special_flop=special,
        read_bytes=_read_bytes(graph, needs),
        written_bytes=sum(_storage(graph.value(out), prod(graph.value(out).shape)) for out in graph.outputs.values()),
    )
    notes = [f"no rule for {name}: neither what it reads nor its arithmetic is counted" for name in needs.unruled]
    notes += [f"no rule for the multiply-adds of {name}: not counted" for name in unpriced if name not in needs.unruled]
    notes += [f"{name}: rows touched are unknown, only what any index must touch is counted" for name in needs.unseen]
    notes += [f"{name}: its mask is data; what it may hide is counted" for name in needs.assumed_open]
    notes += necessity(graph, needs.constants).notes
    return Tally(work, tuple(notes))


def declared(definition: Definition, sizes: Mapping[str, int]) -> Tally:
    """Give the work of a reference that cannot be traced: declared outputs written, nothing else known.

    Inputs are left out, because whether they are read is exactly what tracing would have said.
    """
    written = sum(definition.storage_bytes(name, sizes) for name in definition.outputs)
    work = Work(macs={}, other_flop=0.0, special_flop=0.0, read_bytes=0.0, written_bytes=float(written))
    return Tally(work, ("only the declared outputs are counted",))


def _multiply_adds(graph: OpGraph, needs: DemandMap) -> tuple[dict[DType, float], tuple[str, ...]]:
    multiplier = Multiplier(graph, needs)
    found: dict[DType, float] = {}
    unpriced: dict[str, None] = {}
    for operation in graph.operations:
        counted = multiplier.of(operation)
        if counted is not None:
            macs, dtype = counted
            found[dtype] = found.get(dtype, 0.0) + macs
        elif base_name(operation) in _UNPRICED:
            unpriced[operation.name] = None
    return {dtype: macs for dtype, macs in found.items() if macs > 0}, tuple(unpriced)


_UNPRICED = frozenset(["einsum", "_trilinear", "bilinear", "addbmm"])


def _other_operations(graph: OpGraph, needs: DemandMap) -> tuple[float, float]:
    plain, special = 0.0, 0.0
    for operation in graph.operations:
        wanted = [out for out in operation.outputs if needs.boxes.get(out)]
        if not wanted:
            continue
        elements, cost = _elements_and_cost(graph, operation, needs, wanted)
        plain += elements * cost[0]
        special += elements * cost[1]
        if base_name(operation).startswith("_fft"):
            plain += fft_flop(max(prod(tensor.shape) for tensor in tensors_in(graph, operation)))
    return plain, special


def _elements_and_cost(
    graph: OpGraph, operation: Operation, needs: DemandMap, wanted: list[int]
) -> tuple[int, tuple[int, int]]:
    name = base_name(operation)
    inputs = tensors_in(graph, operation)
    if name in POINTWISE_FLOP or (name in REDUCED and len(inputs) > 1):
        return max(needs.elements(out) for out in wanted), POINTWISE_FLOP.get(name, (1, 0))
    if name in ROW_AXES:
        return needs.elements(inputs[0].id), ROW_AXES[name][1:]
    if name in REDUCED:
        return max((prod(tensor.shape) for tensor in inputs), default=0), REDUCED[name]
    largest = max((prod(tensor.shape) for tensor in inputs), default=0)
    return largest, (NORMALIZED[name], 0) if name in NORMALIZED else WHOLE_FLOP.get(name, (0, 0))


def _read_bytes(graph: OpGraph, needs: DemandMap) -> float:
    needed = {name: _input_bytes(graph, needs, name) for name in graph.inputs}
    shared = [group for group in graph.input_aliases if len(group) > 1]
    # What two inputs touch of one storage may be the same bytes, so the larger share is all that is certain.
    for group in shared:
        most = max(needed.get(name, 0.0) for name in group)
        for place, name in enumerate(group):
            needed[name] = most if place == 0 else 0.0
    return sum(needed.values())


def _input_bytes(graph: OpGraph, needs: DemandMap, name: str) -> float:
    value = graph.value(graph.inputs[name])
    if not needs.boxes.get(value.id):
        return 0.0
    touched = _storage(value, needs.elements(value.id))
    return min(touched, float(graph.input_bytes.get(name, touched)))


def _storage(value: TensorValue, elements: int) -> float:
    # A traced fp4 tensor holds two numbers a byte and its shape counts the bytes.
    bits = max(value.dtype.bits, 8)
    return elements * bits / 8
