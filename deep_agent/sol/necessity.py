"""Owns which counted work every kernel must do, so that a time without it is impossible; pure.

A bound prices the operations as the reference writes them. Another order of multiplying may need far fewer, as (A B) v =
A (B v), and what meets a zero need neither be multiplied nor read. Both are honest ways to be faster. So the gate does not
charge a product whose order is free, and proves nothing where zeros may come from data or from a constant that nobody
evaluated. Errs to the side of proving less.
"""

from dataclasses import dataclass, field, replace
from functools import reduce
from math import prod

from deep_agent.problem.dtype import DType
from deep_agent.problem.opgraph import Operation, OpGraph, TensorValue
from deep_agent.sol.constants import MASKING_BELOW, Constants
from deep_agent.sol.contractions import MAC_RULES, OPERANDS_AT
from deep_agent.sol.families import MAKERS
from deep_agent.sol.operands import base_name, needed_tensor, number_of, tensors_in
from deep_agent.sol.products import ATTENTION, ATTENTION_BACKWARD
from deep_agent.sol.viewmaps import VIEW_MAPS

_MOVES = frozenset(VIEW_MAPS) | {
    "_to_copy", "clone", "contiguous", "copy", "flip", "roll", "positive", "index", "index_select", "gather", "embedding",
    "tril", "triu", "native_dropout", "diag_embed",
}  # fmt: skip
_SUMS = frozenset({"add", "sub", "rsub", "neg"})
_SCALES = frozenset({"mul", "div"})
_LINEAR_REDUCTIONS = frozenset(
    {"sum", "mean", "cumsum", "trace", "diagonal", "avg_pool1d", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d"}
)
_WRITES = frozenset(
    {
        "scatter", "scatter_add", "scatter_reduce", "index_add", "index_copy", "index_put", "index_fill", "slice_scatter",
        "select_scatter",
    }
)  # fmt: skip
_ZERO_MAKERS = frozenset({"zeros", "zeros_like", "new_zeros", "eye", "diag_embed", "tril", "triu"})
_ZERO_KEEPERS = frozenset({"relu", "abs", "sqrt", "square", "pow", "silu", "gelu", "tanh", "sign", "floor", "round"})
_MASKINGS = frozenset({"where", "masked_fill"})
_SOFTMAXES = frozenset({"_softmax", "_log_softmax", "_safe_softmax"})
_EXPONENTIALS = frozenset({"exp", "exp2", "expm1", "logsumexp", "sigmoid"})
_PICKED_BY_DATA = frozenset({"nll_loss_forward", "nll_loss2d_forward", "any", "all"})
"""May end early or leave out rows, as values decide: labels that are ignored, the first that is true."""


@dataclass(frozen=True, slots=True)
class _Traits:
    """What is known of one value."""

    products: frozenset[int] = frozenset()
    """Contractions, by their first output, that it is linear in."""
    is_shaped: bool = False
    """Whether it depends on a contraction otherwise: no order of multiplying goes past it."""
    is_constant: bool = False
    has_zeros: bool = False
    """Whether zeros of its making may be many."""
    is_padded: bool = False
    """Whether it holds the zeros of a border."""
    mask: str = ""
    """Of scores: `known` where a constant that was evaluated hides some, `unknown` where something else may."""


_INPUT = _Traits()


@dataclass(slots=True)
class Necessity:
    """What is not necessary of a graph's counted work."""

    reordered: dict[int, str] = field(default_factory=dict)
    """First output of a contraction -> its name; fewer multiply-adds may do."""
    hidden: dict[str, None] = field(default_factory=dict)
    """Operations at which zeros may spare bytes and multiply-adds alike."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Both in words."""
        names = dict.fromkeys(self.reordered.values())
        return (
            *(f"{name}: another order may need fewer multiply-adds; the gate does not charge them" for name in names),
            *(f"{name}: zeros may spare part of what is counted; there is no gate" for name in self.hidden),
        )


def necessity(graph: OpGraph, constants: Constants) -> Necessity:
    """Walk a graph forward and find what an honest kernel may leave out; `constants` are those of the graph."""
    return _Walk(graph, constants).found


class _Walk:
    def __init__(self, graph: OpGraph, constants: Constants) -> None:
        self.found = Necessity()
        self._graph = graph
        self._constants = constants
        self._makers = {operation.outputs[0]: operation.name for operation in graph.operations if operation.outputs}
        self._names = {value: name for name, value in graph.inputs.items()}
        self._traits: dict[int, _Traits] = {}
        self._roots: dict[int, int] = {}
        self._calls: set[str] = set()
        for operation in graph.operations:
            traits = self._of(operation)
            for out in operation.outputs:
                self._traits[out] = traits

    def _trait(self, tensor: TensorValue) -> _Traits:
        return self._traits.get(tensor.id, _INPUT)

    def _of(self, operation: Operation) -> _Traits:
        name, sources = base_name(operation), tensors_in(self._graph, operation)
        made = [self._trait(tensor) for tensor in sources]
        if name in MAKERS or operation.name.startswith("deep_agent.constant"):
            return _Traits(is_constant=True, has_zeros=name in _ZERO_MAKERS)
        if not made:
            return _Traits(is_constant=True)
        if name in _PICKED_BY_DATA:
            self.found.hidden[operation.name] = None
        if name in MAC_RULES:
            return self._contraction(operation)
        traits = self._elsewhere(operation, name, sources, made)
        if all(one.is_constant for one in made):
            return _Traits(is_constant=True, has_zeros=traits.has_zeros)
        return traits

    def _elsewhere(
        self, operation: Operation, name: str, sources: tuple[TensorValue, ...], made: list[_Traits]
    ) -> _Traits:
        joined = reduce(_joined, made)
        if name in _SCALES:
            traits = self._scaled(operation, sources, made, joined)
        elif name in _SUMS:
            traits = self._summed(sources, made, joined)
        elif name in _MASKINGS:
            traits = self._masked(operation, joined)
        elif name in _MOVES or name in _WRITES:
            traits = self._moved(operation, name, sources, made, joined)
        elif name in _LINEAR_REDUCTIONS:
            traits = self._reduced(joined)
        else:
            traits = self._shaped(operation, name, joined)
        return traits

    def _reduced(self, joined: _Traits) -> _Traits:
        self._reorder(joined.products)
        return _Traits(products=joined.products, is_shaped=joined.is_shaped, has_zeros=joined.has_zeros)

    def _shaped(self, operation: Operation, name: str, joined: _Traits) -> _Traits:
        if (joined.mask == "unknown" and name in _SOFTMAXES) or (joined.mask and name in _EXPONENTIALS):
            # Only a softmax by name is known to turn what is hidden into zeros that are not counted.
            self.found.hidden[operation.name] = None
        is_shaped = bool(joined.products) or joined.is_shaped
        return _Traits(is_shaped=is_shaped, has_zeros=joined.has_zeros and name in _ZERO_KEEPERS)

    def _contraction(self, operation: Operation) -> _Traits:
        graph, name, own = self._graph, base_name(operation), operation.outputs[0]
        if name in (*ATTENTION, *ATTENTION_BACKWARD):
            tensors = tensors_in(graph, operation)
        else:
            tensors = tuple(needed_tensor(graph, operation, at) for at in OPERANDS_AT.get(name, (0, 1)))
        made = [self._trait(tensor) for tensor in tensors]
        before = frozenset().union(*(one.products for one in made))
        call = operation.model_dump_json(exclude={"outputs"})
        roots = [self._roots.get(tensor.id, tensor.id) for tensor in tensors]
        is_free = (
            before
            or call in self._calls
            or len(set(roots)) < len(roots)
            or any(one.is_constant or one.is_padded for one in made)
        )
        if is_free:
            self._reorder(before | {own})
        if any(one.has_zeros for one in made):
            self.found.hidden[operation.name] = None
        self._calls.add(call)
        # A product is added to another where there is a third operand.
        added = [self._trait(tensor).products for tensor in tensors_in(graph, operation)]
        return _Traits(products=frozenset({own}).union(*added))

    def _scaled(
        self, operation: Operation, sources: tuple[TensorValue, ...], made: list[_Traits], joined: _Traits
    ) -> _Traits:
        if any(one.has_zeros for one in made) and not all(one.has_zeros for one in made):
            self.found.hidden[operation.name] = None
        size = prod(self._graph.value(operation.outputs[0]).shape)
        # As a gate in front of a product does: it differs with every row and column.
        is_barrier = any(
            one.is_shaped and not one.products and prod(tensor.shape) == size
            for tensor, one in zip(sources, made, strict=True)
        )
        products = frozenset[int]() if is_barrier else joined.products
        return _Traits(products, joined.is_shaped or is_barrier, has_zeros=joined.has_zeros, mask=joined.mask)

    def _summed(self, sources: tuple[TensorValue, ...], made: list[_Traits], joined: _Traits) -> _Traits:
        mask = joined.mask
        if len(sources) > 1:
            are_scores = bool(joined.products) or joined.is_shaped
            masks = [mask, *(self._as_mask(tensor, are_scores=are_scores) for tensor in sources)]
            mask = max(masks, key=("", "known", "unknown").index)
        has_zeros = all(one.has_zeros for one in made)
        return _Traits(joined.products, joined.is_shaped, has_zeros=has_zeros, mask=mask)

    def _as_mask(self, tensor: TensorValue, *, are_scores: bool) -> str:
        """Say whether adding this may hide scores: `known` only where it was evaluated and does."""
        made = self._trait(tensor)
        if made.is_constant:
            values = self._constants.value(tensor.id)
            if values is None:
                return "unknown"
            return "known" if values.size and bool((values.astype(float) <= MASKING_BELOW).any()) else ""
        name = self._names.get(self._roots.get(tensor.id, tensor.id), "")
        if made.has_zeros or "mask" in name:
            return "unknown"
        # A bias of one axis is none; a table of them, given from outside, may hold minus infinity.
        return "unknown" if are_scores and name and sum(size > 1 for size in tensor.shape) > 1 else ""

    def _masked(self, operation: Operation, joined: _Traits) -> _Traits:
        tensors = tensors_in(self._graph, operation)
        fills = [*map(number_of, operation.args), *map(self._number, tensors)]
        hides = any(fill is not None and fill <= MASKING_BELOW for fill in fills)
        decides = needed_tensor(self._graph, operation, {"where": 0, "masked_fill": 1}[base_name(operation)])
        evaluated = self._constants.value(decides.id) is not None
        has_zeros = any(self._trait(tensor).has_zeros for tensor in tensors if tensor.id != decides.id)
        mask = ("known" if evaluated else "unknown") if hides else joined.mask
        return _Traits(
            joined.products,
            joined.is_shaped,
            has_zeros=has_zeros or 0.0 in fills,
            mask=mask,
        )

    def _number(self, tensor: TensorValue) -> float | None:
        """Give a constant of one element; None for any other tensor."""
        values = self._constants.value(tensor.id) if tensor.shape == () else None
        return None if values is None else float(values)

    def _moved(
        self, operation: Operation, name: str, sources: tuple[TensorValue, ...], made: list[_Traits], joined: _Traits
    ) -> _Traits:
        kept = made[1] if name == "copy" and len(made) > 1 else joined
        if name in _WRITES:
            # Into something that is no zero, what is written stands beside what was there.
            return replace(joined, is_padded=False, has_zeros=made[0].has_zeros or made[0].is_constant)
        is_cast_truth = sources[0].dtype is DType.BOOL and name == "_to_copy"
        if len(sources) == 1:
            for out in operation.outputs:
                self._roots[out] = self._roots.get(sources[0].id, sources[0].id)
        return _Traits(
            kept.products,
            kept.is_shaped,
            has_zeros=kept.has_zeros or is_cast_truth or name in _ZERO_MAKERS,
            is_padded=kept.is_padded or name == "constant_pad_nd",
            mask=kept.mask,
        )

    def _reorder(self, contractions: frozenset[int]) -> None:
        self.found.reordered |= {out: self._makers[out] for out in sorted(contractions)}


def _joined(one: _Traits, other: _Traits) -> _Traits:
    return _Traits(
        one.products | other.products,
        one.is_shaped or other.is_shaped,
        is_constant=one.is_constant and other.is_constant,
        has_zeros=one.has_zeros or other.has_zeros,
        is_padded=one.is_padded or other.is_padded,
        mask=max(one.mask, other.mask, key=("", "known", "unknown").index),
    )
