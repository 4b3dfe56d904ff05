"""Loads what a candidate's process was handed, and makes its arguments. Imports only torch and the calling convention."""

import contextlib
import importlib.machinery
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import torch
import tvm_ffi

Argument: TypeAlias = "torch.Tensor | int | float | bool"
RegionBytes: TypeAlias = Callable[[int, int], torch.Tensor]
"""Gives the bytes of a region from an offset on, so many of them: uint8 of shape (n_bytes,)."""


def load_function(payload: dict[str, Any], fds: list[int]) -> Callable[..., Any]:
    """Load an artefact and give the function to call; the candidate may raise anything at all.

    Args:
        payload: kind (`native`, `extension` or `python`), function, and for the kinds that need them module, entry
            and paths, as the LOAD request has them.
        fds: the object, or the source files in the order of the paths. Its folder is the working directory.
    """
    match payload["kind"]:
        case "native":
            return _load_native(fds[0], payload["function"])
        case "extension":
            return _load_extension(fds[0], payload["module"], payload["function"])
        case _:
            return _load_python(payload, fds)


def argument(spec: dict[str, Any], region: RegionBytes) -> Argument:
    """Build an argument; each tensor has a storage of its own, as compilers refuse or slow down outputs that share one."""
    if "scalar" in spec:
        return spec["scalar"]
    dtype = getattr(torch, spec["dtype"])
    if spec["count"] == 0:
        return torch.empty(spec["shape"], dtype=dtype, device=region(0, 1).device)
    return region(spec["offset"], spec["n_bytes"]).view(dtype).view(spec["shape"])


@contextlib.contextmanager
def _path_of(artefact_fd: int) -> Iterator[str]:
    # dlopen wants a path; a link to the sealed descriptor names exactly the bytes the judge built.
    with tempfile.TemporaryDirectory(prefix="solution-", dir=Path.cwd()) as folder:
        path = Path(folder) / "solution.so"
        path.symlink_to(f"/proc/self/fd/{artefact_fd}")
        yield str(path)


def _load_native(artefact_fd: int, function: str) -> Callable[..., Any]:
    with _path_of(artefact_fd) as path:
        module = tvm_ffi.load_module(path)
    return getattr(module, function)  # type: ignore[no-any-return] # the library types it loosely


def _load_extension(artefact_fd: int, name: str, function: str) -> Callable[..., Any]:
    """Import a module of torch's extension kind; raises AttributeError when it defines no such function."""
    with _path_of(artefact_fd) as path:
        loader = importlib.machinery.ExtensionFileLoader(name, path)
        spec = importlib.util.spec_from_loader(name, loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
    if not hasattr(module, function):
        defined = sorted(one for one in vars(module) if not one.startswith("__"))
        raise AttributeError(
            f"the module defines {defined}, and no {function!r}: correct spec.entry_point or add m.def({function!r}, ...)"
        )
    return getattr(module, function)  # type: ignore[no-any-return] # whatever the module holds


def _load_python(payload: dict[str, Any], fds: list[int]) -> Callable[..., Any]:
    folder = Path(tempfile.mkdtemp(prefix="solution-", dir=Path.cwd()))
    for relative, fd in zip(payload["paths"], fds, strict=True):
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(os.pread(fd, os.fstat(fd).st_size, 0))
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    spec = importlib.util.spec_from_file_location("solution_entry", folder / payload["entry"])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["solution_entry"] = module
    spec.loader.exec_module(module)
    return getattr(module, payload["function"])  # type: ignore[no-any-return] # whatever the module holds
