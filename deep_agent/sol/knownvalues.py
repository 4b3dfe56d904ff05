"""Loads torch. Owns the real values behind fake tensors, computed only when somebody looks; decides nothing.

A fake run costs nothing at any size, but indices and lengths decide traffic. Each fake tensor whose operands
are known keeps the call that would make it; looking at a value carries out the calls it needs and no others.
"""

# ruff: noqa: SLF001 - torch offers dispatch keys and schemas only under private names

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import _disable_current_modes

MAX_COMPUTED_BYTES = 2**31
"""Bytes of all values that may be computed in one run."""
MAX_STEPS = 2 * 10**10
"""Multiply-adds, by output elements times the inner axis, that may be computed in one run."""

Call: TypeAlias = Callable[..., object]


class Unknown(Exception):
    """A value depends on something nobody knows, or is too costly to compute; the message says which."""

    def __init__(self, message: str, *, too_costly: bool = False) -> None:
        """Say which."""
        super().__init__(message)
        self.too_costly = too_costly


@dataclass(frozen=True)
class _Deferred:
    call: Call
    args: tuple[object, ...]
    kwargs: Mapping[str, object]
    place: int | None
    """Position in a list of results; None when the call gives one tensor."""
    drawn: bool
    """Whether the value depends on an input or on chance."""


class KnownValues:
    """Remembers how fake tensors would be made; holds each one, so that identities stay unique."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._calls: dict[int, _Deferred] = {}
        self._values: dict[int, torch.Tensor] = {}
        self._drawn: dict[int, bool] = {}
        self._held: list[torch.Tensor] = []
        self._bytes = 0
        self._steps = 0
        self.looked_at_inputs = False
        """Whether a value was computed that depends on an input or on chance."""

    def give(self, fake: torch.Tensor, value: torch.Tensor, *, drawn: bool) -> None:
        """Set the value of a tensor."""
        self._values[id(fake)] = value
        self._drawn[id(fake)] = drawn
        self._held.append(fake)

    def defer(self, call: Call, args: tuple[object, ...], kwargs: Mapping[str, object], result: object) -> None:
        """Remember the call that made `result`, if every tensor it takes is known."""
        operands = list(_tensors((args, tuple(kwargs.values()))))
        if not all(self._is_known(operand) for operand in operands):
            return
        drawn = _is_random(call) or any(self._depends(operand) for operand in operands)
        parts = result if isinstance(result, list | tuple) else (result,)
        for place, part in enumerate(parts):
            if isinstance(part, torch.Tensor) and id(part) not in self._drawn:
                spot = place if isinstance(result, list | tuple) else None
                self._calls[id(part)] = _Deferred(call, args, kwargs, spot, drawn)
                self._drawn[id(part)] = drawn
                self._held.append(part)

    def value(self, tensor: torch.Tensor) -> torch.Tensor:
        """Compute a tensor's value.

        Raises:
            Unknown: nobody knows it, or it costs too much.
        """
        if not self._is_known(tensor):
            raise Unknown("a value depends on inputs that are not known")
        self.looked_at_inputs |= self._depends(tensor)
        waiting = [tensor]
        while waiting:
            last = waiting[-1]
            if not isinstance(last, FakeTensor) or id(last) in self._values:
                waiting.pop()
                continue
            made = self._calls[id(last)]
            missing = [
                operand
                for operand in _tensors((made.args, tuple(made.kwargs.values())))
                if isinstance(operand, FakeTensor) and id(operand) not in self._values
            ]
            if missing:
                waiting.extend(missing)
            else:
                self._compute(last, made)
                waiting.pop()
        return self._values.get(id(tensor), tensor)

    def depends_on_inputs(self, arg: object) -> bool:
        """Whether any tensor of a (nested) operand depends on an input or on chance."""
        return any(self._depends(tensor) for tensor in _tensors(arg))

    def mark_input(self, fake: torch.Tensor) -> None:
        """Say that a tensor is an input, however its value was made."""
        if isinstance(fake, FakeTensor) and self._is_known(fake):
            fake.constant = None
            self._drawn[id(fake)] = True

    def compute(self, call: Call, args: tuple[object, ...], kwargs: Mapping[str, object]) -> object:
        """Carry out a call on real values.

        Raises:
            Unknown: an operand is not known.
        """
        real_args, real_kwargs = self._real(args), {key: self._real(arg) for key, arg in kwargs.items()}
        with _disable_current_modes(), torch.no_grad():
            return call(*real_args, **real_kwargs)  # type: ignore[misc]  # a tuple stays a tuple

    def _compute(self, tensor: torch.Tensor, made: _Deferred) -> None:
        self._bytes += tensor.numel() * tensor.element_size()
        self._steps += tensor.numel() * _inner_axis(made)
        if self._bytes > MAX_COMPUTED_BYTES or self._steps > MAX_STEPS:
            raise Unknown("computing the values that decide would cost too much here", too_costly=True)
        result = self.compute(made.call, made.args, made.kwargs)
        part = result if made.place is None else result[made.place]  # type: ignore[index]
        assert isinstance(part, torch.Tensor)
        self._values[id(tensor)] = part

    def _is_known(self, tensor: torch.Tensor) -> bool:
        if isinstance(tensor, FakeTensor) and id(tensor) not in self._drawn and tensor.constant is not None:
            self.give(tensor, tensor.constant, drawn=False)
        return not isinstance(tensor, FakeTensor) or id(tensor) in self._drawn

    def _depends(self, tensor: torch.Tensor) -> bool:
        return self._drawn.get(id(tensor), False)

    def _real(self, arg: object) -> object:
        if isinstance(arg, torch.Tensor):
            return self.value(arg)
        if isinstance(arg, list | tuple):
            return type(arg)(self._real(item) for item in arg)
        return torch.device("cpu") if isinstance(arg, torch.device) else arg


def _tensors(arg: object) -> Iterator[torch.Tensor]:
    if isinstance(arg, torch.Tensor):
        yield arg
    elif isinstance(arg, list | tuple):
        for item in arg:
            yield from _tensors(item)


def _is_random(call: Call) -> bool:
    return isinstance(call, torch._ops.OpOverload) and torch.Tag.nondeterministic_seeded in call.tags


_CONTRACTIONS = ("mm", "addmm", "bmm", "baddbmm", "mv", "convolution", "_scaled", "linear")


def _inner_axis(made: _Deferred) -> int:
    """Estimate the multiply-adds of one output element."""
    name = str(made.call).removeprefix("aten.")
    if not name.startswith(_CONTRACTIONS):
        return 1
    operands: Sequence[torch.Tensor] = list(_tensors(made.args))
    if name.startswith("convolution"):
        return int(operands[1].numel()) // max(1, int(operands[1].shape[0]))
    return max((int(operand.shape[-1]) for operand in operands if operand.dim()), default=1)
