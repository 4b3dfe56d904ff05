"""Owns the device model: the rates a bound is computed from, and where each comes from."""

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


class DeviceModel(FrozenValue):
    """What a device can reach; the bound divides work by these rates."""

    name: str
    """`cpu` (one thread), `cpu:N` (N threads), or a CUDA product name."""
    kind: Literal["cpu", "cuda"]
    n_threads: Annotated[int, Field(ge=1)] = 1
    """CPU threads both the candidate and its baselines may use."""
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
