"""Owns asking this machine's NVIDIA driver about its cards; runs nvidia-smi and loads libcuda, makes no context.

Never fails: what cannot be asked is None, and a machine without a card has none.
"""

import ctypes
import subprocess

from deep_agent.problem.cardfacts import CardFacts

ASK_TIMEOUT_S = 20.0
"""A driver that starts cold takes seconds."""
_QUERY = "name,pci.bus_id,clocks.max.sm,clocks.max.memory,memory.total"
_SM_COUNT, _BUS_WIDTH, _L2_BYTES = 16, 37, 38
"""CUdevice_attribute values of cuda.h."""


def found_cards() -> tuple[CardFacts, ...]:
    """List the NVIDIA cards of this machine, in the driver's order."""
    try:
        asked = subprocess.run(
            ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=ASK_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    if asked.returncode:
        return ()
    found = listed(asked.stdout)
    driver = _driver()
    return tuple(facts if driver is None else _completed(facts, driver, address) for facts, address in found)


def listed(text: str) -> tuple[tuple[CardFacts, str], ...]:
    """Read nvidia-smi's lines: facts and bus address of each card; lines of another form are skipped."""
    rows = ([cell.strip() for cell in line.split(",")] for line in text.splitlines())
    return tuple(
        (
            CardFacts(
                name=row[0],
                sm_clock_max_hz=_scaled(row[2], 1e6),
                memory_clock_hz=_scaled(row[3], 1e6),
                dram_bytes=None if (n_bytes := _scaled(row[4], 2**20)) is None else int(n_bytes),
            ),
            row[1],
        )
        for row in rows
        if len(row) == 5 and row[0]
    )


def _scaled(cell: str, unit: float) -> float | None:
    """Read a number; the driver writes words in brackets where it has none."""
    try:
        return float(cell) * unit
    except ValueError:
        return None


def _driver() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    return library if library.cuInit(0) == 0 else None


def _completed(facts: CardFacts, driver: ctypes.CDLL, address: str) -> CardFacts:
    """Add what only the driver's library says; nvidia-smi writes eight digits of domain, the library wants four."""
    device = ctypes.c_int()
    if driver.cuDeviceGetByPCIBusId(ctypes.byref(device), address[-12:].encode()):
        return facts
    return facts.model_copy(
        update={
            "sm_count": _attribute(driver, device, _SM_COUNT),
            "memory_bus_bits": _attribute(driver, device, _BUS_WIDTH),
            "l2_bytes": _attribute(driver, device, _L2_BYTES),
        }
    )


def _attribute(driver: ctypes.CDLL, device: ctypes.c_int, attribute: int) -> int | None:
    value = ctypes.c_int()
    failed = driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
    return value.value if not failed and value.value > 0 else None
