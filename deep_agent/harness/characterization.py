"""Owns what is measured of a bench before any candidate: times of its baselines, and this machine's noise. Loads torch."""

import time
from contextlib import AbstractContextManager
from typing import Final

from deep_agent.errors import HarnessFailed
from deep_agent.harness.arms.arm import ArmFailed
from deep_agent.harness.baseline_arms import Workplace
from deep_agent.harness.bench import Bench, Progress
from deep_agent.harness.timing.rounds import Rounds, protocol_of
from deep_agent.harness.timing.statistics import log_ratios, ratio
from deep_agent.problem.evaluation import Characterization, Ratio
from deep_agent.problem.trace import EvaluationStatus

_BROKE: Final = (EvaluationStatus.RUNTIME_ERROR, EvaluationStatus.TIMEOUT)


def characterized(
    workplace: Workplace, bench: Bench, device: str, hold: AbstractContextManager[object], progress: Progress
) -> Characterization:
    """Time a bench's baselines and what this machine calls a difference; see the `Judge` port.

    Args:
        workplace: where the bench was set up.
        bench: set up, and held by its lock.
        device: as it was asked for.
        hold: entered for each of the two measurements; nothing else may work on the device within it.
        progress: told each step in a few words.

    Raises:
        HarnessFailed: a baseline or its twin broke.
    """
    progress("timing the baselines side by side")
    with hold:
        started_s = time.perf_counter()
        bench.time_baselines()
        timed_s = time.perf_counter() - started_s
    progress("starting the twin of the best baseline")
    bench.start_twins()
    progress("measuring the noise of this machine")
    with hold:
        started_s = time.perf_counter()
        noise = _noise(workplace, bench)
        noise_s = time.perf_counter() - started_s
    return Characterization(
        problem=bench.problem.name,
        device=device,
        baselines=bench.baselines(),
        best={uuid: entry.source.name for uuid, entry in bench.best.items()},
        noise=noise,
        device_s=timed_s + noise_s,
    )


def _noise(workplace: Workplace, bench: Bench) -> Ratio:
    """A/A: the best baseline against its twin at every workload, in one set of rounds each; raises HarnessFailed."""
    samples = []
    for uuid, stage in bench.stages.items():
        desks = {"baseline": bench.best[uuid].desks[uuid], "candidate": bench.twin(uuid).desks[uuid]}
        rounds = Rounds(stage, desks, workplace.timer, bench.chance, lambda: False)
        protocol = protocol_of("screen", on_device=workplace.place.index is not None)
        try:
            rounds.warm()
            measured, found = rounds.measure(protocol, ())
        except ArmFailed as failure:
            raise _twin_broke(bench, uuid, failure.reason) from failure
        both_us = [measured.wall_us(arm) for arm in desks]
        # What is held against a candidate that did not break says nothing of the library's own call, unless it ended a round.
        if found is not None and (found.status in _BROKE or len(both_us[0]) != len(both_us[1]) or not both_us[0]):
            raise _twin_broke(bench, uuid, found.message)
        samples.append(log_ratios(*both_us))
    return ratio(samples, resolution=workplace.timer.resolution)


def _twin_broke(bench: Bench, uuid: str, why: str) -> HarnessFailed:
    return HarnessFailed(
        f"the twin of {bench.best[uuid].source.name} of {bench.problem.name!r} broke: {why}",
        remedy="Ask again; where that does not help, the reason says what the library's own call lacks.",
    )
