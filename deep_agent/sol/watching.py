"""Loads torch. Owns running code on fake tensors whose values can be looked at; records nothing."""

# ruff: noqa: SLF001 - torch offers functionalisation only under private names

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeAlias

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from typing_extensions import override

from deep_agent.sol.knownvalues import KnownValues, Unknown
from deep_agent.sol.rawtrace import Scalar
from deep_agent.sol.typenames import Untraceable

InputValue: TypeAlias = torch.Tensor | Scalar
_TO_LIST = torch._C.TensorBase.tolist
FAKE_LIMITS = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)
"""What fake tensors raise where a value decides."""


class Watcher(TorchDispatchMode):  # type: ignore[misc]  # torch is untyped here
    """Carries out every ATen call on fake tensors, and on real values where a value decides."""

    def __init__(self, known: KnownValues, fake: FakeTensorMode | None) -> None:
        """Watch with these values; without a fake mode every tensor is real."""
        super().__init__()
        self.known = known
        self.saw_values = False
        """Whether the run's course depends on the values of inputs."""
        self._fake = fake

    @override
    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        return self.carry_out(func, args, kwargs or {})

    def carry_out(self, func: torch._ops.OpOverload, args: tuple[object, ...], kwargs: Mapping[str, object]) -> object:
        """Make the call, and remember how to make its value."""
        if self._fake is None:
            return func(*args, **kwargs)
        try:
            result = func(*args, **kwargs)
        except FAKE_LIMITS as error:
            return self._decided(func, args, kwargs, error)
        if func.namespace != "prim":
            self.known.defer(func, args, kwargs, result)
        return result

    def _decided(
        self,
        func: torch._ops.OpOverload,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        error: Exception,
    ) -> object:
        try:
            real = self.known.compute(func, args, kwargs)
        except Unknown as unknown:
            raise error from unknown
        drawn = self.known.depends_on_inputs((args, tuple(kwargs.values())))
        self.saw_values |= drawn
        if isinstance(real, list | tuple):
            return type(real)(self._faked(part, drawn=drawn) for part in real)
        return self._faked(real, drawn=drawn)

    def _faked(self, real: object, *, drawn: bool) -> object:
        if not isinstance(real, torch.Tensor):
            return real
        assert self._fake is not None
        fake = self._fake.from_tensor(real)
        self.known.give(fake, real, drawn=drawn)
        return fake

    def numbers(self, tensor: torch.Tensor) -> object:
        """Give a tensor's values as Python numbers, lists nested.

        Raises:
            Untraceable: they are not known.
        """
        inner = unwrapped(tensor)
        try:
            value = self.known.value(inner)
        except Unknown as error:
            raise Untraceable(f"tolist: {error}") from error
        self.saw_values |= self.known.depends_on_inputs(inner)
        with _disable_current_modes():
            return _TO_LIST(value)


class _Rewriter(TorchFunctionMode):  # type: ignore[misc]  # torch is untyped here
    """Writes one_hot as a comparison: the composite looks at values only to check them."""

    @override
    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        given = dict(kwargs or {})
        if func is torch.nn.functional.one_hot:
            n_classes = given.get("num_classes", args[1] if len(args) > 1 else -1)
            if isinstance(args[0], torch.Tensor) and isinstance(n_classes, int) and n_classes > 0:
                classes = torch.arange(n_classes, device=args[0].device, dtype=args[0].dtype)
                return (args[0].unsqueeze(-1) == classes).to(torch.int64)
        return func(*args, **given)


@contextmanager
def _listing(watcher: Watcher) -> Iterator[None]:
    """Let the watcher answer `tolist`, which reads memory without asking any mode."""

    def numbers(tensor: torch.Tensor) -> object:
        return watcher.numbers(tensor)

    torch.Tensor.tolist = numbers
    try:
        yield
    finally:
        # The class has none of its own: what it inherits comes to light again.
        del torch.Tensor.tolist


@contextmanager
def active(watcher: Watcher, mode: FakeTensorMode | None) -> Iterator[None]:
    """Run a block under the watcher, over the fake mode if there is one."""
    below: AbstractContextManager[object] = nullcontext() if mode is None else mode
    with below, watcher:
        yield


@contextmanager
def functionalised(watcher: Watcher, mode: FakeTensorMode | None) -> Iterator[None]:
    """Run a block on functional tensors: in-place writes become values, views stay views."""
    with active(watcher, mode), _listing(watcher), _Rewriter():
        torch._enable_functionalization(reapply_views=True)
        try:
            yield
        finally:
            torch._disable_functionalization()


def watched(
    make: Callable[[], Mapping[str, InputValue]], known: KnownValues, mode: FakeTensorMode
) -> dict[str, InputValue]:
    """Make inputs as fake tensors whose values can be looked at.

    Random numbers are drawn only if somebody looks, so inputs of any size cost nothing.
    """
    watcher = Watcher(known, mode)
    with functionalised(watcher, mode):
        wrapped = dict(make())
    with active(watcher, mode):
        made = {name: _inner(value) for name, value in wrapped.items()}
    for value in made.values():
        if isinstance(value, torch.Tensor):
            known.mark_input(value)
    return made


def adopted(made: Mapping[str, InputValue], known: KnownValues, mode: FakeTensorMode) -> dict[str, InputValue]:
    """Turn real inputs into fake tensors that remember them."""
    inputs: dict[str, InputValue] = {}
    for name, value in made.items():
        inputs[name] = value
        if isinstance(value, torch.Tensor) and not isinstance(value, FakeTensor):
            inputs[name] = fake = mode.from_tensor(value)
            known.give(fake, value, drawn=True)
    return inputs


def _inner(value: InputValue) -> InputValue:
    return unwrapped(value) if isinstance(value, torch.Tensor) else value


def unwrapped(tensor: torch.Tensor) -> torch.Tensor:
    """Give the tensor inside a functional one, pending writes done."""
    if not torch._is_functional_tensor(tensor):
        return tensor
    torch._sync(tensor)
    inner = torch._from_functional_tensor(tensor)
    assert isinstance(inner, torch.Tensor)
    return inner
