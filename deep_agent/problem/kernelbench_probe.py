"""Owns looking at a KernelBench-style file once, as a program of its own; does not judge or time it.

`kernelbench` runs this file by path with `SOURCE RESULT CONSTANT...` and imports only its types:
torch is looked up by name inside `main`, after the source is loaded.
"""

import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

from typing_extensions import TypedDict

SEED = 42


class Seen(TypedDict):
    """One input, parameter, buffer or output."""

    name: str
    shape: list[int | str] | None
    """None for a Python number; a constant's name where the size follows it."""
    dtype: str


class Probed(TypedDict):
    """What one run of the file showed."""

    inputs: list[Seen]
    parameters: list[Seen]
    buffers: list[Seen]
    outputs: list[Seen]
    free: dict[str, int]
    """Constants of the file that only set sizes, with the values they have there."""


class UnsuitableFile(Exception):
    """The file cannot become a problem; the message says why."""


def main(source: Path, result: Path, constants: Sequence[str]) -> None:
    """Probe `source` and write `{"probed": ...}` or `{"error": ...}` to `result`."""
    try:
        module = _load(source)
        found: Mapping[str, object] = {"probed": _probe(importlib.import_module("torch"), module, constants)}
    except UnsuitableFile as error:
        found = {"error": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever the user's file raises is told to the user
        found = {"error": f"running it raises {type(error).__name__}: {error}"}
    result.write_text(json.dumps(found), encoding="utf-8")


def _probe(torch: ModuleType, module: ModuleType, constants: Sequence[str]) -> Probed:
    try:
        # Fake tensors carry shapes without memory: such files often ask for many gigabytes.
        seen = _observe(torch, module, fake=True)
        fake = True
    except UnsuitableFile:
        raise
    except Exception:  # noqa: BLE001 - values decide something there, so the real run must tell
        seen = _observe(torch, module, fake=False)
        fake = False
    for name in constants:
        _try_free(torch, module, seen, name, fake=fake)
    return seen


def _load(source: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("probed_source", source)
    if spec is None or spec.loader is None:
        raise UnsuitableFile("it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _observe(torch: ModuleType, module: ModuleType, *, fake: bool) -> Probed:
    """Build the model, draw inputs and call it once."""
    mode = importlib.import_module("torch._subclasses.fake_tensor").FakeTensorMode() if fake else nullcontext()
    with mode, torch.no_grad():
        torch.manual_seed(SEED)
        model = module.Model(*(module.get_init_inputs() if hasattr(module, "get_init_inputs") else []))
        _refuse_chance(torch, model)
        given = list(module.get_inputs())
        parameters = [_see(torch, name, tensor) for name, tensor in model.named_parameters()]
        buffers = [_see(torch, name, tensor) for name, tensor in model.named_buffers()]
        names = _argument_names(model, len(given))
        inputs = [_see(torch, name, value) for name, value in zip(names, given, strict=True)]
        outputs = _see_outputs(torch, model(*given))
    return Probed(inputs=inputs, parameters=parameters, buffers=buffers, outputs=outputs, free={})


def _refuse_chance(torch: ModuleType, model: object) -> None:
    if not isinstance(model, torch.nn.Module):
        raise UnsuitableFile("Model is no torch.nn.Module")
    dropout = importlib.import_module("torch.nn.modules.dropout")._DropoutNd  # noqa: SLF001 - the family's one base
    for path, part in getattr(model, "named_modules", list)():
        if isinstance(part, dropout) and part.training and part.p > 0:
            raise UnsuitableFile(f"{path} drops at random; call self.eval() at the end of Model.__init__")


def _argument_names(model: object, n_given: int) -> list[str]:
    parameters = inspect.signature(getattr(model, "forward", model)).parameters.values()  # type: ignore[arg-type]
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [positional[i] if i < len(positional) else f"input_{i}" for i in range(n_given)]


def _see_outputs(torch: ModuleType, result: object) -> list[Seen]:
    if isinstance(result, torch.Tensor):
        return [_see(torch, "output", result)]
    if not isinstance(result, tuple | list):
        raise UnsuitableFile(f"forward returns {type(result).__name__}; return a tensor or a tuple of tensors")
    named = [(f"output_{index}", part) for index, part in enumerate(result)]
    for name, part in named:
        if not isinstance(part, torch.Tensor):
            raise UnsuitableFile(f"forward returns {type(part).__name__} as {name}; return tensors")
    return [_see(torch, name, part) for name, part in named]


def _see(torch: ModuleType, name: str, value: object) -> Seen:
    if isinstance(value, torch.Tensor):
        shape: Sequence[int] = getattr(value, "shape", ())
        return Seen(name=name, shape=list(shape), dtype=str(getattr(value, "dtype", "")).removeprefix("torch."))
    for kind, dtype in ((bool, "bool"), (int, "int64"), (float, "float32")):
        if isinstance(value, kind):
            return Seen(name=name, shape=None, dtype=dtype)
    raise UnsuitableFile(f"get_inputs gives {type(value).__name__} for {name!r}; give tensors or numbers")


def _try_free(torch: ModuleType, module: ModuleType, seen: Probed, name: str, *, fake: bool) -> None:
    """Raise a constant by one; where sizes follow it one to one, write its name in their place."""
    value = getattr(module, name)
    setattr(module, name, value + 1)
    try:
        shifted = _observe(torch, module, fake=fake)
    except Exception:  # noqa: BLE001 - a constant the file cannot change stays fixed
        return
    finally:
        setattr(module, name, value)
    marks: list[tuple[list[int | str], int]] = []
    for before, after in zip(_tensors(seen), _tensors(shifted), strict=True):
        for axis, (old, new) in enumerate(zip(before["shape"] or [], after["shape"] or [], strict=True)):
            if old == new or isinstance(old, str):
                continue
            if (old, new) != (value, value + 1):
                return
            marks.append((before["shape"] or [], axis))
    for shape, axis in marks:
        shape[axis] = name
    if marks:
        seen["free"][name] = value


def _tensors(seen: Probed) -> list[Seen]:
    return [*seen["inputs"], *seen["parameters"], *seen["buffers"], *seen["outputs"]]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
