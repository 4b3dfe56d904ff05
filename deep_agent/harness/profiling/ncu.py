"""Owns asking Nsight Compute for counters and reading its answer. Pure: gives command lines, reads text.

Both shapes of its CSV are read: a line a metric (the default page) and a line a launch with a row of units
(`--page raw`). What stands before the heading is the tool's talk and is passed over.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

DURATION: Final = "gpu__time_duration.sum"
DRAM: Final = "dram__throughput.avg.pct_of_peak_sustained_elapsed"
L2: Final = "lts__throughput.avg.pct_of_peak_sustained_elapsed"
L1: Final = "l1tex__throughput.avg.pct_of_peak_sustained_elapsed"
SM: Final = "sm__throughput.avg.pct_of_peak_sustained_elapsed"
TENSOR: Final = "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_elapsed"
ISSUE: Final = "smsp__issue_active.avg.pct_of_peak_sustained_active"
WARPS: Final = "sm__warps_active.avg.pct_of_peak_sustained_active"
WAIT_MEMORY: Final = "smsp__average_warps_issue_stalled_long_scoreboard_per_issue_active.ratio"
WAIT_BARRIER: Final = "smsp__average_warps_issue_stalled_barrier_per_issue_active.ratio"
WAVES: Final = "launch__waves_per_multiprocessor"
REGISTERS: Final = "launch__registers_per_thread"
STATIC_SHARED: Final = "launch__shared_mem_per_block_static"
DYNAMIC_SHARED: Final = "launch__shared_mem_per_block_dynamic"
METRICS: Final = (
    DURATION,
    DRAM,
    L2,
    L1,
    SM,
    TENSOR,
    ISSUE,
    WARPS,
    WAIT_MEMORY,
    WAIT_BARRIER,
    WAVES,
    REGISTERS,
    STATIC_SHARED,
    DYNAMIC_SHARED,
)
"""What is collected, and all that the rules read."""
_PER_METRIC: Final = ("Metric Name", "Metric Unit", "Metric Value")
_LARGEST: Final = 1e15
"""No counter of one launch comes near it; what is larger, negative or no number was not counted."""
_UNIT_CHARS: Final = 24
_US: Final = {
    "ns": 1e-3,
    "nsecond": 1e-3,
    "us": 1.0,
    "usecond": 1.0,
    "ms": 1e3,
    "msecond": 1e3,
    "s": 1e6,
    "second": 1e6,
}


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter of one launch."""

    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of a GPU function, with what was counted of it."""

    name: str
    counters: Mapping[str, Counter]

    @property
    def time_us(self) -> float:
        """Under the profiler; 0 where it was not counted. No score rests on it."""
        counter = self.counters.get(DURATION)
        return 0.0 if counter is None else counter.value * _US.get(counter.unit, 0.0)


def ncu_command(ncu: str, target: Sequence[str], *, report: str, n_launches: int) -> list[str]:
    """Give the command that profiles a program.

    Counted is what the program launches between its calls of cudaProfilerStart and cudaProfilerStop, so that loading
    and warming up are left out. Clocks are left as they are, caches are emptied before each pass, and the table goes to a file of its own, so
    that nothing the program prints can pass for a counter.

    Args:
        ncu: the tool.
        target: the program and its arguments.
        report: file for the table.
        n_launches: launches to profile at most.
    """
    return [
        ncu,
        "--clock-control",
        "none",
        "--cache-control",
        "all",
        "--target-processes",
        "all",
        "--profile-from-start",
        "off",
        "--launch-count",
        str(n_launches),
        "--metrics",
        ",".join(METRICS),
        "--print-units",
        "base",
        "--csv",
        "--log-file",
        report,
        *target,
    ]


def parse_ncu(report: str) -> tuple[Launch, ...]:
    """Read the launches of a table, in their order; counters that the device lacks (`n/a`) are left out."""
    lines = report.splitlines()
    start = next((number for number, line in enumerate(lines) if line.lstrip().startswith('"ID",')), None)
    if start is None:
        return ()
    table = csv.DictReader(io.StringIO("\n".join(line for line in lines[start:] if line.lstrip().startswith('"'))))
    try:
        rows = [{key: cell or "" for key, cell in row.items() if key is not None} for row in table]
    except csv.Error:
        # The counted program can write here too; the tool's own tables are always read.
        return ()
    is_long = set(_PER_METRIC) <= set(table.fieldnames or ())
    found: dict[str, tuple[str, dict[str, Counter]]] = {}
    for launch, name, metric, unit, written in _long(rows) if is_long else _wide(rows):
        counters = found.setdefault(launch, (name, {}))[1]
        value = _number(written)
        if metric in METRICS and value is not None:
            counters[metric] = Counter(value, unit[:_UNIT_CHARS])
    return tuple(Launch(name, counters) for name, counters in found.values())


_Cell = tuple[str, str, str, str, str]


def _long(rows: Sequence[Mapping[str, str]]) -> Iterator[_Cell]:
    for row in rows:
        name, unit, value = (row[column] for column in _PER_METRIC)
        yield row["ID"], row.get("Kernel Name", ""), name, unit, value


def _wide(rows: Sequence[Mapping[str, str]]) -> Iterator[_Cell]:
    units: Mapping[str, str] = rows[0] if rows and not rows[0]["ID"] else {}
    for row in rows:
        if row["ID"]:
            for metric, value in row.items():
                yield row["ID"], row.get("Kernel Name", ""), metric, units.get(metric, ""), value


def _number(written: str) -> float | None:
    try:
        value = float(written.replace(",", ""))
    except ValueError:
        return None
    return value if 0.0 <= value <= _LARGEST else None
