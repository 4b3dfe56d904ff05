"""Owns the device model: the rates a bound is computed from, and where each comes from."""

from itertools import pairwise
from math import inf
from typing import Annotated, Literal

from pydantic import Field

from deep_agent.problem.dtype import DType
from deep_agent.problem.value import FrozenValue

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Bandwidth(FrozenValue):
    """Sustained DRAM rates of the device by kind of access."""

    read_bytes_per_s: Rate
    """Reading alone."""
    copy_bytes_per_s: Rate
    """Bytes read plus bytes written by a copy whose stores bypass the cache."""
    triad_bytes_per_s: Rate
    """Bytes read plus written by a[i] = b[i] + s * c[i] with stores that bypass the cache."""
    write_bytes_per_s: Rate | None = None
    """Writing alone past the cache; None where it was not measured."""

    def rate_of_mix(self, read_share: float) -> float:
        """Give the rate of accesses of which a share between 0 and 1 is read, in bytes a second.

        Writing alone, copying (a half read), the triad (two thirds) and reading alone are known; between two of
        them the time of a byte changes linearly. What was reached inside one kind counts for the others: a copy
        reads as fast as it writes, so more bytes never take less time. Without a rate for writing, copying
        stands for it.
        """
        copy = max(self.copy_bytes_per_s, self.triad_bytes_per_s * 2 / 3)
        triad = max(self.triad_bytes_per_s, copy * 3 / 4)
        write = max(self.write_bytes_per_s or copy, copy / 2)
        read = max(self.read_bytes_per_s, triad * 2 / 3)
        known = ((0.0, write), (1 / 2, copy), (2 / 3, triad), (1.0, read))
        for (low, rate_below), (high, rate_above) in pairwise(known):
            if read_share <= high:
                part = (read_share - low) / (high - low)
                return 1 / ((1 - part) / rate_below + part / rate_above)
        return read


class DeviceModel(FrozenValue):
    """What a device can reach; the bound divides work by these rates."""

    name: str
    """`cpu` (one thread), `cpu:N` (N threads), or a CUDA product name."""
    kind: Literal["cpu", "cuda"]
    hardware: str = ""
    """What a card's maker calls it, where it is a card of this machine; empty elsewhere."""
    n_threads: Annotated[int, Field(ge=1)] = 1
    """CPU threads both the candidate and its baselines may use."""
    vector_bytes: Annotated[int, Field(ge=0)] = 0
    """Size of a CPU's vector register; 0 where it is not known, and on other devices."""
    bandwidth: Bandwidth
    mac_per_s: dict[DType, Rate]
    """Peak multiply-adds a second by operand type, on the fastest permitted data path."""
    last_level_cache_bytes: Annotated[int, Field(ge=0)]
    memory_bytes: Annotated[int, Field(gt=0)]
    launch_floor_s: Annotated[float, Field(ge=0)] = 0.0
    """Least time of an empty call; reported beside a bound, never inside it."""
    bound_kind: Literal["measured", "sheet"]
    """Whether rates were probed on this machine (a ceiling with 5 % margin) or taken from a data sheet."""
    how: dict[str, str]
    """Rate name -> how it was obtained, in one sentence."""
    fingerprint: str
    """Hash of everything that makes two measurements comparable (processor, cores, ISA, threads)."""

    def fastest_bytes_per_s(self) -> float:
        """The highest sustained rate of any access kind."""
        bandwidth = self.bandwidth
        return max(
            bandwidth.read_bytes_per_s,
            bandwidth.copy_bytes_per_s,
            bandwidth.triad_bytes_per_s,
            bandwidth.write_bytes_per_s or 0.0,
        )

    def peak_mac_per_s(self, dtype: DType) -> float:
        """Peak multiply-adds a second for operands of this type; infinite when it has no rate."""
        return self.mac_per_s.get(dtype, inf)
