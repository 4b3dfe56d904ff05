"""Loads torch. Owns the inputs a reference is traced on, fake or real; the judge draws its own."""

import importlib.util
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Literal

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from deep_agent.errors import InvalidInput
from deep_agent.problem.definition import Definition, TensorSpec
from deep_agent.problem.dtype import DType
from deep_agent.problem.workload import ScalarInput, Workload
from deep_agent.sol.knownvalues import KnownValues
from deep_agent.sol.rawtrace import Scalar
from deep_agent.sol.typenames import torch_dtype
from deep_agent.sol.watching import InputValue, adopted, watched

MAX_TENSOR_BYTES = 2**60
"""Above this a shape is a mistake: no memory holds it, and products of sizes begin to overflow."""
MAX_GENERATED_BYTES = 2**30
"""Declared bytes up to which a generator that fake tensors cannot run is run on real ones."""
Draw = Literal["normal", "positive"]

_DEFAULT_SCALARS: dict[bool, int | float] = {True: 0.625, False: 3}


@dataclass(frozen=True)
class Case:
    """One workload's sizes and scalars, ready to make inputs for."""

    definition: Definition
    uuid: str
    sizes: Mapping[str, int]
    scalars: Mapping[str, Scalar]

    @property
    def declared_bytes(self) -> int:
        """Bytes of one dense copy of every input and output."""
        names = (*self.definition.inputs, *self.definition.outputs)
        return sum(self.definition.storage_bytes(name, self.sizes) for name in names)


def make_case(definition: Definition, workload: Workload) -> Case:
    """Bind a definition to a workload.

    Raises:
        InvalidInput: an axis is missing or wrong, or a shape overflows.
    """
    where = f"definition {definition.name!r}, workload {workload.uuid!r}"
    try:
        sizes = definition.sizes(workload.axes)
    except InvalidInput as error:
        raise InvalidInput(
            f"{where}: {error.message}", remedy=error.remedy or "Correct the workload's axes."
        ) from error
    for name in (*definition.inputs, *definition.outputs):
        if definition.storage_bytes(name, sizes) > MAX_TENSOR_BYTES:
            raise InvalidInput(
                f"{where}: the shape of {name!r}, {list(definition.shape(name, sizes))}, overflows any memory.",
                remedy="Make its axes smaller.",
            )
    scalars = {name: _scalar(workload, name, spec) for name, spec in definition.inputs.items() if spec.is_scalar}
    return Case(definition=definition, uuid=workload.uuid, sizes=sizes, scalars=scalars)


def _scalar(workload: Workload, name: str, spec: TensorSpec) -> Scalar:
    descriptor = workload.inputs.get(name)
    if isinstance(descriptor, ScalarInput):
        return descriptor.value
    return True if spec.dtype is DType.BOOL else _DEFAULT_SCALARS[spec.dtype.is_floating]


def load_reference(definition: Definition, folder: Path) -> ModuleType:
    """Import the reference from a real file, as sources that look themselves up need one.

    Raises:
        InvalidInput: importing it raises; the message carries its own exception line.
    """
    path = folder / "reference.py"
    path.write_text(definition.reference, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("deep_agent_traced_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InvalidInput(
            f"definition {definition.name!r}: importing its reference raised {describe(error, path.name)}.",
            remedy="Correct the reference.",
        ) from error
    return module


def describe(error: BaseException, filename: str = "reference.py") -> str:
    """Give the exception's own line and the last line of the reference it passed through."""
    line = None
    step = error.__traceback__
    while step is not None:
        if Path(step.tb_frame.f_code.co_filename).name == filename:
            line = step.tb_lineno
        step = step.tb_next
    text = " ".join(str(error).split())[:500]
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return said if line is None else f"{said} (reference line {line})"


def make_inputs(
    case: Case, module: ModuleType, *, mode: FakeTensorMode | None, seed: int = 0, draw: Draw | None = "normal"
) -> dict[str, InputValue]:
    """Make every argument of `run`, in order.

    Args:
        case: sizes and scalars.
        module: the imported reference, for its generator.
        mode: makes fake tensors of this mode; None makes real ones.
        seed: of the global generator.
        draw: how random floats fall: standard normal, or uniform in [0.1, 0.9] where nothing is singular;
            None leaves tensors without values.
    """
    torch.manual_seed(seed)
    with nullcontext() if mode is None else mode:
        made = _generated(case, module)
        inputs: dict[str, InputValue] = {}
        for name, spec in case.definition.inputs.items():
            if name in made:
                inputs[name] = made[name]
            elif spec.is_scalar:
                inputs[name] = case.scalars[name]
            else:
                shape = _stored_shape(case.definition.shape(name, case.sizes), spec.dtype)
                inputs[name] = _tensor(shape, spec.dtype, draw=draw, case=case)
    return inputs


def make_known_inputs(
    case: Case, module: ModuleType, *, mode: FakeTensorMode, known: KnownValues, seed: int = 0
) -> dict[str, InputValue]:
    """Make every argument of `run` as fake tensors that know their values; random numbers are drawn when looked at.

    Raises:
        GeneratorFailed: the definition's generator neither runs on fake tensors nor is small enough to run.
    """

    def make(draw_in: FakeTensorMode | None) -> dict[str, InputValue]:
        return make_inputs(case, module, mode=draw_in, seed=seed, draw="normal")

    try:
        return watched(lambda: make(None), known, mode)
    except Exception as error:
        if case.declared_bytes > MAX_GENERATED_BYTES:
            raise GeneratorFailed(f"the generator of inputs needs real memory: {describe(error)}") from error
    return adopted(make(None), known, mode)


class GeneratorFailed(Exception):
    """Inputs could not be generated here; the message says why."""


def _generated(case: Case, module: ModuleType) -> dict[str, InputValue]:
    entry = case.definition.custom_inputs_entrypoint
    if entry is None:
        return {}
    generator: Callable[[dict[str, object], torch.device], object] = getattr(module, entry)
    made = generator({**case.sizes, **case.scalars}, torch.device("cpu"))
    if not isinstance(made, Mapping):
        raise TypeError(f"{entry} returned a {type(made).__name__}, not a dict of inputs")
    return {str(name): value for name, value in made.items()}


def _stored_shape(shape: tuple[int, ...], dtype: DType) -> tuple[int, ...]:
    return (*shape[:-1], shape[-1] // 2) if shape and dtype.bits == 4 else shape


def _tensor(shape: tuple[int, ...], dtype: DType, *, draw: Draw | None, case: Case) -> torch.Tensor:
    kind = torch_dtype(dtype)
    if draw is None:
        return torch.empty(shape, dtype=kind)
    if dtype is DType.BOOL:
        return torch.randint(0, 2, shape).bool()
    if not dtype.is_floating:
        # Integers are mostly indices: a range no axis is shorter than keeps them legal.
        top = max(1, min([127, *(size for size in case.sizes.values() if size > 0)]))
        return torch.randint(0, top, shape).to(kind)
    if dtype.bits == 4:
        return torch.randint(0, 256, shape, dtype=torch.uint8).view(kind)
    floats = torch.randn(shape) if draw == "normal" else torch.rand(shape) * 0.8 + 0.1
    return (floats.clamp(-2, 2) if dtype.bits == 8 else floats).to(kind)


def shared_storage(inputs: Mapping[str, InputValue]) -> tuple[dict[str, int], tuple[tuple[str, ...], ...]]:
    """Find inputs smaller than their shape and inputs that lie in one storage.

    Returns:
        Physical bytes of expanded inputs by name, and groups of names that share a storage.
    """
    small: dict[str, int] = {}
    groups: dict[int, list[str]] = {}
    for name, value in inputs.items():
        if not isinstance(value, torch.Tensor):
            continue
        storage = value.untyped_storage()
        groups.setdefault(storage._cdata, []).append(name)  # noqa: SLF001 - the one identity that fake storages have too
        if storage.nbytes() < prod(value.shape) * value.element_size():
            small[name] = storage.nbytes()
    return small, tuple(tuple(names) for names in groups.values() if len(names) > 1)
