"""Runs one arm: loads an artefact, maps buffers, calls it when asked. Imports only the wire format and torch.

Everything in this process is believed in nothing: it holds no reference, expected output, tolerance, seed or
clock that counts. Candidate and baseline arms run the same code.
"""

import contextlib
import mmap
import os
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import torch

from deep_agent.harness.sandbox import artefact
from deep_agent.harness.sandbox.artefact import Argument, RegionBytes, argument, load_function
from deep_agent.harness.sandbox.bursts import Bursts
from deep_agent.harness.sandbox.driver import DeviceBlock, persisting_bytes, wait_by_sleeping
from deep_agent.harness.sandbox.wire import Finding, Verb, receive_request, send_reply

MAX_LOG_BYTES: Final = 16 * 1024
_OURS: Final = (__file__, artefact.__file__, "<frozen importlib")
"""Where frames of a traceback lie that say nothing of the candidate."""
_MASKS_OUT_OF_MEMORY: Final = ("CUDACachingAllocator", "nvmlInit")
"""What torch says in place of it: its allocator asks NVML who holds the memory, and from here NVML does not answer."""
_OUT_OF_MEMORY: Final = "torch.OutOfMemoryError: CUDA out of memory; the assertion above hides it\n"


class FormError(Exception):
    """A return-style solution returned something of the wrong form."""

    def __init__(self, finding: Finding, message: str) -> None:
        """Keep the finding that the judge is told."""
        super().__init__(message)
        self.finding = finding


class _Binding:
    """Buffers of one case, as the arguments of the callable."""

    def __init__(self, inputs: list[Argument], outputs: list[torch.Tensor], blocks: tuple[DeviceBlock, ...]) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.returned: Any = None
        self._blocks = blocks

    @property
    def on_device(self) -> bool:
        return bool(self._blocks)

    def close(self) -> None:
        self.inputs, self.outputs, self.returned = [], [], None
        for block in self._blocks:
            block.close()


class ArmProcess:
    """The loop of one arm."""

    def __init__(self, channel: socket.socket) -> None:
        """Keep the channel to the judge; nothing is loaded yet."""
        self._channel = channel
        self._function: Callable[..., Any] | None = None
        self._destination_passing = True
        self._output_names: tuple[str, ...] = ()
        self._bindings: dict[int, _Binding] = {}
        self._bursts: Bursts | None = None
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
        except BaseException as error:  # noqa: BLE001 - the harness child is one of the three places for a broad catch
            _say(_told(error))
            return Finding.RAISED
        return Finding.DONE

    def _do(self, verb: Verb, payload: dict[str, Any], fds: list[int]) -> None:
        match verb:
            case Verb.LOAD:
                self._load(payload, fds)
            case Verb.BIND:
                assert payload["binding"] not in self._bindings, "calls would go to the buffers of another workload"
                self._bindings[payload["binding"]] = _map_buffers(payload, fds)
            case Verb.CALL:
                self._call(self._bindings[payload["binding"]])
            case Verb.BURST:
                self._burst(payload, fds)
            case Verb.COLLECT:
                self._collect(self._bindings[payload["binding"]])
            case _:
                self._keep_house(verb, payload)

    def _keep_house(self, verb: Verb, payload: dict[str, Any]) -> None:
        """Do what runs no code of the artefact's."""
        match verb:
            case Verb.UNBIND:
                self._bindings.pop(payload["binding"]).close()
            case Verb.INSPECT:
                self._inspect()
            case Verb.OPEN:
                _open_device(payload["device"])
            case Verb.EQUIP:
                self._bursts = Bursts(payload["kernels"], payload["n_bytes"])
            case _:
                pass

    def _load(self, payload: dict[str, Any], fds: list[int]) -> None:
        torch.set_num_threads(payload["n_threads"])
        self._destination_passing = payload["destination_passing"]
        self._output_names = tuple(payload["outputs"])
        self._function = load_function(payload, fds)

    def _call(self, binding: _Binding) -> None:
        # Results of earlier calls are given back first, so that the allocator reuses warm memory.
        for other in self._bindings.values():
            other.returned = None
        self._invoke(binding)
        if binding.on_device:
            torch.cuda.synchronize()

    def _invoke(self, binding: _Binding) -> None:
        assert self._function is not None
        if self._destination_passing:
            self._function(*binding.inputs, *binding.outputs)
        else:
            binding.returned = self._function(*binding.inputs)

    def _burst(self, payload: dict[str, Any], fds: list[int]) -> None:
        """Call with each binding in turn, and write down what that took and left."""
        assert self._bursts is not None, "a burst comes after EQUIP"
        numbers = payload["bindings"]
        # What another workload's calls have left would fill the device.
        for number in self._bindings.keys() - set(numbers):
            self._bindings[number].returned = None
        calls = {number: partial(self._invoke, self._bindings[number]) for number in numbers if number is not None}
        witnessed = calls if payload["witnessed"] else ()
        results = [partial(self._results, self._bindings[number]) for number in witnessed]
        claims = self._bursts.run(
            [calls.get(number) for number in numbers], results, empties=payload["empties"], hold_us=payload["hold_us"]
        )
        if persisting_bytes():
            raise FormError(Finding.CHANGED_SETTINGS, "kept a part of the L2 cache back, which a flush does not empty")
        os.pwrite(fds[0], claims, 0)
        os.close(fds[0])

    def _collect(self, binding: _Binding) -> None:
        if self._destination_passing:
            return
        try:
            for expected, actual in zip(binding.outputs, self._results(binding), strict=True):
                expected.copy_(actual)
        finally:
            binding.returned = None
        if binding.on_device:
            torch.cuda.synchronize()

    def _results(self, binding: _Binding) -> list[torch.Tensor]:
        """Give what the latest call of a binding left, of the form that is declared; raises FormError."""
        if self._destination_passing:
            return binding.outputs
        results = self._as_sequence(binding.returned)
        return [_of_form(expected, actual) for expected, actual in zip(binding.outputs, results, strict=True)]

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


def _told(error: BaseException) -> str:
    """Word what the candidate raised, from the frame where its own code begins."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OURS):
        trace = trace.tb_next
    words = "".join(traceback.format_exception(type(error), error, trace, limit=-6))
    return words + _OUT_OF_MEMORY if all(one in words for one in _MASKS_OUT_OF_MEMORY) else words


def _of_form(expected: torch.Tensor, actual: object) -> torch.Tensor:
    """Give a result as a tensor like the declared one; raises FormError where it is none."""
    if isinstance(actual, bool | int | float) and expected.ndim == 0:
        return torch.tensor(actual, dtype=expected.dtype, device=expected.device)
    if not isinstance(actual, torch.Tensor) or type(actual) is not torch.Tensor:
        raise FormError(Finding.WRONG_TYPE, f"returned {type(actual).__name__} where a plain tensor is declared")
    if tuple(actual.shape) != tuple(expected.shape):
        raise FormError(Finding.WRONG_SHAPE, f"returned shape {tuple(actual.shape)}, declared {tuple(expected.shape)}")
    if actual.device.type != expected.device.type:
        raise FormError(
            Finding.WRONG_TYPE, f"returned a tensor on {actual.device.type}, declared on {expected.device.type}"
        )
    if actual.dtype != expected.dtype:
        raise FormError(Finding.WRONG_DTYPE, f"returned {actual.dtype}, declared {expected.dtype}")
    return actual


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


def _open_device(device: int) -> None:
    """Open a context, unless there is one; a thread that waits for it sleeps."""
    if not torch.cuda.is_initialized():
        wait_by_sleeping(device)
        torch.cuda.set_device(device)
        torch.cuda.synchronize()


def _map_buffers(payload: dict[str, Any], fds: list[int]) -> _Binding:
    """Map the input and output regions and build tensors over them; inputs are read-only."""
    try:
        if payload["device"] is None:
            regions: list[RegionBytes] = [
                partial(_host_bytes, mmap.mmap(fd, 0, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=access))
                for fd, access in zip(fds, (mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_WRITE), strict=True)
            ]
            blocks: tuple[DeviceBlock, ...] = ()
        else:
            device = payload["device"]
            _open_device(device)
            blocks = tuple(
                DeviceBlock.adopt(fd, n_bytes, device, read_only=read_only)
                for fd, n_bytes, read_only in zip(fds, payload["region_bytes"], (True, False), strict=True)
            )
            regions = [partial(_device_bytes, block, f"cuda:{device}") for block in blocks]
    finally:
        for fd in fds:
            os.close(fd)
    inputs = [argument(spec, regions[0]) for spec in payload["inputs"]]
    outputs = [argument(spec, regions[1]) for spec in payload["outputs"]]
    return _Binding(inputs, outputs, blocks)


def _host_bytes(memory: mmap.mmap, offset: int, n_bytes: int) -> torch.Tensor:
    return torch.frombuffer(memory, dtype=torch.uint8, count=n_bytes, offset=offset)


def _device_bytes(block: DeviceBlock, device: str, offset: int, n_bytes: int) -> torch.Tensor:
    return torch.as_tensor(block.part(offset, n_bytes), device=device)


def _say(words: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, words.encode(errors="replace")[-MAX_LOG_BYTES:])
