"""Owns the geometry of sliding windows: which positions convolutions, pools and interpolations touch, and how often."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, prod

import numpy as np
from numpy.typing import NDArray

from deep_agent.problem.opgraph import Arg, ListArg, LiteralArg, Operation, OpGraph, TensorValue
from deep_agent.sol.operands import base_name, flag_at, integer_at, integers_at, needed_tensor, number_of, tensor_at
from deep_agent.sol.regions import Box, Span, somewhere, whole
from deep_agent.sol.viewmaps import Demand

MAX_POSITIONS = 2**22
"""Positions along one axis up to which taps are counted one by one; beyond it padding is neglected."""


@dataclass(frozen=True)
class Window:
    """One axis of a sliding window: tap k of step o lies at o * stride - padding + k * dilation."""

    steps: int
    taps: int
    size: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def places(self, steps: Span | None = None) -> NDArray[np.int64]:
        """Give the place of every (step, tap) pair, those outside the axis left out."""
        first, count, by = (0, self.steps, 1) if steps is None else (steps.start or 0, steps.count, steps.step)
        at = (first + np.arange(count, dtype=np.int64) * by) * self.stride - self.padding
        places = (at[:, None] + np.arange(self.taps, dtype=np.int64)[None, :] * self.dilation).ravel()
        return places[(places >= 0) & (places < self.size)]

    def pairs(self) -> int:
        """Count (step, tap) pairs inside the axis: products with padding are no work."""
        if self.steps * self.taps > MAX_POSITIONS:
            return max(0, self.steps - 2 * self.padding) * self.taps
        return len(self.places())

    def touched(self, steps: Span) -> Span:
        """Give the places that some steps touch; a window that leaves gaps touches fewer."""
        if steps.count == 0:
            return Span(0, 0)
        if steps.start is not None and self._leaves_no_gap(steps):
            first, last = (
                step * self.stride - self.padding
                for step in (steps.start, steps.start + (steps.count - 1) * steps.step)
            )
            below, above = max(0, first), min(self.size, last + (self.taps - 1) * self.dilation + 1)
            return Span(below, above - below) if above > below else Span(0, 0)
        if steps.start is None or self.steps * self.taps > MAX_POSITIONS:
            return Span(None, min(1, self.size))
        places = np.unique(self.places(steps))
        if len(places) and len(places) == places[-1] - places[0] + 1:
            return Span(int(places[0]), len(places))
        return Span(None, len(places))

    def _leaves_no_gap(self, steps: Span) -> bool:
        """Whether windows overlap or follow each other, so that what they touch is one piece."""
        apart = self.stride * steps.step
        if self.dilation == 1:
            return steps.count == 1 or apart <= self.taps
        return apart == 1 and steps.count >= self.dilation

    def used_taps(self) -> int:
        """Count the taps that ever meet the axis."""
        if self.steps * self.taps > MAX_POSITIONS:
            return self.taps
        at = np.arange(self.steps, dtype=np.int64)[:, None] * self.stride - self.padding
        places = at + np.arange(self.taps, dtype=np.int64)[None, :] * self.dilation
        return int(((places >= 0) & (places < self.size)).any(axis=0).sum())


def windows_of(
    operation: Operation, *, steps: Sequence[int], taps: Sequence[int], size: Sequence[int], at: int
) -> list[Window]:
    """Read the windows whose stride, padding and dilation stand at `at`, `at + 1` and `at + 2`."""
    axes = range(len(taps))
    strides, paddings, dilations = (_each(operation, at + place, len(taps), place != 1) for place in range(3))
    return [Window(steps[a], taps[a], size[a], strides[a], paddings[a], dilations[a]) for a in axes]


def _each(operation: Operation, at: int, n_axes: int, least: bool) -> tuple[int, ...]:  # noqa: FBT001 - one or zero
    given = integers_at(operation, at) or (int(least),)
    return tuple(given) * n_axes if len(given) == 1 else tuple(given)


def convolution_windows(graph: OpGraph, operation: Operation) -> list[Window]:
    """Give the windows of a convolution or of its gradient, one an axis; transposed ones slide over the output."""
    backward = base_name(operation) == "convolution_backward"
    shift = 1 if backward else 0
    weight = needed_tensor(graph, operation, 1 + shift).shape[2:]
    data = needed_tensor(graph, operation, shift).shape[2:]
    made = needed_tensor(graph, operation, 0).shape[2:] if backward else graph.value(operation.outputs[0]).shape[2:]
    if flag_at(operation, 6 + shift, "transposed"):
        data, made = made, data
    return windows_of(operation, steps=made, taps=weight, size=data, at=3 + shift)


def convolution(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """Read the places under the windows, the groups and the output channels that are needed."""
    data, weight = needed_tensor(graph, operation, 0), needed_tensor(graph, operation, 1)
    groups = integer_at(operation, 8, 1) or 1
    windows = convolution_windows(graph, operation)
    batch, channels, *steps = box
    bias = tensor_at(graph, operation, 2)
    extra: list[Demand] = [] if bias is None else [(bias, (channels,))]
    spatial = tuple(Span(0, size) for size in data.shape[2:])
    kernel = tuple(Span(0, size) for size in weight.shape[2:])
    if flag_at(operation, 6, "transposed"):
        made = graph.value(operation.outputs[place]).shape
        full = box[1:] == whole(made)[1:]
        spatial = spatial if full else tuple(Span(None, min(1, size)) for size in data.shape[2:])
        inputs = Span(0, data.shape[1]) if full or groups == 1 else Span(None, 1)
        outputs = Span(0, weight.shape[1]) if full else Span(None, min(channels.count, weight.shape[1], 1))
        return [(data, (batch, inputs, *spatial)), (weight, (inputs, outputs, *kernel)), *extra]
    spatial = tuple(window.touched(span) for window, span in zip(windows, steps, strict=True))
    kernel = tuple(
        Span(0, size) if (used := window.used_taps()) == size else Span(None, used)
        for window, size in zip(windows, weight.shape[2:], strict=True)
    )
    inputs = _grouped_inputs(channels, weight, groups)
    return [(data, (batch, inputs, *spatial)), (weight, (channels, Span(0, weight.shape[1]), *kernel)), *extra]


def _grouped_inputs(channels: Span, weight: TensorValue, groups: int) -> Span:
    """Give the input channels behind some output channels."""
    outputs_each, inputs_each = max(1, weight.shape[0] // groups), weight.shape[1]
    if channels.start is None or channels.step != 1:
        return Span(None, -(-channels.count // outputs_each) * inputs_each)
    first = channels.start // outputs_each
    last = (channels.start + channels.count - 1) // outputs_each
    return Span(first * inputs_each, (last - first + 1) * inputs_each)


def convolution_backward(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """The input's gradient needs no input, the weight's no weight, the bias's neither."""
    grad, data, weight = (needed_tensor(graph, operation, at) for at in (0, 1, 2))
    full = box == whole(graph.value(operation.outputs[place]).shape)
    if place == 0:
        rows = (box[0], *(Span(0, size) for size in grad.shape[1:]))
        return (
            [(grad, rows), (weight, whole(weight.shape))]
            if full or box[1:] == whole(data.shape)[1:]
            else little(grad, weight)
        )
    if not full:
        return little(grad) if place == 2 else little(grad, data)
    if place == 2:
        return [(grad, whole(grad.shape))]
    touched = [window.touched(Span(0, window.steps)) for window in convolution_windows(graph, operation)]
    if flag_at(operation, 7, "transposed"):
        return [(grad, whole(grad.shape)), (data, whole(data.shape))]
    return [(grad, whole(grad.shape)), (data, (*whole(data.shape[:2]), *touched))]


def little(*tensors: TensorValue) -> list[Demand]:
    """Claim one element of each tensor, where more is not certain."""
    return [(tensor, tuple(Span(None, min(1, size)) for size in tensor.shape)) for tensor in tensors]


def pool(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """Average and maximum pools: the places under the windows."""
    data = needed_tensor(graph, operation, 0)
    taps = integers_at(operation, 1) or ()
    rank = len(taps)
    strides = integers_at(operation, 2) or taps
    paddings = integers_at(operation, 3) or (0,) * rank
    dilations = integers_at(operation, 4) if base_name(operation).startswith("max") else None
    made, size = graph.value(operation.outputs[0]).shape[-rank:], data.shape[-rank:]
    spans = [
        Window(
            made[a], taps[a], size[a], strides[a], paddings[a], (dilations or (1,) * rank)[a % len(dilations or (1,))]
        ).touched(span)
        for a, span in enumerate(box[-rank:])
    ]
    return [(data, (*box[:-rank], *spans))]


def columns(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """im2col reads the places under its windows."""
    data = needed_tensor(graph, operation, 0)
    if box != whole(graph.value(operation.outputs[0]).shape):
        return little(data)
    windows = _column_windows(operation, data.shape[-2:], at=1)
    return [(data, (*whole(data.shape[:-2]), *(window.touched(Span(0, window.steps)) for window in windows)))]


def folded(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """col2im reads the columns that do not fall into the padding."""
    data = needed_tensor(graph, operation, 0)
    made = graph.value(operation.outputs[0]).shape
    if box != whole(made):
        return little(data)
    pairs = prod(window.pairs() for window in _column_windows(operation, made[-2:], at=2))
    return [(data, tuple(somewhere(prod(made[:-2]) * pairs, list(data.shape))))]


def _column_windows(operation: Operation, size: Sequence[int], *, at: int) -> list[Window]:
    taps, dilations, paddings, strides = (integers_at(operation, at + place) or (1, 1) for place in range(4))
    found = []
    for axis in range(2):
        span = size[axis] + 2 * paddings[axis] - dilations[axis] * (taps[axis] - 1) - 1
        steps = span // strides[axis] + 1
        found.append(Window(steps, taps[axis], size[axis], strides[axis], paddings[axis], dilations[axis]))
    return found


def interpolated(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """Interpolation to fewer places skips some; nearest reads one place a step, the others two at least."""
    data = needed_tensor(graph, operation, 0)
    made = graph.value(operation.outputs[0]).shape
    rank = len(data.shape) - 2
    if box[2:] != whole(made)[2:]:
        return little(data)
    scales = [number_of(arg) for arg in _scales(operation, rank)]
    spans = []
    for axis in range(rank):
        size, steps = data.shape[2 + axis], made[2 + axis]
        count = len(_sources(operation, size, steps, scales[axis]))
        spans.append(Span(0, size) if count == size else Span(None, count))
    return [(data, (*box[:2], *spans))]


def _scales(operation: Operation, rank: int) -> list[Arg]:
    given = operation.args[-rank:] if len(operation.args) > rank + 1 else ()
    flat = [item for arg in given for item in (arg.items if isinstance(arg, ListArg) else (arg,))]
    return (
        [*flat, *[LiteralArg(value=None)] * rank][:rank]
        if not any(isinstance(a, ListArg) for a in given)
        else [LiteralArg(value=None)] * rank
    )


def _sources(operation: Operation, size: int, steps: int, scale: float | None) -> set[int]:
    name = base_name(operation)
    ratio = 1 / scale if scale else size / max(1, steps)
    last = size - 1
    if "nearest" in name:
        shift = 0.5 if "exact" in name else 0.0
        # The smaller of two roundings is taken as one place, so that float noise adds none.
        return {min(last, floor((step + shift) * ratio + 1e-6)) for step in range(steps)}
    if flag_at(operation, 2, "align_corners"):
        ratio = last / (steps - 1) if steps > 1 else 0.0
        starts = [step * ratio for step in range(steps)]
    else:
        starts = [max(0.0, (step + 0.5) * ratio - 0.5) for step in range(steps)]
    found = {min(last, floor(start + 1e-4)) for start in starts}
    return found | {min(last, floor(start) + 1) for start in starts if 1e-3 < start - floor(start) < 1 - 1e-3}


def leading_only(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """The gradient of a pool or an interpolation reads every element of the gradient above it, images apart."""
    grad = needed_tensor(graph, operation, 0)
    made = graph.value(operation.outputs[place]).shape
    if len(grad.shape) != len(box) or box[2:] != whole(made)[2:]:
        return little(grad)
    demand: list[Demand] = [(grad, (*box[:2], *whole(grad.shape[2:])))]
    indices = tensor_at(graph, operation, 7) if base_name(operation).startswith("max_pool") else None
    return [*demand, *([] if indices is None else [(indices, demand[0][1])])]


def sampled(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """grid_sampler reads the grid; which places of the image, the grid's values decide."""
    data, grid = needed_tensor(graph, operation, 0), needed_tensor(graph, operation, 1)
    return [*little(data), (grid, (box[0], *box[2:], Span(0, grid.shape[-1])))]
