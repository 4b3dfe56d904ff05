"""Owns how much of a matrix product a provable mask leaves: causal, windowed or blocked attention written out."""

import numpy as np

from deep_agent.problem.opgraph import Operation, OpGraph, TensorArg
from deep_agent.sol.constants import MASKING_BELOW, Array, Constants, literal_is_masking
from deep_agent.sol.families import POINTWISE_FLOP
from deep_agent.sol.operands import base_name, tensors_in
from deep_agent.sol.products import visible_under

_MOVES = frozenset(
    [
        "view",
        "_unsafe_view",
        "reshape",
        "expand",
        "unsqueeze",
        "squeeze",
        "transpose",
        "t",
        "permute",
        "clone",
        "_to_copy",
        "contiguous",
        "native_dropout",
    ]
)


class Visibility:
    """For every value, the share of entries that are not provably zero, and the share that anyone looks at."""

    def __init__(self, graph: OpGraph) -> None:
        """Walk the graph once in each direction."""
        self._graph = graph
        self._constants = Constants(graph)
        self._visible: dict[int, float] = {}
        """Scores: entries that a mask has not set to minus infinity."""
        self._dense: dict[int, float] = {}
        """Weights and gradients: entries that are not provably zero."""
        self._needed: dict[int, float] = {}
        for operation in graph.operations:
            self._forward(operation)
        for value_id in graph.outputs.values():
            self._needed[value_id] = 1.0
        for operation in reversed(graph.operations):
            self._backward(operation)

    def of_product(self, operation: Operation) -> float:
        """Give the share of a product's multiply-adds that a provable mask leaves."""
        visible = visible_under(self._graph, operation, self._constants)
        if visible is not None:
            return float(np.mean(visible.astype(bool))) if visible.size else 1.0
        dense = [self._dense.get(tensor.id, 1.0) for tensor in tensors_in(self._graph, operation)]
        return min(*dense, 1.0, self._needed.get(operation.outputs[0], 1.0))

    def _forward(self, operation: Operation) -> None:
        name, out = base_name(operation), operation.outputs[0] if operation.outputs else -1
        sources = tensors_in(self._graph, operation)
        mask = self._masked_share(operation)
        if mask is not None:
            self._visible[out] = min(mask[1], self._visible.get(mask[0], 1.0))
        elif name in {"_softmax", "_safe_softmax"} and sources[0].id in self._visible:
            self._dense[out] = self._visible[sources[0].id]
        elif name == "_softmax_backward_data" and sources[1].id in self._dense:
            self._dense[out] = self._dense[sources[1].id]
        elif name in {"mul", "div"} or name in _MOVES:
            dense = [self._dense[tensor.id] for tensor in sources if tensor.id in self._dense]
            if dense:
                self._dense[out] = min(dense)
            if name in _MOVES and sources and sources[0].id in self._visible:
                self._visible[out] = self._visible[sources[0].id]

    def _backward(self, operation: Operation) -> None:
        name = base_name(operation)
        share = max((self._needed.get(out, 0.0) for out in operation.outputs), default=0.0)
        mask = self._masked_share(operation)
        sources = tensors_in(self._graph, operation)
        for tensor in sources:
            passed = 1.0
            if mask is not None and tensor.id == mask[0]:
                passed = min(share, mask[1])
            elif name == "_softmax_backward_data" and tensor.id == sources[0].id:
                passed = self._dense.get(sources[1].id, 1.0)
            elif name == "mul":
                passed = min([share, *(self._dense.get(other.id, 1.0) for other in sources if other.id != tensor.id)])
            elif name in _MOVES or name in POINTWISE_FLOP:
                passed = share
            if passed < 1.0 and self._is_broadcast(operation, tensor.id):
                passed = 1.0
            self._needed[tensor.id] = max(self._needed.get(tensor.id, 0.0), passed)

    def _is_broadcast(self, operation: Operation, value_id: int) -> bool:
        size = int(np.prod(self._graph.value(value_id).shape))
        return size != int(np.prod(self._graph.value(operation.outputs[0]).shape))

    def _masked_share(self, operation: Operation) -> tuple[int, float] | None:
        """Give the masked scores and the share left, when the operation masks with a constant."""
        name, args = base_name(operation), operation.args
        if name == "masked_fill" and isinstance(args[0], TensorArg) and self._wipes(args[2]):
            return self._share(args[0], self._boolean(args[1], hidden=True))
        if name == "where" and len(args) == 3:
            for kept, wiped, hidden in ((1, 2, False), (2, 1, True)):
                source = args[kept]
                if isinstance(source, TensorArg) and self._wipes(args[wiped]):
                    return self._share(source, self._boolean(args[0], hidden=hidden))
        if name == "add" and isinstance(args[0], TensorArg) and isinstance(args[1], TensorArg):
            for scores, bias in ((args[0], args[1]), (args[1], args[0])):
                constant = self._constants.value(bias.id)
                if constant is not None and constant.dtype.kind == "f":
                    return self._share(scores, constant.astype(np.float64) > MASKING_BELOW)
        return None

    def _wipes(self, arg: object) -> bool:
        if isinstance(arg, TensorArg):
            constant = self._constants.value(arg.id)
            return constant is not None and bool(np.all(constant.astype(float) <= MASKING_BELOW))
        return literal_is_masking(arg)  # type: ignore[arg-type]

    def _boolean(self, arg: object, *, hidden: bool) -> Array | None:
        constant = self._constants.value(arg.id) if isinstance(arg, TensorArg) else None
        if constant is None:
            return None
        truth = constant.astype(bool)
        return np.logical_not(truth) if hidden else truth

    def _share(self, scores: TensorArg, visible: Array | None) -> tuple[int, float] | None:
        """Turn a mask into a share; a row that sees nothing is NaN or a plain mean, and needs no product."""
        if visible is None or visible.size == 0:
            return None
        seen = float(np.mean(visible.astype(bool)))
        return (scores.id, seen) if seen < 1.0 else None
