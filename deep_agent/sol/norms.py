"""Owns what normalisations and their gradients read: rows apart, and only the operands an output is made of."""

from deep_agent.problem.opgraph import Operation, OpGraph, TensorValue
from deep_agent.sol.operands import base_name, flag_at, integers_at, needed_tensor, tensor_at
from deep_agent.sol.regions import Box, Span, whole
from deep_agent.sol.viewmaps import Demand, broadcast_back
from deep_agent.sol.windows import little


def trailing(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """Layer and RMS norm: whole rows; mean and deviation need neither weight nor bias."""
    data = needed_tensor(graph, operation, 0)
    start = len(data.shape) - len(integers_at(operation, 1) or ())
    wide = (*box[:start], *whole(data.shape[start:]))
    weights = [tensor_at(graph, operation, at) for at in (2, 3)] if place == 0 else []
    return [(data, wide), *((tensor, broadcast_back(box, tensor)) for tensor in weights if tensor is not None)]


def grouped(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """Group norm: whole images; the statistics need neither weight nor bias."""
    data = needed_tensor(graph, operation, 0)
    if place == 0 and box[1:] != whole(data.shape)[1:]:
        return little(data)
    wide = (box[0], *whole(data.shape[1:]))
    weights = [tensor_at(graph, operation, at) for at in (1, 2)] if place == 0 else []
    return [(data, wide), *((tensor, whole(tensor.shape)) for tensor in weights if tensor is not None)]


def batched(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """Batch norm: channels apart when training; running statistics are read only when not training."""
    data = needed_tensor(graph, operation, 0)
    inference = base_name(operation).endswith("no_training")
    training = not inference and flag_at(operation, 5, "training")
    channel = box[1] if place == 0 else box[0] if box else Span(0, 0)
    if place > 2 or (place and not training):
        return []
    wide = box if place == 0 and not training else (Span(0, data.shape[0]), channel, *whole(data.shape[2:]))
    used = [] if place else [1, 2] if training else [1, 2, 3, 4]
    weights = [tensor for at in used if (tensor := tensor_at(graph, operation, at)) is not None]
    return [(data, wide), *((tensor, (channel,)) for tensor in weights if len(tensor.shape) == 1)]


_BACKWARD_READS: dict[str, tuple[tuple[int, ...], ...]] = {
    # Operands of the gradient of the data, of the weight, and of the bias.
    "native_layer_norm_backward": ((0, 1, 3, 4, 5), (0, 1, 3, 4), (0,)),
    "_fused_rms_norm_backward": ((0, 1, 3, 4), (0, 1, 3)),
    "native_group_norm_backward": ((0, 1, 2, 3, 4), (0, 1, 2, 3), (0,)),
    "native_batch_norm_backward": ((0, 1, 2, 5, 6), (0, 1, 5, 6), (0,)),
}


def backward(graph: OpGraph, operation: Operation, place: int, box: Box) -> list[Demand]:
    """A bias's gradient needs no data, a weight's no weight."""
    used = _BACKWARD_READS[base_name(operation)][place]
    if base_name(operation) == "native_batch_norm_backward" and not flag_at(operation, 7, "train"):
        used = ((0, 2, 4), (0, 1, 3, 4), (0,))[place]
    tensors: list[TensorValue] = [tensor for at in used if (tensor := tensor_at(graph, operation, at)) is not None]
    if box != whole(graph.value(operation.outputs[place]).shape):
        return little(*tensors)
    return [(tensor, whole(tensor.shape)) for tensor in tensors]


BACKWARD = tuple(_BACKWARD_READS)
