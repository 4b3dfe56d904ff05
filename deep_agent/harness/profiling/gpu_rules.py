"""Owns naming what holds a solution back on an NVIDIA device, from Nsight Compute's counters. Pure.

The thresholds are those of the tool's own speed-of-light rules: from 60 % of a peak that unit is the limit; below
it everywhere, the launch waits.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from deep_agent.harness.profiling import ncu
from deep_agent.harness.profiling.ncu import Counter, Launch
from deep_agent.problem.profile import Bottleneck, Figure

NEAR_A_PEAK: Final = 60.0
"""Per cent of a peak from which a unit is what holds a launch back."""
FEW_WARPS: Final = 30.0
"""Per cent of the warps an SM can hold, below which waiting cannot be covered."""
_WORDS: Final = {
    ncu.DRAM: "DRAM throughput of peak",
    ncu.L2: "L2 throughput of peak",
    ncu.L1: "L1 and shared memory throughput of peak",
    ncu.SM: "SM throughput of peak",
    ncu.TENSOR: "tensor pipe busy",
    ncu.ISSUE: "cycles that issue an instruction",
    ncu.WARPS: "warps active of what an SM holds",
    ncu.WAIT_MEMORY: "warps waiting for memory at each issue",
    ncu.WAIT_BARRIER: "warps waiting at a barrier at each issue",
    ncu.WAVES: "waves of blocks over the SMs",
    ncu.REGISTERS: "registers a thread",
    ncu.STATIC_SHARED: "static shared memory a block",
    ncu.DYNAMIC_SHARED: "dynamic shared memory a block",
}
_RESOURCES: Final = (ncu.REGISTERS, ncu.STATIC_SHARED, ncu.DYNAMIC_SHARED)
_MEMORY: Final = (ncu.DRAM, ncu.L2, ncu.L1)
_ARITHMETIC: Final = (ncu.TENSOR, ncu.SM)


def heaviest(launches: Sequence[Launch]) -> tuple[Launch, float] | None:
    """Merge the launches of each function, weighted by their time, and give the one that takes most.

    Returns:
        The merged launch and its share of the whole time; None without launches.
    """
    by_name: dict[str, list[Launch]] = defaultdict(list)
    for launch in launches:
        by_name[launch.name].append(launch)
    if not by_name:
        return None
    whole_us = sum(launch.time_us for launch in launches)
    name, longest = max(by_name.items(), key=lambda entry: sum(one.time_us for one in entry[1]))
    share = sum(one.time_us for one in longest) / whole_us if whole_us else 1.0
    return Launch(name, _merged(longest)), share


def diagnose_launch(launch: Launch) -> tuple[Bottleneck, tuple[Figure, Figure, Figure]]:
    """Name the bottleneck of a launch and the three figures that say so; what was not counted has no value."""
    memory = max(_MEMORY, key=lambda name: _value(launch, name))
    arithmetic = max(_ARITHMETIC, key=lambda name: _value(launch, name))
    if not any(name in launch.counters for name in (*_MEMORY, *_ARITHMETIC)):
        return "unknown", _figures(launch, ncu.DRAM, ncu.SM, ncu.WARPS)
    if max(_value(launch, memory), _value(launch, arithmetic)) >= NEAR_A_PEAK:
        if _value(launch, memory) >= _value(launch, arithmetic):
            return "memory", _figures(launch, memory, arithmetic, ncu.WARPS)
        return "compute", _figures(launch, arithmetic, memory, ncu.ISSUE)
    if ncu.WAVES in launch.counters and _value(launch, ncu.WAVES) < 1.0:
        return "occupancy", _figures(launch, ncu.WAVES, ncu.WARPS, memory)
    if ncu.WARPS in launch.counters and _value(launch, ncu.WARPS) < FEW_WARPS:
        return "occupancy", _figures(launch, ncu.WARPS, ncu.REGISTERS, memory)
    waited = max((ncu.WAIT_MEMORY, ncu.WAIT_BARRIER), key=lambda name: _value(launch, name))
    return "latency", _figures(launch, ncu.ISSUE, waited, memory)


def launch_resource_figures(launch: Launch) -> tuple[Figure, ...]:
    """Give what a launch takes of an SM, as far as it was told."""
    return tuple(_figure(launch, name) for name in _RESOURCES if name in launch.counters)


def counter_figures(launch: Launch) -> tuple[Figure, ...]:
    """Give everything that was counted of a launch but its time, which is no timing."""
    return tuple(_figure(launch, name) for name in _WORDS if name in launch.counters)


def _value(launch: Launch, name: str) -> float:
    counter = launch.counters.get(name)
    return 0.0 if counter is None else counter.value


def _figures(launch: Launch, first: str, second: str, third: str) -> tuple[Figure, Figure, Figure]:
    return _figure(launch, first), _figure(launch, second), _figure(launch, third)


def _figure(launch: Launch, name: str) -> Figure:
    counter = launch.counters.get(name)
    if counter is None:
        return Figure(name=_WORDS[name], value=None, unit="")
    return Figure(name=_WORDS[name], value=counter.value, unit=counter.unit)


def _merged(launches: Sequence[Launch]) -> dict[str, Counter]:
    merged: dict[str, Counter] = {}
    for name in ncu.METRICS:
        weighed = [
            (one.counters[name], one.time_us if name != ncu.DURATION else 1.0)
            for one in launches
            if name in one.counters
        ]
        weight = sum(share for _, share in weighed)
        if weighed and weight:
            value = sum(counter.value * share for counter, share in weighed) / weight
            merged[name] = Counter(value, weighed[0][0].unit)
        elif weighed:
            merged[name] = weighed[0][0]
    return merged
