"""Owns what differs between judging on the processor and on a CUDA device: buffers, chance, waiting. Loads torch."""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Final, Protocol

import torch

from deep_agent.harness.arms.memory import DeviceMemory, HostMemory, Region
from deep_agent.harness.sandbox.clearing import clearing_code
from deep_agent.harness.sandbox.witness import Witness, witness_code
from deep_agent.problem.dtype import DType

Specs = Mapping[str, tuple[tuple[int, ...], DType]]

_CACHES_PER_ROTATION: Final = 3
"""Rotated buffers hold this many times the L2, so that none is met warm."""
_FEWEST_SETS: Final = 4
_MOST_SETS: Final = 16
_SHARE_OF_DEVICE: Final = 0.02
"""Of the device's memory that one arm's buffers of one workload may take, beyond the fewest sets."""

_CONTEXT_BYTES: Final = 640 * 2**20
"""What a process with torch holds on a device before it has a tensor: about 500 MiB for a context with the library's
kernels in it, and workspaces of cuBLAS (32 MiB and more on Hopper) and its like."""
FLUSH_CACHES: Final = 2
"""An arm empties the L2 by reading a buffer of this many times its size."""


class Place(Protocol):
    """Where buffers lie. Used by the thread that holds the device."""

    @property
    def index(self) -> int | None:
        """Number of the CUDA device; None for the host."""

    @property
    def torch_device(self) -> str:
        """Name of the device in torch."""

    @property
    def name(self) -> str:
        """What a card's maker calls it; empty for the host."""

    @property
    def fingerprint(self) -> str | None:
        """Hash of what makes two measurements on a card comparable, in hex; None for the host, which others know better."""

    @property
    def memory_bytes(self) -> int | None:
        """All memory of a CUDA device; None for the host, whose memory others use too."""

    @property
    def arm_bytes(self) -> int:
        """What an arm holds here beside buffers and tensors; 0 on the host, where arms share the zygote's pages."""

    def region(self, specs: Specs, chance: Random, *, sealed: bool) -> Region:
        """Give shared buffers; other processes may only read sealed ones."""

    def generator(self, seed: int) -> torch.Generator:
        """Give a generator for tensors that are drawn here."""

    def attend(self) -> None:
        """Make this the device of the calling thread; each that answers a request says so first."""

    def settle(self) -> None:
        """Wait until everything the judge started here is done."""

    def trim(self) -> None:
        """Give back memory that the judge's own process keeps but does not use: arms cannot have it."""

    def n_sets(self, set_bytes: int) -> int:
        """Say how many sets of inputs and outputs a workload rotates, of this many bytes each."""


class Host:
    """The processor's own memory."""

    index = None
    torch_device = "cpu"
    name = ""
    fingerprint = None
    memory_bytes = None
    arm_bytes = 0

    def region(self, specs: Specs, chance: Random, *, sealed: bool) -> Region:
        """Give a shared memory file with tensors in it."""
        return Region(specs, chance, functools.partial(HostMemory, sealed=sealed))

    def generator(self, seed: int) -> torch.Generator:
        """Give a CPU generator."""
        return torch.Generator().manual_seed(seed)

    def attend(self) -> None:
        """There is one processor."""

    def settle(self) -> None:
        """Nothing runs behind the judge's back here."""

    def trim(self) -> None:
        """What is freed is in nobody's way here."""

    def n_sets(self, set_bytes: int) -> int:
        """Two, which swap blocks before each call."""
        return 2


class CudaDevice:
    """A CUDA device in the judge's own context."""

    def __init__(self, index: int) -> None:
        """Open a context; raises whatever torch does where there is no such device."""
        torch.cuda.set_device(index)
        torch.cuda.init()
        self.index = index
        self.torch_device = f"cuda:{index}"
        found = torch.cuda.get_device_properties(index)
        self.name: str = found.name
        self.uuid = f"GPU-{found.uuid}"
        self.l2_bytes: int = found.L2_cache_size
        self.memory_bytes: int = found.total_memory
        self.arm_bytes: int = _CONTEXT_BYTES + FLUSH_CACHES * self.l2_bytes
        self.architecture = f"{found.major}{found.minor}"
        alike = (self.name, self.architecture, found.multi_processor_count, self.memory_bytes, torch.version.cuda)
        self.fingerprint = hashlib.sha256(json.dumps(alike).encode()).hexdigest()
        self._tiny = torch.zeros(1, device=self.torch_device)
        self.arm_kernels = {"clearing": clearing_code(), "witness": witness_code()}
        """Machine code of what arms run between calls, by name."""
        self._witness = Witness(self.arm_kernels["witness"])

    def region(self, specs: Specs, chance: Random, *, sealed: bool) -> Region:
        """Give an exported block of device memory; `sealed` is a request to arms, which a copy checks."""
        del sealed
        return Region(specs, chance, functools.partial(DeviceMemory, device=self.index))

    def generator(self, seed: int) -> torch.Generator:
        """Give a generator of this device."""
        return torch.Generator(self.torch_device).manual_seed(seed)

    def attend(self) -> None:
        """Make its context the thread's: kernels that the driver launches go to whichever is current there."""
        torch.cuda.set_device(self.index)

    def settle(self) -> None:
        """Wait for the judge's own context."""
        torch.cuda.synchronize(self.index)

    def trim(self) -> None:
        """Empty the library's cache of device memory: intermediates of references lie there for good."""
        torch.cuda.empty_cache()

    def n_sets(self, set_bytes: int) -> int:
        """As many as rotate through more than the L2, within a small share of the memory."""
        wanted = -(-_CACHES_PER_ROTATION * self.l2_bytes // max(set_bytes, 1))
        affordable = int(_SHARE_OF_DEVICE * self.memory_bytes // max(set_bytes, 1))
        return max(_FEWEST_SETS, min(wanted, affordable, _MOST_SETS))

    def digests(self, results: Sequence[Sequence[torch.Tensor]], salt: int) -> list[int]:
        """Give what an arm's witness finds of as many results, at most 64, if it tells the truth and they are what they were."""
        self._witness.forget()
        for number, tensors in enumerate(results):
            self._witness.see(number, tensors, salt)
        return self._witness.digests(len(results))

    def touch(self) -> None:
        """Run one tiny kernel to its end: how long it takes tells whether another context still has work."""
        self._tiny.add_(1)
        torch.cuda.synchronize(self.index)
