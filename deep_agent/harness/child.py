"""Runs one arm: loads an artefact, maps buffers, calls it when asked. Imports only the wire format and torch.

Everything in this process is believed in nothing: it holds no reference, expected output, tolerance, seed or
clock that counts. Candidate and baseline arms run the same code.
"""

import contextlib
import importlib.util
import mmap
import os
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import torch
import tvm_ffi

from deep_agent.harness.wire import Finding, Verb, receive_request, send_reply

MAX_LOG_BYTES: Final = 16 * 1024

Argument: TypeAlias = "torch.Tensor | int | float | bool"


class FormError(Exception):
    """A return-style solution returned something of the wrong form."""

    def __init__(self, finding: Finding, message: str) -> None:
        """Keep the finding that the judge is told."""
        super().__init__(message)
        self.finding = finding


class _Binding:
    """Buffers of one case, as the arguments of the callable."""

    def __init__(self, inputs: list[Argument], outputs: list[torch.Tensor]) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.returned: Any = None


class ArmProcess:
    """The loop of one arm."""

    def __init__(self, channel: socket.socket) -> None:
        """Keep the channel to the judge; nothing is loaded yet."""
        self._channel = channel
        self._function: Callable[..., Any] | None = None
        self._destination_passing = True
        self._output_names: tuple[str, ...] = ()
        self._bindings: dict[int, _Binding] = {}
        self._settings = _settings()

    def serve(self) -> None:
        """Answer requests until the judge hangs up."""
        while (request := receive_request(self._channel)) is not None:
            nonce, verb, payload, fds = request
            send_reply(self._channel, nonce, self._answer(verb, payload, fds))

    def _answer(self, verb: Verb, payload: dict[str, Any], fds: list[int]) -> Finding:
        try:
            self._do(verb, payload, fds)
        except FormError as error:
            _say(str(error))
            return error.finding
        # The candidate may raise anything at all; its last words go to the log, the finding to the judge.
        except BaseException:  # noqa: BLE001 - the harness child is one of the three places for a broad catch
            _say(traceback.format_exc(limit=-6))
            return Finding.RAISED
        return Finding.DONE

    def _do(self, verb: Verb, payload: dict[str, Any], fds: list[int]) -> None:
        match verb:
            case Verb.LOAD:
                self._load(payload, fds)
            case Verb.BIND:
                self._bindings[payload["binding"]] = _map_buffers(payload, fds)
            case Verb.CALL:
                self._call(self._bindings[payload["binding"]])
            case Verb.COLLECT:
                self._collect(self._bindings[payload["binding"]])
            case Verb.UNBIND:
                del self._bindings[payload["binding"]]
            case Verb.NOTHING:
                pass
            case Verb.INSPECT:
                self._inspect()

    def _load(self, payload: dict[str, Any], fds: list[int]) -> None:
        torch.set_num_threads(payload["n_threads"])
        self._destination_passing = payload["destination_passing"]
        self._output_names = tuple(payload["outputs"])
        if payload["kind"] == "native":
            self._function = _load_native(fds[0], payload["function"])
        else:
            self._function = _load_python(payload, fds)

    def _call(self, binding: _Binding) -> None:
        assert self._function is not None
        # Results of earlier calls are given back first, so that the allocator reuses warm memory.
        for other in self._bindings.values():
            other.returned = None
        if self._destination_passing:
            self._function(*binding.inputs, *binding.outputs)
        else:
            binding.returned = self._function(*binding.inputs)

    def _collect(self, binding: _Binding) -> None:
        returned, binding.returned = binding.returned, None
        if self._destination_passing:
            return
        for expected, actual in zip(binding.outputs, self._as_sequence(returned), strict=True):
            _check_form(expected, actual)
            expected.copy_(actual)

    def _inspect(self) -> None:
        now = _settings()
        if changed := [name for name, before in self._settings.items() if now[name] != before]:
            raise FormError(Finding.CHANGED_SETTINGS, f"left changed: {', '.join(changed)}")

    def _as_sequence(self, returned: object) -> Sequence[Any]:
        if isinstance(returned, Mapping):
            missing = [name for name in self._output_names if name not in returned]
            if missing:
                raise FormError(Finding.WRONG_TYPE, f"returned a dict without {missing}")
            return [returned[name] for name in self._output_names]
        results = list(returned) if isinstance(returned, tuple | list) else [returned]
        if len(results) != len(self._output_names):
            raise FormError(
                Finding.WRONG_TYPE, f"returned {len(results)} values where {len(self._output_names)} are declared"
            )
        return results


def _check_form(expected: torch.Tensor, actual: object) -> None:
    if isinstance(actual, bool | int | float) and expected.ndim == 0:
        return
    if not isinstance(actual, torch.Tensor) or type(actual) is not torch.Tensor:
        raise FormError(Finding.WRONG_TYPE, f"returned {type(actual).__name__} where a plain tensor is declared")
    if tuple(actual.shape) != tuple(expected.shape):
        raise FormError(Finding.WRONG_SHAPE, f"returned shape {tuple(actual.shape)}, declared {tuple(expected.shape)}")
    if actual.dtype != expected.dtype:
        raise FormError(Finding.WRONG_DTYPE, f"returned {actual.dtype}, declared {expected.dtype}")


def _settings() -> dict[str, object]:
    """Read what a call can leave behind for whoever computes next in the same process."""
    one, tiny, small = 1.0, sys.float_info.min, 2.0**-60
    return {
        "flushing of denormals": tiny / 2 == 0,
        "rounding mode": (one + small, one - small),
        "default dtype": torch.get_default_dtype(),
        "precision of products": torch.get_float32_matmul_precision(),
        "determinism": torch.are_deterministic_algorithms_enabled(),
    }


def _load_native(artefact_fd: int, function: str) -> Callable[..., Any]:
    # dlopen wants a path; a link to the sealed descriptor names exactly the bytes the judge built.
    path = Path.cwd() / f"solution-{os.getpid()}.so"
    path.symlink_to(f"/proc/self/fd/{artefact_fd}")
    try:
        module = tvm_ffi.load_module(str(path))
    finally:
        path.unlink()
    return getattr(module, function)  # type: ignore[no-any-return] # the library types it loosely


def _load_python(payload: dict[str, Any], fds: list[int]) -> Callable[..., Any]:
    folder = Path.cwd() / f"solution-{os.getpid()}"
    folder.mkdir(mode=0o700)
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


def _map_buffers(payload: dict[str, Any], fds: list[int]) -> _Binding:
    """Map the input and output regions and build tensors over them."""
    inputs_map = mmap.mmap(fds[0], 0, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=mmap.PROT_READ)
    outputs_map = mmap.mmap(fds[1], 0, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
    inputs = [_argument(spec, inputs_map) for spec in payload["inputs"]]
    outputs = [_argument(spec, outputs_map) for spec in payload["outputs"]]
    for fd in fds:
        os.close(fd)
    return _Binding(inputs, outputs)


def _argument(spec: dict[str, Any], region: mmap.mmap) -> Argument:
    if "scalar" in spec:
        return spec["scalar"]
    dtype = getattr(torch, spec["dtype"])
    if spec["count"] == 0:
        return torch.empty(spec["shape"], dtype=dtype)
    flat = torch.frombuffer(region, dtype=dtype, count=spec["count"], offset=spec["offset"])
    return flat.view(spec["shape"])


def _say(words: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, words.encode(errors="replace")[-MAX_LOG_BYTES:])
