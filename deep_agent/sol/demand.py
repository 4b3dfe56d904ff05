"""Owns which elements of every tensor the outputs need: a walk backward from the outputs.

Regions are exact or too small, never too large, so that the traffic they give stays a lower bound.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from deep_agent.problem.opgraph import Operation, OpGraph, TensorValue
from deep_agent.sol import gathers, mixing, norms, products, windows
from deep_agent.sol.constants import Constants
from deep_agent.sol.families import MAKERS, NORMALIZED, POINTWISE_FLOP, REDUCED, ROW_AXES
from deep_agent.sol.operands import base_name, tensor_at, tensors_in
from deep_agent.sol.regions import Box, union_size, volume, whole
from deep_agent.sol.selection import kept_by_mask
from deep_agent.sol.viewmaps import VIEW_MAPS, Demand, broadcast_back
from deep_agent.sol.wholefamilies import INTERPOLATIONS, LOSSES, POOLS, WHOLE_CONTRACTIONS, WHOLE_FLOP

MAX_BOXES = 256
"""Whenever a tensor has so many more regions they are merged if together they are the whole."""


@dataclass
class DemandMap:
    """Regions needed of every value, and the operations that no rule covers."""

    graph: OpGraph
    boxes: dict[int, dict[Box, None]] = field(default_factory=dict)
    unruled: dict[str, None] = field(default_factory=dict)
    unseen: dict[str, None] = field(default_factory=dict)
    """Gathers whose indices nobody knows."""
    assumed_open: dict[str, None] = field(default_factory=dict)
    """Masking operations whose mask is no constant."""

    @cached_property
    def constants(self) -> Constants:
        """What is known of the graph's constants."""
        return Constants(self.graph)

    def need(self, tensor: TensorValue, box: Box) -> None:
        """Add a region of a value."""
        if volume(box) == 0:
            return
        known = self.boxes.setdefault(tensor.id, {})
        full = whole(tensor.shape)
        if full in known:
            return
        known[box] = None
        crowded = len(known) % MAX_BOXES == 0
        if box == full or (crowded and union_size(known, tensor.shape) == prod(tensor.shape)):
            self.boxes[tensor.id] = {full: None}

    def elements(self, value_id: int) -> int:
        """Count the distinct elements needed of a value."""
        return union_size(self.boxes.get(value_id, ()), self.graph.value(value_id).shape)

    def share(self, value_id: int) -> float:
        """Give the needed share of a value, from 0 to 1."""
        total = prod(self.graph.value(value_id).shape)
        return self.elements(value_id) / total if total else 0.0


def demands(graph: OpGraph) -> DemandMap:
    """Walk backward from the outputs and find what each value is needed for."""
    found = DemandMap(graph)
    for value_id in graph.outputs.values():
        found.need(graph.value(value_id), whole(graph.value(value_id).shape))
    for operation in reversed(graph.operations):
        for place, value_id in enumerate(operation.outputs):
            for box in tuple(found.boxes.get(value_id, ())):
                for tensor, part in _operand_demands(found, operation, place, box):
                    found.need(tensor, part)
    return found


def _operand_demands(found: DemandMap, operation: Operation, place: int, box: Box) -> list[Demand]:
    name = base_name(operation)
    graph = found.graph
    if name in MAKERS or operation.name.startswith("deep_agent.constant"):
        return []
    if name in _GATHERS and operation.outputs[place] not in graph.rows_touched:
        found.unseen[operation.name] = None
    if name in {"where", "masked_fill"}:
        return _masked(found, operation, place, box)
    rule = _RULES.get(name)
    if rule is None:
        found.unruled[operation.name] = None
        return windows.little(*tensors_in(graph, operation))
    return rule(graph, operation, place, box)


def _masked(found: DemandMap, operation: Operation, place: int, box: Box) -> list[Demand]:
    """Count what a constant mask lets through; a mask that is data may let everything through."""
    graph = found.graph
    kept = kept_by_mask(graph, found.constants, operation, box)
    if not kept:
        found.assumed_open[operation.name] = None
        return mixing.pointwise(graph, operation, place, box)
    demand: list[Demand] = []
    for at in range(len(operation.args)):
        tensor = tensor_at(graph, operation, at)
        for part in kept.get(at, [box]) if tensor is not None else ():
            assert tensor is not None
            demand.append((tensor, broadcast_back(part, tensor)))
    return demand


_GATHERS = frozenset({"embedding", "index_select", "index", "gather", "_grouped_mm", "_scaled_grouped_mm"})

_RULES: dict[str, Callable[[OpGraph, Operation, int, Box], list[Demand]]] = {
    **dict.fromkeys(WHOLE_FLOP, products.complete),
    **dict.fromkeys(WHOLE_CONTRACTIONS, products.complete),
    **dict.fromkeys(LOSSES, products.complete),
    **dict.fromkeys(("nonzero", "unique", "_unique2", "unique_consecutive", "unique_dim"), products.everything),
    **dict.fromkeys(("bincount", "histc", "repeat_interleave"), products.everything),
    **dict.fromkeys(POINTWISE_FLOP, mixing.pointwise),
    **dict.fromkeys(ROW_AXES, mixing.along_axis),
    **dict.fromkeys(NORMALIZED, norms.trailing),
    **dict.fromkeys(REDUCED, mixing.reduced),
    **dict.fromkeys(norms.BACKWARD, norms.backward),
    **dict.fromkeys(
        ("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_functional"), norms.batched
    ),
    "_native_batch_norm_legit_no_training": norms.batched,
    "native_group_norm": norms.grouped,
    **dict.fromkeys(("mm", "bmm", "addmm", "baddbmm", "_int_mm"), products.matrices),
    **dict.fromkeys(products.ATTENTION, products.attention),
    **dict.fromkeys(products.ATTENTION_BACKWARD, products.attention_backward),
    **dict.fromkeys(("_grouped_mm", "_scaled_grouped_mm"), products.grouped),
    "_scaled_mm": products.scaled,
    "_cdist_forward": products.distances,
    "linear": products.linear,
    "addr": products.outer,
    **dict.fromkeys(("embedding", "index_select"), gathers.rows),
    **dict.fromkeys(
        ("scatter", "scatter_add", "scatter_reduce", "index_add", "index_copy", "index_put", "index_fill"),
        gathers.scatter,
    ),
    **dict.fromkeys(("slice_scatter", "select_scatter"), gathers.slice_scatter),
    "gather": gathers.along,
    "index": gathers.indexed,
    "nll_loss_forward": gathers.picked,
    "nll_loss2d_forward": gathers.picked,
    "nll_loss_backward": gathers.picked_backward,
    "nll_loss2d_backward": gathers.picked_backward,
    "convolution": windows.convolution,
    "_convolution": windows.convolution,
    "convolution_backward": windows.convolution_backward,
    **dict.fromkeys(
        ("avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices"), windows.pool
    ),
    **dict.fromkeys(INTERPOLATIONS, windows.interpolated),
    **dict.fromkeys((f"{name}_backward" for name in (*INTERPOLATIONS, *POOLS)), windows.leading_only),
    "im2col": windows.columns,
    "col2im": windows.folded,
    **dict.fromkeys(("searchsorted", "bucketize"), mixing.searched),
    "masked_select": mixing.selected,
    "masked_scatter": mixing.filled,
    "glu": mixing.gated,
    **dict.fromkeys(("_fft_r2c", "_fft_c2r", "_fft_c2c"), products.transformed),
    **dict.fromkeys(("grid_sampler_2d", "grid_sampler_3d", "_grid_sampler_2d_cpu_fallback"), windows.sampled),
    **VIEW_MAPS,
}
