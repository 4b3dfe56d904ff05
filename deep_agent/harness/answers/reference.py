"""Runs a definition's reference, natively and in double precision. Loads torch; executes the user's code.

The reference is the user's own and trusted with their files, but not to be well-behaved: what it raises
becomes `InvalidInput` in its own words.
"""

import importlib.util
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeAlias, TypeVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from typing_extensions import override

from deep_agent.errors import InvalidInput
from deep_agent.problem.definition import Definition

_FLOATS: Final = frozenset({torch.float16, torch.bfloat16, torch.float32})

Argument: TypeAlias = "torch.Tensor | int | float | bool"


class Reference:
    """An imported reference."""

    def __init__(self, definition: Definition, torch_device: str = "cpu") -> None:
        """Import the definition's source from a real file, as it may hold decorated code.

        Args:
            definition: whose reference it is.
            torch_device: where its inputs lie.

        Raises:
            InvalidInput: the source raises when imported.
        """
        self.definition = definition
        self._device = torch_device
        self._module = _import_source(definition)

    def __call__(self, arguments: Sequence[Argument]) -> tuple[torch.Tensor, ...]:
        """Run `run(*arguments)`; the results in the definition's order, dense, as they came.

        Raises:
            InvalidInput: it raises, or returns another number of values.
        """
        with torch.no_grad():
            returned = _or_invalid(self.definition, lambda: self._module.run(*arguments))
        return self._in_order(returned)

    def in_double(self, arguments: Sequence[Argument]) -> tuple[torch.Tensor, ...]:
        """Run it with every floating tensor and cast promoted to float64; raises as calling does."""
        promoted = [
            argument.double() if isinstance(argument, torch.Tensor) and argument.is_floating_point() else argument
            for argument in arguments
        ]
        with torch.no_grad(), _DoublePrecision():
            returned = _or_invalid(self.definition, lambda: self._module.run(*promoted))
        return self._in_order(returned)

    def custom_inputs(self, axes_and_scalars: Mapping[str, object], seed: int) -> dict[str, Argument]:
        """Call the definition's input generator under a seed."""
        name = self.definition.custom_inputs_entrypoint
        if name is None:
            raise InvalidInput(
                f"definition {self.definition.name!r}: a workload has custom inputs, but there is no custom_inputs_entrypoint."
            )
        devices = [] if self._device == "cpu" else [self._device]
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            made = _or_invalid(
                self.definition, lambda: getattr(self._module, name)(dict(axes_and_scalars), self._device)
            )
        return dict(made)

    def _in_order(self, returned: object) -> tuple[torch.Tensor, ...]:
        names = tuple(self.definition.outputs)
        if isinstance(returned, Mapping):
            returned = [returned.get(name) for name in names]
        results = tuple(returned) if isinstance(returned, tuple | list) else (returned,)
        if len(results) != len(names):
            raise InvalidInput(
                f"definition {self.definition.name!r}: the reference returns {len(results)} values, "
                f"outputs declares {list(names)}."
            )
        return tuple(
            value if isinstance(value, torch.Tensor) else torch.as_tensor(value, device=self._device)
            for value in results
        )


class _DoublePrecision(TorchDispatchMode):  # type: ignore[misc] # torch is untyped here
    """Turns casts and fresh tensors of lower floating types into float64, so that nothing is rounded on the way."""

    @override
    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        wanted = dict(kwargs or {})
        if wanted.get("dtype") in _FLOATS:
            wanted["dtype"] = torch.float64
        widened = [torch.float64 if isinstance(arg, torch.dtype) and arg in _FLOATS else arg for arg in args]
        result = func(*widened, **wanted)
        if func in _FACTORIES and isinstance(result, torch.Tensor) and result.dtype in _FLOATS:
            return result.double()
        return result


_ATEN: Final = torch.ops.aten
_FACTORIES: Final = frozenset(
    {
        _ATEN.arange.default, _ATEN.arange.start, _ATEN.arange.start_step, _ATEN.ones.default, _ATEN.zeros.default,
        _ATEN.full.default, _ATEN.empty.memory_format, _ATEN.scalar_tensor.default, _ATEN.linspace.default,
    }
)  # fmt: skip


def _import_source(definition: Definition) -> ModuleType:
    with tempfile.TemporaryDirectory(prefix="deep-agent-reference-") as folder:
        path = Path(folder) / "reference.py"
        path.write_text(definition.reference)
        spec = importlib.util.spec_from_file_location(f"reference_{abs(hash(definition.reference))}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        loader = spec.loader
        _or_invalid(definition, lambda: loader.exec_module(module))
    return module


_Result = TypeVar("_Result")


def _or_invalid(definition: Definition, run: Callable[[], _Result]) -> _Result:
    try:
        return run()
    # Whatever the user's code raises is theirs to read, an exit too.
    except (Exception, SystemExit) as error:
        frames = [
            frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith("reference.py")
        ]
        where = f" at line {frames[-1].lineno} of the reference" if frames else ""
        raise InvalidInput(
            f"definition {definition.name!r}: the reference raises{where}: {type(error).__name__}: {error}",
            remedy="Mend the reference or the workload's sizes.",
        ) from error
