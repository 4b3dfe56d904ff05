"""Owns asking `perf stat` for a running process's counters and reading its answer. Pure: gives command lines, reads text."""

from dataclasses import dataclass
from typing import Final

EVENTS: Final = (
    "task-clock",
    "page-faults",
    "context-switches",
    "cycles",
    "instructions",
    "branch-misses",
    "cache-references",
    "cache-misses",
)
SOFTWARE: Final = frozenset({"task-clock", "page-faults", "context-switches"})
"""Counted by the kernel; the others need a hardware counter that virtual machines often lack."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What perf counted of one process."""

    values: dict[str, float]
    """Event -> count; task-clock in milliseconds."""
    missing: tuple[str, ...]
    """Events that this machine does not count."""

    @property
    def instructions_per_cycle(self) -> float | None:
        """None where either is not counted."""
        cycles, instructions = self.values.get("cycles"), self.values.get("instructions")
        return instructions / cycles if cycles and instructions is not None else None


def perf_command(perf: str, pid: int, report: str) -> list[str]:
    """Give the command that counts a process until it is interrupted; the counts go to a file, as `-x,` CSV."""
    return [perf, "stat", "-x", ",", "-o", report, "-e", ",".join(EVENTS), "-p", str(pid)]


def parse_perf(report: str) -> Counts:
    """Read `perf stat -x,`: value, unit, event and more, a line an event.

    Events may come back with a suffix for what was counted (`cycles:u`) or for a kind of core (`cpu_core/cycles/`).
    """
    values: dict[str, float] = {}
    for line in report.splitlines():
        cells = line.split(",")
        if line.startswith("#") or len(cells) < 3:
            continue
        event = next((one for one in EVENTS if one in cells[2].replace("/", ":").split(":")), None)
        try:
            count = float(cells[0])
        except ValueError:
            # `<not supported>`, `<not counted>`
            continue
        if event is not None:
            values[event] = values.get(event, 0.0) + count
    return Counts(values, tuple(event for event in EVENTS if event not in values))
