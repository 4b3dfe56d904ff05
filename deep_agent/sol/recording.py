"""Loads torch. Owns one recorded run of a reference below functionalisation; does not choose sizes or inputs.

The recorder is a dispatch mode under C++ functionalisation, so autograd and composite operations have
been taken apart as eager does, in-place writes have become values, and views are still views.
"""

# ruff: noqa: SLF001 - torch offers functionalisation and schemas only under private names

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from typing_extensions import override

from deep_agent.problem.dtype import DType
from deep_agent.sol.rawtrace import RawArg, RawOperation, RawTensor, RawTrace, RawValue, Scalar

InputValue: TypeAlias = torch.Tensor | Scalar
LARGEST_CONSTANT = 4096
"""Elements up to which a constant tensor's values are kept in the trace."""

_TRANSPARENT = frozenset({"aten.detach.default", "aten.alias.default", "aten.lift_fresh.default", "aten.lift.default"})
_PLACEMENT = frozenset({"device", "layout", "pin_memory"})
_ROW_INDEX_PLACE = {"aten.embedding.default": 1, "aten.index_select.default": 2}
"""Operand that holds the indices of a gather of whole rows."""
ROW_GATHERS = frozenset({*_ROW_INDEX_PLACE, "aten.index.Tensor"})
"""Operations whose distinct rows are counted when the indices are real."""


class Untraceable(Exception):
    """The run left what an operation graph can say; the message says how."""


def dtype_name(dtype: torch.dtype) -> str:
    """Spell a torch dtype as the public format does.

    Raises:
        Untraceable: the format has no such type (complex, unsigned).
    """
    name = str(dtype).removeprefix("torch.")
    try:
        return DType(name).value
    except ValueError:
        raise Untraceable(f"element type {name} has no name in the public format") from None


def torch_dtype(dtype: DType) -> torch.dtype:
    """Give torch's type of a named element type; both fp4 names mean the packed one."""
    name = "float4_e2m1fn_x2" if dtype is DType.FLOAT4_E2M1 else dtype.value
    found = getattr(torch, name)
    assert isinstance(found, torch.dtype)
    return found


class _Recorder(TorchDispatchMode):  # type: ignore[misc]  # torch is untyped here
    """Writes down every ATen call that reaches it; holds each tensor so that identities stay unique."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[RawValue] = []
        self.operations: list[RawOperation] = []
        self.rows_touched: dict[int, int] = {}
        self._ids: dict[int, int] = {}
        self._held: list[torch.Tensor] = []

    @override
    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        result = func(*args, **(kwargs or {}))
        if func.namespace != "prim":
            self._record(func, args, kwargs or {}, result)
        return result

    def _record(
        self, func: torch._ops.OpOverload, args: tuple[object, ...], kwargs: Mapping[str, object], result: object
    ) -> None:
        name = str(func)
        if func._schema.is_mutable:
            raise Untraceable(f"{name} writes into a tensor that outlives the call")
        raw_args = tuple(self._operand(arg) for arg in args)
        if name in _TRANSPARENT and isinstance(result, torch.Tensor) and isinstance(raw_args[0], RawTensor):
            self._ids[id(result)] = raw_args[0].id
            self._held.append(result)
            return
        raw_kwargs = tuple((key, self._operand(arg)) for key, arg in kwargs.items() if key not in _PLACEMENT)
        outputs = tuple(self._made(part) for part in _parts(result))
        self.operations.append(RawOperation(name=name, args=raw_args, kwargs=raw_kwargs, outputs=outputs))
        self._note_rows(name, args, result)

    def add(self, tensor: torch.Tensor) -> int:
        """Give the tensor a value of its own."""
        self.values.append(_described(tensor))
        self._ids[id(tensor)] = len(self.values) - 1
        self._held.append(tensor)
        return len(self.values) - 1

    def find(self, tensor: torch.Tensor) -> int:
        """Give the tensor's value, making a constant of a tensor that no call has made."""
        known = self._ids.get(id(tensor))
        dtype_name(tensor.dtype)
        return self._constant(tensor) if known is None else known

    def _made(self, part: object) -> int:
        if isinstance(part, torch.Tensor):
            return self.add(part)
        self.values.append(RawValue(shape=(0,), dtype=DType.FLOAT32.value))
        return len(self.values) - 1

    def _constant(self, tensor: torch.Tensor) -> int:
        value_id = self.add(tensor)
        real = tensor.constant if isinstance(tensor, FakeTensor) else tensor
        if real is None:
            raise Untraceable("a tensor appeared that neither an input nor an operation made")
        kwargs: tuple[tuple[str, RawArg], ...] = (("dtype", dtype_name(tensor.dtype)),)
        shape = tuple(tensor.shape)
        if real.numel() == 1:
            operation = RawOperation("aten.full.default", (shape, _number(real.item())), kwargs, (value_id,))
        elif real.numel() <= LARGEST_CONSTANT:
            numbers = tuple(_number(number) for number in real.flatten().tolist())
            operation = RawOperation("deep_agent.constant.default", (shape, numbers), kwargs, (value_id,))
        else:
            operation = RawOperation("deep_agent.constant.opaque", (shape,), kwargs, (value_id,))
        self.operations.append(operation)
        return value_id

    def _operand(self, arg: object) -> RawArg:
        match arg:
            case torch.Tensor():
                return RawTensor(self.find(arg))
            case bool() | int() | float() | str() | None:
                return arg
            case list() | tuple():
                return tuple(self._operand(item) for item in arg)
            case torch.dtype():
                # A type the format cannot name is refused when a value has it, not when it is mentioned.
                return str(arg).removeprefix("torch.")
            case torch.memory_format() | torch.layout() | torch.device():
                return str(arg).removeprefix("torch.")
            case _:
                raise Untraceable(f"an operand of type {type(arg).__name__} has no form in the graph")

    def _note_rows(self, name: str, args: tuple[object, ...], result: object) -> None:
        """Count the distinct rows a gather read, when the indices are real."""
        if not isinstance(result, torch.Tensor) or isinstance(result, FakeTensor):
            return
        indices = _row_indices(name, args)
        if indices is not None:
            self.rows_touched[self._ids[id(result)]] = int(torch.unique(indices).numel())


def _described(tensor: torch.Tensor) -> RawValue:
    try:
        return RawValue(shape=tuple(tensor.shape), dtype=dtype_name(tensor.dtype))
    except Untraceable:
        # Scratch that nobody reads, such as batch norm's reserve, may have any type; `find` refuses the rest.
        return RawValue(shape=(0,), dtype=DType.FLOAT32.value)


def _number(number: object) -> bool | int | float:
    if isinstance(number, bool | int | float):
        return number
    raise Untraceable(f"a constant holds a {type(number).__name__}")


def _row_indices(name: str, args: tuple[object, ...]) -> torch.Tensor | None:
    """Find the tensor that chooses rows along one dimension; None for other operations."""
    if name in _ROW_INDEX_PLACE:
        candidate = args[_ROW_INDEX_PLACE[name]]
        return candidate if isinstance(candidate, torch.Tensor) else None
    if name == "aten.index.Tensor" and isinstance(args[1], list | tuple):
        chosen = [index for index in args[1] if isinstance(index, torch.Tensor)]
        if len(chosen) == 1 and chosen[0].dtype != torch.bool:
            return chosen[0]
    return None


def _parts(result: object) -> tuple[object, ...]:
    if isinstance(result, list | tuple):
        return tuple(result)
    return (result,) if isinstance(result, torch.Tensor) else ()


def record(
    run: Callable[..., object],
    inputs: Mapping[str, InputValue],
    output_names: tuple[str, ...],
    mode: FakeTensorMode | None,
) -> RawTrace:
    """Run the reference once and write down what it did, dead work dropped.

    Args:
        run: the reference, return style.
        inputs: arguments by name, in order; fake tensors of `mode`, or real ones.
        output_names: declared outputs, in order.
        mode: the fake mode; None runs on real tensors.

    Raises:
        Untraceable: the run does something the graph cannot say.
        Exception: whatever the reference raises.
    """
    recorder = _Recorder()
    ids = {name: recorder.add(value) for name, value in inputs.items() if isinstance(value, torch.Tensor)}
    wrapped = [
        torch._to_functional_tensor(value) if isinstance(value, torch.Tensor) else value for value in inputs.values()
    ]
    active: AbstractContextManager[object] = nullcontext() if mode is None else mode
    with active, recorder:
        torch._enable_functionalization(reapply_views=True)
        try:
            result = run(*wrapped)
            tensors = _named_outputs(result, output_names)
        finally:
            torch._disable_functionalization()
        outputs = {name: recorder.find(_unwrapped(tensor)) for name, tensor in tensors.items()}
    return RawTrace(
        values=tuple(recorder.values),
        operations=tuple(recorder.operations),
        inputs=ids,
        outputs=outputs,
        rows_touched=recorder.rows_touched,
    ).sliced()


def _unwrapped(tensor: torch.Tensor) -> torch.Tensor:
    if not torch._is_functional_tensor(tensor):
        return tensor
    torch._sync(tensor)
    inner = torch._from_functional_tensor(tensor)
    assert isinstance(inner, torch.Tensor)
    return inner


def _named_outputs(result: object, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Match what `run` returned to the declared outputs; Python numbers have no place in the graph."""
    if isinstance(result, Mapping):
        missing = [name for name in names if name not in result]
        if missing:
            raise ValueError(f"run returned a dict without {missing}")
        parts: tuple[object, ...] = tuple(result[name] for name in names)
    else:
        parts = tuple(result) if isinstance(result, list | tuple) else (result,)
    if len(parts) != len(names):
        raise ValueError(f"run returned {len(parts)} results, but {len(names)} outputs are declared")
    for name, part in zip(names, parts, strict=True):
        if not isinstance(part, torch.Tensor | bool | int | float):
            raise TypeError(f"run returned a {type(part).__name__} for output {name!r}, not a tensor")
    return {name: part for name, part in zip(names, parts, strict=True) if isinstance(part, torch.Tensor)}
