"""Owns the device spec: what a vendor's sheet and the card itself say of a device, field by field with its source.

A spec becomes a `DeviceModel` with `bound_kind="sheet"`; it is never measured here.
"""

import hashlib
from typing import Annotated, Literal

from pydantic import Field

from deep_agent.problem.device import Bandwidth, DeviceModel
from deep_agent.problem.dtype import DType
from deep_agent.problem.value import FrozenValue

MacPath = Literal["fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "int8", "nvfp4"]
"""A data path of the multipliers; one element type may have several."""

PERMITTED_PATHS: dict[DType, tuple[MacPath, ...]] = {
    DType.FLOAT64: ("fp64",),
    DType.FLOAT32: ("tf32", "fp32"),
    DType.FLOAT16: ("fp16",),
    DType.BFLOAT16: ("bf16",),
    DType.FLOAT8_E4M3FN: ("fp8", "fp16"),
    DType.FLOAT8_E5M2: ("fp8", "fp16"),
    DType.FLOAT4_E2M1: ("nvfp4", "fp8", "fp16"),
    DType.FLOAT4_E2M1FN_X2: ("nvfp4", "fp8", "fp16"),
    DType.INT8: ("int8",),
}
"""Element type -> paths that may compute with it: its own, and wider ones that hold its values exactly where it has none."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class SheetRate(FrozenValue):
    """A dense peak as the sheet prints it, and the clock at which it is reached."""

    path: MacPath
    tflops: Positive
    """Dense, in 10**12 operations a second, two for a multiply-add."""
    clock_hz: Positive
    """The sheet's own; vendors print tensor peaks at another clock than the rest."""


class DeviceSpec(FrozenValue):
    """A device as its maker describes it; sizes of one whole device."""

    name: str
    aliases: tuple[str, ...]
    """Further names people use, lower case, letters and digits only."""
    cards: tuple[str, ...]
    """Names under which the driver lists this very device."""
    sm_count: Annotated[int, Field(gt=0)]
    """Streaming multiprocessors; compute units on AMD."""
    mac_per_clk_per_sm: dict[MacPath, Annotated[int, Field(gt=0)]]
    """Dense multiply-adds, not operations."""
    sm_clock_max_hz: Positive
    """The highest the part can reach, above the sheet's boost where it goes there."""
    dram_bytes_per_s: Positive
    """The sheet's; never a figure a cycle, since memory does not move with the SM clock."""
    memory_clock_hz: Positive | None = None
    """As the driver reports it; two transfers a clock and pin. None where unknown."""
    memory_bus_bits: Annotated[int, Field(gt=0)] | None = None
    dram_bytes: Annotated[int, Field(gt=0)]
    l2_bytes: Annotated[int, Field(gt=0)]
    """The last cache before DRAM."""
    smem_bytes_per_sm: Annotated[int, Field(gt=0)]
    sfu_per_clk_per_sm: Annotated[int, Field(gt=0)] | None = None
    """Special functions; None where the maker does not publish it."""
    launch_floor_s: Positive | None = None
    """Least time of an empty launch; None where nobody measured it. Never inside a bound."""
    sheet: tuple[SheetRate, ...]
    source: dict[str, str]
    """Field -> where the figure comes from, in words."""
    verified_on: dict[str, str]
    """Field -> device the figure was read from; absent where only the source says so."""

    def clocked_bytes_per_s(self) -> float | None:
        """Give the bandwidth that memory clock and bus width make; None where one is unknown."""
        if self.memory_clock_hz is None or self.memory_bus_bits is None:
            return None
        return self.memory_clock_hz * 2 * self.memory_bus_bits / 8

    def fastest_bytes_per_s(self) -> float:
        """Give the larger of the sheet's bandwidth and the clocked one: a bound must not fall short of either."""
        return max(self.dram_bytes_per_s, self.clocked_bytes_per_s() or 0.0)

    def path_of(self, dtype: DType) -> MacPath | None:
        """Give the fastest permitted path of an element type; None when the device has none."""
        paths = [path for path in PERMITTED_PATHS.get(dtype, ()) if path in self.mac_per_clk_per_sm]
        return max(paths, key=lambda path: self.mac_per_clk_per_sm[path], default=None)

    def mac_per_s(self, path: MacPath) -> float:
        """Give the peak of a path at the highest clock."""
        return self.mac_per_clk_per_sm[path] * self.sm_count * self.sm_clock_max_hz

    def model(self) -> DeviceModel:
        """Give the rates that bounds divide by: highest clock, highest bandwidth, fastest permitted path a type."""
        rate = self.fastest_bytes_per_s()
        paths = {dtype: path for dtype in DType if (path := self.path_of(dtype)) is not None}
        return DeviceModel(
            name=self.name,
            kind="cuda",
            bandwidth=Bandwidth(
                read_bytes_per_s=rate, copy_bytes_per_s=rate, triad_bytes_per_s=rate, write_bytes_per_s=rate
            ),
            mac_per_s={dtype: self.mac_per_s(path) for dtype, path in paths.items()},
            last_level_cache_bytes=self.l2_bytes,
            memory_bytes=self.dram_bytes,
            launch_floor_s=self.launch_floor_s or 0.0,
            bound_kind="sheet",
            how={**{dtype.value: self._how(path) for dtype, path in paths.items()}, **self._how_fields()},
            fingerprint=hashlib.sha256(self.model_dump_json().encode()).hexdigest(),
        )

    def _how(self, path: MacPath) -> str:
        return (
            f"{path} path: {self.mac_per_clk_per_sm[path]} multiply-adds x {self.sm_count} multiprocessors "
            f"x {self.sm_clock_max_hz / 1e9:g} GHz"
        )

    def _how_fields(self) -> dict[str, str]:
        def told(field: str) -> str:
            seen = self.verified_on.get(field)
            return self.source[field] + (f"; read from {seen}" if seen else "; not verified on a device")

        memory = f"{self.fastest_bytes_per_s() / 1e12:.3f} TB/s: {told('dram_bytes_per_s')}"
        clocked = self.clocked_bytes_per_s()
        if clocked is not None and clocked > self.dram_bytes_per_s:
            memory = (
                f"{clocked / 1e12:.3f} TB/s by the memory clock, above the sheet's "
                f"{self.dram_bytes_per_s / 1e12:g}: {told('memory_clock_hz')}"
            )
        return {
            "memory": memory,
            "multiprocessors": told("sm_count"),
            "clock": told("sm_clock_max_hz"),
            "last-level cache": told("l2_bytes"),
        }
