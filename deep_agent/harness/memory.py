"""Owns the buffers that judge and arms share. Loads torch; maps memory.

Inputs lie in a sealed region: the judge keeps the only writable mapping, so an arm that writes to an input
dies of it. Outputs lie in a region of their own for each arm, poisoned before every call and fenced by red
zones. Tensors start at random multiples of 256 bytes, so no address repeats from one verdict to the next.
"""

import fcntl
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from random import Random
from typing import Final

import torch

from deep_agent.errors import ResourceExhausted
from deep_agent.problem.dtype import DType

PAGE_BYTES: Final = 4096
RED_ZONE_BYTES: Final = 16 * 1024
ALIGNMENT_BYTES: Final = 256
_F_ADD_SEALS: Final = 1033
_SEAL_SHRINK_GROW_FUTURE_WRITE: Final = 0x0002 | 0x0004 | 0x0010
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


class Region:
    """One shared memory file with tensors at random offsets between red zones.

    Not thread-safe; the caller holds the device. `close` gives the memory back once arms have gone too.
    """

    def __init__(self, specs: Mapping[str, tuple[tuple[int, ...], DType]], chance: Random, *, sealed: bool) -> None:
        """Lay the tensors out and map the file.

        Args:
            specs: name -> (shape, element type), in argument order.
            chance: source of the random offsets.
            sealed: whether other processes may only read.

        Raises:
            ResourceExhausted: the machine has no memory for it.
        """
        self.placements: dict[str, Placement] = {}
        end = RED_ZONE_BYTES
        for name, (shape, dtype) in specs.items():
            offset = end + chance.randrange(PAGE_BYTES // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
            placed = Placement(shape, dtype, offset)
            self.placements[name] = placed
            end = -(-(offset + placed.n_bytes + RED_ZONE_BYTES) // PAGE_BYTES) * PAGE_BYTES
        self.n_bytes = end
        self.fd = os.memfd_create("deep-agent-buffers", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.posix_fallocate(self.fd, 0, end)
            self._map = mmap.mmap(self.fd, end, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
        except (OSError, ValueError) as error:
            os.close(self.fd)
            raise ResourceExhausted(
                f"no memory for buffers of {end / 2**20:.0f} MiB: {error}.", remedy="Use smaller workloads."
            ) from error
        if sealed:
            fcntl.fcntl(self.fd, _F_ADD_SEALS, _SEAL_SHRINK_GROW_FUTURE_WRITE)
        self._bytes = torch.frombuffer(self._map, dtype=torch.uint8)
        self.tensors = {name: self._view(placed) for name, placed in self.placements.items()}
        self.paint_red_zones()

    def _view(self, placed: Placement) -> torch.Tensor:
        dtype = getattr(torch, placed.dtype.value)
        if placed.count == 0:
            return torch.empty(placed.shape, dtype=dtype)
        return torch.frombuffer(self._map, dtype=dtype, count=placed.count, offset=placed.offset).view(placed.shape)

    def _red_zones(self) -> list[torch.Tensor]:
        edges = [0]
        for placed in self.placements.values():
            edges += [placed.offset, placed.offset + placed.n_bytes]
        edges.append(len(self._map))
        return [self._bytes[start:stop] for start, stop in zip(edges[::2], edges[1::2], strict=True)]

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
                tensor.view(torch.uint8).reshape(-1).fill_(chance.choice((0x7B, 0x3C, 0xC4, 0x5A)))

    def describe(self, name: str) -> dict[str, object]:
        """Give what an arm needs to build the tensor."""
        placed = self.placements[name]
        return {"shape": placed.shape, "dtype": placed.dtype.value, "count": placed.count, "offset": placed.offset}

    def close(self) -> None:
        """Give the descriptor and the mapping back; idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self.tensors = {}
            del self._bytes
            # Views of torch may still be alive in a caller's frame; the mapping then goes with the last of them.


def sealed_file(content: bytes) -> int:
    """Put bytes into an anonymous file that nobody can change; the caller closes the descriptor it returns."""
    fd = os.memfd_create("deep-agent-artefact", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    fcntl.fcntl(fd, _F_ADD_SEALS, 0x0001 | 0x0002 | 0x0004 | 0x0008)
    return fd
