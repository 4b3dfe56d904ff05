"""Loads torch. Owns one recorded run of a reference below functionalisation; does not choose sizes or inputs.

The recorder is a dispatch mode under C++ functionalisation, so autograd and composite operations have
been taken apart as eager does, in-place writes have become values, and views are still views.
"""

# ruff: noqa: SLF001 - torch offers functionalisation and schemas only under private names

from collections.abc import Callable, Mapping

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import _disable_current_modes
from typing_extensions import override

from deep_agent.problem.dtype import DType
from deep_agent.sol.knownvalues import KnownValues, Unknown
from deep_agent.sol.rawtrace import RawArg, RawOperation, RawTensor, RawTrace, RawValue
from deep_agent.sol.touching import DECIDED_BY_INDICES, GROUPED, group_rows, listed, touched
from deep_agent.sol.typenames import STAND_IN_NAMES, Untraceable, described, dtype_name, plain_name
from deep_agent.sol.watching import InputValue, Watcher, active, functionalised, unwrapped

LARGEST_CONSTANT = 4096
"""Elements up to which a constant tensor's values are kept in the trace."""

_TRANSPARENT = frozenset({"aten.detach.default", "aten.alias.default", "aten.lift_fresh.default", "aten.lift.default"})
_PLACEMENT = frozenset({"device", "layout", "pin_memory"})


class _Recorder(Watcher):
    """Writes down every ATen call that reaches it; holds each tensor so that identities stay unique."""

    def __init__(self, known: KnownValues, fake: FakeTensorMode | None) -> None:
        super().__init__(known, fake)
        self.values: list[RawValue] = []
        self.operations: list[RawOperation] = []
        self.rows_touched: dict[int, int] = {}
        self.rows_routed: dict[int, int] = {}
        self.rows_listed: dict[int, tuple[int, ...]] = {}
        self.looked_at_indices = False
        """Whether indices that depend on inputs decided a count."""
        self.stand_ins: dict[str, None] = {}
        self.unseen: dict[str, None] = {}
        """Operations whose indices decide the traffic and are too costly to compute, with the reason."""
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
        result = self.carry_out(func, args, kwargs or {})
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
        self._note_rows(name, args, kwargs, outputs)

    def add(self, tensor: torch.Tensor) -> int:
        """Give the tensor a value of its own."""
        self.values.append(described(tensor))
        self._ids[id(tensor)] = len(self.values) - 1
        self._held.append(tensor)
        return len(self.values) - 1

    def find(self, tensor: torch.Tensor) -> int:
        """Give the tensor's value, making a constant of a tensor that no call has made."""
        known = self._ids.get(id(tensor))
        dtype_name(tensor.dtype)
        if (name := plain_name(tensor.dtype)) in STAND_IN_NAMES:
            self.stand_ins[name] = None
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
        if isinstance(tensor, FakeTensor):
            self.known.give(tensor, real, drawn=False)
        with _disable_current_modes():
            operation = _constant_operation(real, value_id)
        self.operations.append(operation)
        return value_id

    def _operand(self, arg: object) -> RawArg:
        match arg:
            case torch.Tensor():
                return RawTensor(self.find(arg))
            case bool() | int() | float() | str() | None:
                return arg
            case complex():
                return str(arg)
            case list() | tuple():
                return tuple(self._operand(item) for item in arg)
            case torch.dtype():
                # A type the format cannot name is refused when a value has it, not when it is mentioned.
                return plain_name(arg)
            case torch.memory_format() | torch.layout() | torch.device():
                return str(arg).removeprefix("torch.")
            case _:
                raise Untraceable(f"an operand of type {type(arg).__name__} has no form in the graph")

    def _note_rows(
        self, name: str, args: tuple[object, ...], kwargs: Mapping[str, object], outputs: tuple[int, ...]
    ) -> None:
        """Count what a gather or scatter touches, when its indices are known."""
        if name not in DECIDED_BY_INDICES or not outputs:
            return
        try:
            with _disable_current_modes():
                if name in GROUPED:
                    self._note_groups(args, kwargs, outputs[0])
                    return
                rows = touched(name, args, self._look)
                listing = listed(name, args, self._look)
        except Unknown as unknown:
            if unknown.too_costly:
                self.unseen[f"{name}: {unknown}"] = None
            return
        if rows is not None:
            self.rows_touched[outputs[0]] = rows
        if listing is not None:
            self.rows_listed[outputs[0]] = listing

    def _note_groups(self, args: tuple[object, ...], kwargs: Mapping[str, object], out: int) -> None:
        offsets = kwargs.get("offs", next((arg for arg in args[2:] if _is_offsets(arg)), None))
        if isinstance(offsets, torch.Tensor):
            rows = group_rows(self._look(offsets))
            self.rows_touched[out] = sum(1 for count in rows if count)
            self.rows_routed[out] = sum(rows)

    def _look(self, tensor: torch.Tensor) -> torch.Tensor:
        self.looked_at_indices |= self.known.depends_on_inputs(tensor)
        return self.known.value(tensor)


def _is_offsets(arg: object) -> bool:
    return isinstance(arg, torch.Tensor) and arg.dtype == torch.int32


def _constant_operation(real: torch.Tensor, value_id: int) -> RawOperation:
    kwargs: tuple[tuple[str, RawArg], ...] = (("dtype", dtype_name(real.dtype)),)
    shape = tuple(real.shape)
    if real.is_complex() or real.numel() > LARGEST_CONSTANT:
        return RawOperation("deep_agent.constant.opaque", (shape,), kwargs, (value_id,))
    if real.numel() == 1:
        return RawOperation("aten.full.default", (shape, _number(real.item())), kwargs, (value_id,))
    numbers = tuple(_number(number) for number in real.flatten().tolist())
    return RawOperation("deep_agent.constant.default", (shape, numbers), kwargs, (value_id,))


def _number(number: object) -> bool | int | float:
    if isinstance(number, bool | int | float):
        return number
    raise Untraceable(f"a constant holds a {type(number).__name__}")


def _parts(result: object) -> tuple[object, ...]:
    if isinstance(result, list | tuple):
        return tuple(result)
    return (result,) if isinstance(result, torch.Tensor) else ()


def record(
    run: Callable[..., object],
    inputs: Mapping[str, InputValue],
    output_names: tuple[str, ...],
    mode: FakeTensorMode | None,
    known: KnownValues | None = None,
) -> RawTrace:
    """Run the reference once and write down what it did, dead work dropped.

    Args:
        run: the reference, return style.
        inputs: arguments by name, in order; fake tensors of `mode`, or real ones.
        output_names: declared outputs, in order.
        mode: the fake mode; None runs on real tensors.
        known: what is known of the inputs' values; nothing by default.

    Raises:
        Untraceable: the run does something the graph cannot say.
        Exception: whatever the reference raises.
    """
    recorder = _Recorder(known or KnownValues(), mode)
    ids = {name: recorder.add(value) for name, value in inputs.items() if isinstance(value, torch.Tensor)}
    wrapped = [
        torch._to_functional_tensor(value) if isinstance(value, torch.Tensor) else value for value in inputs.values()
    ]
    with functionalised(recorder, mode):
        tensors = _named_outputs(run(*wrapped), output_names)
    with active(recorder, mode):
        outputs = {name: recorder.find(unwrapped(tensor)) for name, tensor in tensors.items()}
    return RawTrace(
        values=tuple(recorder.values),
        operations=tuple(recorder.operations),
        inputs=ids,
        outputs=outputs,
        rows_touched=recorder.rows_touched,
        rows_routed=recorder.rows_routed,
        rows_listed=recorder.rows_listed,
        stand_ins=tuple(recorder.stand_ins),
        unseen=tuple(recorder.unseen),
        looked_at="values" if recorder.saw_values else "indices" if recorder.looked_at_indices else "nothing",
    ).sliced()


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
