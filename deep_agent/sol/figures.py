"""Owns the kinds of bounds beside the strict one: gate, capacity, unfused, published-compatible; pure.

Each is an honest bound of a different question; docs/bounds.md says which to use when.
"""

from math import inf, sqrt

from deep_agent.problem.bound import Figures, SolBound, Work
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.dtype import DType
from deep_agent.sol.ledger import Entry, Ledger
from deep_agent.sol.roofline import margin

COMPAT_CLOCK_HZ = 1.5e9
COMPAT_BYTES_PER_CYCLE = 5_111.6
COMPAT_FIXED_US = 0.4
COMPAT_MACS_PER_CYCLE = {2.0: 603_751, 1.0: 1_207_501, 0.5: 2_415_000}
"""Bytes an element -> multiply-adds a cycle of the published B200: fp16, fp8, nvfp4. Source: SOLAR 1.1.0."""

_FP8 = frozenset({DType.FLOAT8_E4M3FN, DType.FLOAT8_E5M2})
_FP4 = frozenset({DType.FLOAT4_E2M1, DType.FLOAT4_E2M1FN_X2})


def figures(strict: SolBound, device: DeviceModel, entries: Ledger | None) -> Figures:
    """Compute every kind of bound of one workload.

    Args:
        strict: the bound that scores use, already computed.
        device: the rates it was computed from.
        entries: the graph's ledger; None where there is no graph, and then `unfused_us` is None too.
    """
    proves = device.bound_kind == "sheet" and not (entries is not None and entries.may_hide_work)
    return Figures(
        strict_us=strict.time_us,
        gate_us=gate_us(strict.work, device, entries) if proves else None,
        capacity_us=max(strict.time_us, _capacity_us(device, entries)),
        unfused_us=None if entries is None else max(strict.time_us, _unfused_us(device, entries)),
        compat_us=compat_us(strict.work, entries) if device.kind == "cuda" else None,
    )


def gate_us(work: Work, device: DeviceModel, entries: Ledger | None) -> float:
    """Give the time below which a result is physically impossible.

    Multiply-adds run at the fastest rate of any type, because a narrower type is a question of precision and not
    of physics; stride-1 convolutions by minimal filtering; those whose order is free not at all; and as many output
    bytes as the last-level cache holds are not charged, since they may still lie there when the kernel ends.
    """
    fastest = max(device.mac_per_s.values(), default=inf)
    macs = sum(macs for dtype, macs in work.macs.items() if dtype in device.mac_per_s)
    if entries is not None:
        macs -= sum(entry.macs - entry.least_macs for entry in entries.entries if entry.dtype in device.mac_per_s)
    moved_bytes = work.moved_bytes - min(work.written_bytes, device.last_level_cache_bytes)
    return max(moved_bytes / device.fastest_bytes_per_s(), max(macs, 0.0) / fastest) * 1e6


def compat_us(work: Work, entries: Ledger | None) -> float:
    """Give what the published model would say: one width and one rate a graph, B200 constants, 0.4 us on top."""
    width = _compat_width(work)
    n_bytes = work.moved_bytes if entries is None else entries.external_elements * width
    cycles = max(sum(work.macs.values()) / COMPAT_MACS_PER_CYCLE[width], n_bytes / COMPAT_BYTES_PER_CYCLE)
    return cycles / COMPAT_CLOCK_HZ * 1e6 + COMPAT_FIXED_US


def _compat_width(work: Work) -> float:
    if _FP4 & set(work.macs):
        return 0.5
    return 1.0 if _FP8 & set(work.macs) else 2.0


def _unfused_us(device: DeviceModel, entries: Ledger) -> float:
    """Sum the operations, each by itself limited by its bytes or its multiply-adds."""
    seconds = sum(
        max(entry.moved_bytes / device.fastest_bytes_per_s(), _compute_s(entry, device)) for entry in entries.entries
    )
    return seconds / margin(device) * 1e6


def _compute_s(entry: Entry, device: DeviceModel) -> float:
    return 0.0 if entry.dtype is None else entry.macs / device.peak_mac_per_s(entry.dtype)


def _capacity_us(device: DeviceModel, entries: Ledger | None) -> float:
    """Give the time of the bytes that the worst single matrix product must move through a finite cache."""
    products = () if entries is None else (entry for entry in entries.entries if entry.is_matrix_product)
    most = max((capacity_bytes(entry, device.last_level_cache_bytes) for entry in products), default=0.0)
    return most / device.fastest_bytes_per_s() / margin(device) * 1e6


def capacity_bytes(entry: Entry, cache_bytes: int) -> float:
    """Give the bytes one product of M N K multiply-adds moves past S elements of fast memory: 2MNK/sqrt(S) - 2S.

    Holds for the classical algorithm and for operands that are not recomputed. Batches add their products.
    """
    if entry.dtype is None or cache_bytes <= 0:
        return 0.0
    width = max(entry.dtype.bits, 8) / 8
    held = cache_bytes / width
    return max(0.0, 2 * entry.macs / sqrt(held) - 2 * held) * width
