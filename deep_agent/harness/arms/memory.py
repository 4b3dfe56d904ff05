"""Owns the buffers that judge and arms share, on host or device. Loads torch; maps memory.

Inputs lie in a region that arms map read-only, so an arm that writes to an input dies of it. Outputs lie in a region of their own for each arm, poisoned before every call and fenced by red
zones. Tensors start at random multiples of 256 bytes, so no address repeats from one verdict to the next.
"""

import fcntl
import mmap
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from random import Random
from typing import Final, Protocol

import torch

from deep_agent.errors import HarnessFailed, ResourceExhausted
from deep_agent.harness.sandbox.driver import DeviceBlock, DriverError
from deep_agent.problem.dtype import DType

PAGE_BYTES: Final = 4096
RED_ZONE_BYTES: Final = 16 * 1024
ALIGNMENT_BYTES: Final = 256
_F_ADD_SEALS: Final = 1033
_SEAL_SIZE: Final = 0x0001 | 0x0002 | 0x0004
"""And no seal can be added."""
_SEAL_FUTURE_WRITE: Final = 0x0010
_CANARY: Final = 0xA5


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a tensor lies in a region."""

    shape: tuple[int, ...]
    dtype: DType
    offset: int

    @property
    def count(self) -> int:
        """Elements."""
        return prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """Bytes of the dense tensor."""
        return self.count * self.dtype.bits // 8


class Backing(Protocol):
    """Memory that a region lies in, mapped here and handed to arms by descriptor."""

    @property
    def fd(self) -> int:
        """Descriptor to pass on; -1 once closed."""

    @property
    def content(self) -> torch.Tensor:
        """All of it as bytes, uint8 of shape (n_bytes,)."""

    def close(self) -> None:
        """Give descriptor and mapping back; idempotent."""


class HostMemory:
    """A shared memory file."""

    def __init__(self, n_bytes: int, *, sealed: bool) -> None:
        """Map a file of n_bytes, which stays that size; others may only read a sealed one.

        Raises:
            ResourceExhausted: the machine has no memory for it.
        """
        self.fd: int = os.memfd_create("deep-agent-buffers", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.posix_fallocate(self.fd, 0, n_bytes)
            self._map = mmap.mmap(self.fd, n_bytes, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
        except (OSError, ValueError) as error:
            os.close(self.fd)
            raise _no_room(n_bytes, str(error)) from error
        # Whoever maps a page that is gone dies, and the judge compares outputs where they lie.
        seals = _SEAL_SIZE | _SEAL_FUTURE_WRITE if sealed else _SEAL_SIZE
        fcntl.fcntl(self.fd, _F_ADD_SEALS, seals)

    @property
    def content(self) -> torch.Tensor:
        """All of it as bytes."""
        return torch.frombuffer(self._map, dtype=torch.uint8)

    def close(self) -> None:
        """Close the descriptor; views may still be alive in a caller's frame, and the mapping goes with the last."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class DeviceMemory:
    """A block of a CUDA device's memory. Arms map inputs read-only, which they could undo: the judge keeps copies."""

    def __init__(self, n_bytes: int, device: int) -> None:
        """Allocate and export it; raises ResourceExhausted when the device has no room."""
        try:
            self._block = DeviceBlock.allocate(n_bytes, device)
        except DriverError as error:
            if error.is_out_of_memory:
                raise _no_room(n_bytes, str(error)) from error
            raise HarnessFailed(f"shared device memory does not work here: {error}.") from error
        self._device = device

    @property
    def fd(self) -> int:
        """Descriptor to pass on; -1 once closed."""
        return self._block.fd

    @property
    def content(self) -> torch.Tensor:
        """All of it as bytes."""
        return torch.as_tensor(self._block.part(0, self._block.n_bytes), device=f"cuda:{self._device}")

    def close(self) -> None:
        """Unmap it once nothing on the device uses it any more."""
        torch.cuda.synchronize(self._device)
        self._block.close()


def _no_room(n_bytes: int, why: str) -> ResourceExhausted:
    return ResourceExhausted(
        f"no memory for buffers of {n_bytes / 2**20:.0f} MiB: {why}.", remedy="Use smaller workloads."
    )


class Region:
    """One block of shared memory with tensors at random offsets between red zones.

    Not thread-safe; the caller holds the device. `close` gives the memory back once arms have gone too.
    """

    def __init__(
        self,
        specs: Mapping[str, tuple[tuple[int, ...], DType]],
        chance: Random,
        allocate: Callable[[int], Backing],
    ) -> None:
        """Lay the tensors out.

        Args:
            specs: name -> (shape, element type), in argument order.
            chance: source of the random offsets.
            allocate: gives memory of a size in bytes.

        Raises:
            ResourceExhausted: there is no memory for it.
        """
        self.placements: dict[str, Placement] = {}
        end = RED_ZONE_BYTES
        for name, (shape, dtype) in specs.items():
            offset = end + chance.randrange(PAGE_BYTES // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
            placed = Placement(shape, dtype, offset)
            self.placements[name] = placed
            end = -(-(offset + placed.n_bytes + RED_ZONE_BYTES) // PAGE_BYTES) * PAGE_BYTES
        self._backing = allocate(end)
        self.content = self._backing.content
        self.n_bytes: int = self.content.numel()
        self.tensors = {name: self.view_of(name, self.content) for name in self.placements}
        self.paint_red_zones()

    @property
    def fd(self) -> int:
        """Descriptor that arms map it by."""
        return self._backing.fd

    def view_of(self, name: str, content: torch.Tensor) -> torch.Tensor:
        """Give a tensor of the region as it lies in these bytes: the region's own, or a copy of them."""
        placed = self.placements[name]
        dtype = getattr(torch, placed.dtype.value)
        if placed.count == 0:
            return torch.empty(placed.shape, dtype=dtype, device=content.device)
        flat = content[placed.offset : placed.offset + placed.n_bytes].view(dtype)
        return flat.view(placed.shape)

    def _red_zones(self) -> list[torch.Tensor]:
        edges = [0]
        for placed in self.placements.values():
            edges += [placed.offset, placed.offset + placed.n_bytes]
        edges.append(self.n_bytes)
        return [self.content[start:stop] for start, stop in zip(edges[::2], edges[1::2], strict=True)]

    def paint_red_zones(self) -> None:
        """Fill everything outside the tensors with the canary."""
        for zone in self._red_zones():
            zone.fill_(_CANARY)

    def red_zones_intact(self) -> bool:
        """Whether nothing was written outside the tensors."""
        return all(bool((zone == _CANARY).all()) for zone in self._red_zones())

    def poison(self, chance: Random) -> None:
        """Fill every tensor with something that no honest result is: NaN or random bytes.

        Integers and bools get random bytes; both keep a solution from relying on what was there before.
        """
        for name, tensor in self.tensors.items():
            floating = self.placements[name].dtype.is_floating and tensor.element_size() > 1
            if floating and chance.random() < 0.7:
                tensor.fill_(float("nan"))
            elif self.placements[name].dtype is DType.BOOL:
                tensor.fill_(chance.random() < 0.5)
            else:
                tensor.reshape(-1).view(torch.uint8).fill_(chance.choice((0x7B, 0x3C, 0xC4, 0x5A)))

    def describe(self, name: str) -> dict[str, object]:
        """Give what an arm needs to build the tensor."""
        placed = self.placements[name]
        return {
            "shape": placed.shape,
            "dtype": placed.dtype.value,
            "count": placed.count,
            "offset": placed.offset,
            "n_bytes": placed.n_bytes,
        }

    def close(self) -> None:
        """Give the memory back; idempotent."""
        self.tensors = {}
        self.content = torch.empty(0, dtype=torch.uint8)
        self._backing.close()


def sealed_file(content: bytes) -> int:
    """Put bytes into an anonymous file that nobody can change; the caller closes the descriptor it returns."""
    fd = os.memfd_create("deep-agent-artefact", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    fcntl.fcntl(fd, _F_ADD_SEALS, 0x0001 | 0x0002 | 0x0004 | 0x0008)
    return fd
