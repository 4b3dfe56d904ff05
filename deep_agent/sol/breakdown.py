"""Owns why a bound is what it is: which tensors and contractions count, and what does not; pure."""

from math import isfinite, prod

from deep_agent.problem.bound import SolBound
from deep_agent.problem.breakdown import Breakdown, ContractionCost, TensorTraffic
from deep_agent.problem.definition import Definition
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.opgraph import OpGraph
from deep_agent.sol.demand import DemandMap
from deep_agent.sol.ledger import Entry, Ledger, storage_bytes
from deep_agent.sol.operands import tensors_in
from deep_agent.sol.roofline import compute_s, margin, memory_s

MOST_CONTRACTIONS = 40
"""Kinds of contractions listed apart; the rest is one sentence."""


def breakdown(bound: SolBound, device: DeviceModel, graph: OpGraph, needs: DemandMap, entries: Ledger) -> Breakdown:
    """Take a strict bound apart at the graph it was counted on."""
    contractions = _contractions(graph, entries, device)
    left_out = len(contractions) - MOST_CONTRACTIONS
    more = (f"{left_out} further kinds of contractions are counted but not listed",) if left_out > 0 else ()
    return Breakdown(
        workload=bound.workload,
        tensors=(
            *(_input(graph, needs, name) for name in graph.inputs),
            *(_output(graph, name) for name in graph.outputs),
        ),
        contractions=contractions[:MOST_CONTRACTIONS],
        memory_us=memory_s(bound.work, device) * 1e6,
        compute_us=compute_s(bound.work, device) * 1e6,
        not_charged=(*_not_charged(bound, graph, contractions), *more),
    )


def declared_breakdown(
    bound: SolBound, device: DeviceModel, definition: Definition, sizes: dict[str, int]
) -> Breakdown:
    """Take apart the bound of a reference that could not be traced: its declared outputs."""
    tensors = [
        TensorTraffic(
            name=name,
            role="input" if name in definition.inputs else "output",
            dtype=spec.dtype,
            shape=definition.shape(name, sizes),
            charged_bytes=definition.storage_bytes(name, sizes) if name in definition.outputs else 0,
            dense_bytes=definition.storage_bytes(name, sizes),
            why="" if name in definition.outputs else "untraced: whether it is read is unknown",
        )
        for name, spec in (*definition.inputs.items(), *definition.outputs.items())
        if not spec.is_scalar
    ]
    return Breakdown(
        workload=bound.workload,
        tensors=tuple(tensors),
        contractions=(),
        memory_us=memory_s(bound.work, device) * 1e6,
        compute_us=0.0,
        not_charged=("all arithmetic: the reference could not be traced",),
    )


def _input(graph: OpGraph, needs: DemandMap, name: str) -> TensorTraffic:
    value = graph.value(graph.inputs[name])
    dense = storage_bytes(value, prod(value.shape))
    needed = storage_bytes(value, needs.elements(value.id)) if needs.boxes.get(value.id) else 0.0
    charged = min(needed, float(graph.input_bytes.get(name, needed)))
    why = "" if charged >= dense else "only the part that the outputs need"
    if needed > charged:
        why = "expanded: its storage is smaller than its shape"
    if not needed:
        why = "no output depends on it"
    twins = next((group for group in graph.input_aliases if name in group and len(group) > 1), ())
    if twins and name != twins[0]:
        charged, why = 0.0, f"lies in the storage of {twins[0]}, which is counted there"
    return TensorTraffic(
        name=name,
        role="input",
        dtype=value.dtype,
        shape=value.shape,
        charged_bytes=charged,
        dense_bytes=dense,
        why=why,
    )


def _output(graph: OpGraph, name: str) -> TensorTraffic:
    value = graph.value(graph.outputs[name])
    dense = storage_bytes(value, prod(value.shape))
    return TensorTraffic(
        name=name, role="output", dtype=value.dtype, shape=value.shape, charged_bytes=dense, dense_bytes=dense
    )


def _contractions(graph: OpGraph, entries: Ledger, device: DeviceModel) -> tuple[ContractionCost, ...]:
    """Merge equal contractions, the most multiply-adds first."""
    groups: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries.entries:
        if entry.dtype is not None and entry.macs > 0:
            shapes = " by ".join(_written(tensor.shape) for tensor in tensors_in(graph, entry.operation)[:3])
            groups.setdefault((entry.operation.name, shapes, entry.dtype.value), []).append(entry)
    costs = [_cost(name, shapes, same, device) for (name, shapes, _), same in groups.items()]
    return tuple(sorted(costs, key=lambda cost: -cost.macs))


def _cost(name: str, shapes: str, same: list[Entry], device: DeviceModel) -> ContractionCost:
    dtype, macs = same[0].dtype, sum(entry.macs for entry in same)
    assert dtype is not None
    rate = device.peak_mac_per_s(dtype)
    return ContractionCost(
        operation=name,
        n_calls=len(same),
        operands=shapes,
        dtype=dtype,
        macs=macs,
        mac_per_s=rate if isfinite(rate) else None,
        time_us=macs / rate / margin(device) * 1e6,
    )


def _written(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape) or "scalar"


def _not_charged(bound: SolBound, graph: OpGraph, contractions: tuple[ContractionCost, ...]) -> list[str]:
    work, said = bound.work, []
    inner = len(graph.operations) - len(set(graph.outputs.values()))
    if inner > 0:
        said.append("tensors made and used up inside the reference: a fused kernel keeps them on the chip")
    if work.other_flop or work.special_flop:
        said.append(
            f"{work.other_flop:,.0f} elementwise and {work.special_flop:,.0f} special operations: "
            "they run beside memory traffic and multipliers, and no unit's limit is proven for them"
        )
    unpriced = sorted({cost.dtype.value for cost in contractions if cost.mac_per_s is None})
    if unpriced:
        said.append(f"multiply-adds of {', '.join(unpriced)}: the device has no known rate for them")
    said.append("the launch itself: it differs by machine, and graphs hide it")
    return said
