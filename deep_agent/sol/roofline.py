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

    Memory time is all bytes at the rate of their mix of reading and writing: on a processor a copy never reaches
    the rate of writing alone, and a bound that no copy can reach says little.
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
    return work.moved_bytes / _memory_rate(work, device) / margin(device) if work.moved_bytes else 0.0


def _memory_rate(work: Work, device: DeviceModel) -> float:
    return device.bandwidth.rate_of_mix(work.read_bytes / work.moved_bytes)


def compute_s(work: Work, device: DeviceModel) -> float:
    """Give the least time of the multiply-adds, margin of probed rates included."""
    return sum(macs / device.peak_mac_per_s(dtype) for dtype, macs in work.macs.items()) / margin(device)


def _rate_notes(work: Work, device: DeviceModel, raised: float) -> list[str]:
    notes = []
    if raised > 1.0:
        notes.append(f"rates are probed and taken {raised - 1:.0%} higher, so that the bound stays a bound")
    if work.moved_bytes:
        share = work.read_bytes / work.moved_bytes
        notes.append(f"memory at {_memory_rate(work, device) / 1e9:.1f} GB/s: the rate when {share:.0%} of it is read")
    unknown = sorted(dtype.value for dtype in work.macs if dtype not in device.mac_per_s)
    if unknown:
        notes.append(f"no multiply-add rate for {', '.join(unknown)} on {device.name}: not charged")
    if 0 < work.moved_bytes <= device.last_level_cache_bytes:
        notes.append("all bytes fit the last-level cache: the bound holds for inputs that start in memory")
    return notes
