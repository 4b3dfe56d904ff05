"""Owns the roofline: the least time a device allows for some work, and which resource sets it."""

from collections.abc import Sequence
from typing import Literal

from deep_agent.problem.bound import SolBound, Work
from deep_agent.problem.device import DeviceModel

MEASURED_MARGIN = 1.05
"""A probed rate may fall short of the true peak on a busy machine; bounds take it this much higher."""


def bound(
    work: Work, device: DeviceModel, *, workload: str, tier: Literal[1, 2, 3], notes: Sequence[str] = ()
) -> SolBound:
    """Compute max(memory time, compute time) in microseconds.

    Memory time is the larger of two ceilings that hold whatever the mix: all bytes at the fastest rate of
    any access kind, and the bytes read at the rate of reading alone, which writes beside them cannot raise.
    Compute time is the sum over operand types of multiply-adds over their rate, as the types share the units.

    Args:
        work: what must be done.
        device: rates; probed ones are raised by MEASURED_MARGIN.
        workload: the workload's uuid.
        tier: how the work was traced.
        notes: how it was counted; notes about the rates are appended.
    """
    moving_s, multiplying_s = memory_s(work, device), compute_s(work, device)
    return SolBound(
        workload=workload,
        time_us=max(moving_s, multiplying_s) * 1e6,
        limiter="memory" if moving_s >= multiplying_s else "compute",
        work=work,
        tier=tier,
        bound_kind=device.bound_kind,
        notes=(*notes, *_rate_notes(work, device, margin(device))),
    )


def margin(device: DeviceModel) -> float:
    """Give the factor by which rates are raised: probed ones may fall short of the true peak."""
    return MEASURED_MARGIN if device.bound_kind == "measured" else 1.0


def memory_s(work: Work, device: DeviceModel) -> float:
    """Give the least time of the bytes, margin of probed rates included."""
    together_s = work.moved_bytes / device.fastest_bytes_per_s()
    return max(together_s, work.read_bytes / device.bandwidth.read_bytes_per_s) / margin(device)


def compute_s(work: Work, device: DeviceModel) -> float:
    """Give the least time of the multiply-adds, margin of probed rates included."""
    return sum(macs / device.peak_mac_per_s(dtype) for dtype, macs in work.macs.items()) / margin(device)


def _rate_notes(work: Work, device: DeviceModel, raised: float) -> list[str]:
    notes = []
    if raised > 1.0:
        notes.append(f"rates are probed and taken {raised - 1:.0%} higher, so that the bound stays a bound")
    reading_s = work.read_bytes / device.bandwidth.read_bytes_per_s
    if work.moved_bytes:
        alone = reading_s >= work.moved_bytes / device.fastest_bytes_per_s()
        kind = "reading alone" if alone else "the fastest access kind, for bytes read and written together"
        rate = device.bandwidth.read_bytes_per_s if alone else device.fastest_bytes_per_s()
        notes.append(f"memory at {rate / 1e9:.1f} GB/s: {kind}")
    unknown = sorted(dtype.value for dtype in work.macs if dtype not in device.mac_per_s)
    if unknown:
        notes.append(f"no multiply-add rate for {', '.join(unknown)} on {device.name}: not charged")
    if 0 < work.moved_bytes <= device.last_level_cache_bytes:
        notes.append("all bytes fit the last-level cache: the bound holds for inputs that start in memory")
    return notes
