"""Owns what a driver says of a card, and comparing it with a spec; pure, asks no driver itself."""

from collections.abc import Iterable

from deep_agent.problem.spec import DeviceSpec
from deep_agent.problem.value import FrozenValue

CLOCK_TOLERANCE = 0.005
"""Clocks come in steps of 15 MHz and are rounded on the way."""
MEMORY_TOLERANCE = 0.03
"""A driver keeps a little of the memory for itself and for error correction."""


class CardFacts(FrozenValue):
    """One card of this machine, as its driver describes it; None for what could not be asked."""

    name: str
    sm_count: int | None = None
    sm_clock_max_hz: float | None = None
    memory_clock_hz: float | None = None
    memory_bus_bits: int | None = None
    l2_bytes: int | None = None
    dram_bytes: int | None = None


class Comparison(FrozenValue):
    """A spec held against the card at hand."""

    agrees: tuple[str, ...]
    """Quantities that were found as the spec has them."""
    differs: tuple[str, ...]
    """Quantities that were not, with both figures."""
    unknown: tuple[str, ...]
    """Quantities that the driver did not say or the spec does not have."""


def compare(facts: CardFacts, spec: DeviceSpec) -> Comparison:
    """Hold a spec against what the driver says."""
    agrees, differs, unknown = [], [], []
    for what, found, expected, tolerance, scale, unit in _quantities(facts, spec):
        if found is None or expected is None:
            unknown.append(what)
        elif abs(found - expected) <= tolerance * expected:
            agrees.append(what)
        else:
            differs.append(f"{what} {found / scale:,.6g}{unit} here, {expected / scale:,.6g}{unit} in the spec")
    return Comparison(agrees=tuple(agrees), differs=tuple(differs), unknown=tuple(unknown))


_Quantity = tuple[str, float | None, float | None, float, float, str]
"""Name, found, expected, relative tolerance, divisor to show it, unit."""


def _quantities(facts: CardFacts, spec: DeviceSpec) -> Iterable[_Quantity]:
    return (
        ("multiprocessors", facts.sm_count, spec.sm_count, 0.0, 1, ""),
        ("SM clock", facts.sm_clock_max_hz, spec.sm_clock_max_hz, CLOCK_TOLERANCE, 1e6, " MHz"),
        ("memory clock", facts.memory_clock_hz, spec.memory_clock_hz, CLOCK_TOLERANCE, 1e6, " MHz"),
        ("memory bus", facts.memory_bus_bits, spec.memory_bus_bits, 0.0, 1, " bit"),
        ("memory bandwidth", _bandwidth(facts), spec.fastest_bytes_per_s(), MEMORY_TOLERANCE, 1e12, " TB/s"),
        ("L2", facts.l2_bytes, spec.l2_bytes, 0.0, 2**20, " MiB"),
        ("memory", facts.dram_bytes, spec.dram_bytes, MEMORY_TOLERANCE, 2**30, " GiB"),
    )


def _bandwidth(facts: CardFacts) -> float | None:
    if facts.memory_clock_hz is None or facts.memory_bus_bits is None:
        return None
    return facts.memory_clock_hz * 2 * facts.memory_bus_bits / 8
