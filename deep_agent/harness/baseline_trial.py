"""Times a problem's baselines side by side, to find the best. Reads a clock; loads torch through the arms.

Their rounds are interleaved, so that no baseline looks best because its neighbours were quiet just then.
"""

import time
from collections.abc import Callable, Sequence
from random import Random
from statistics import median
from typing import Final

from deep_agent.harness.answers.stage import Stage
from deep_agent.harness.arms.arm import ArmFailed
from deep_agent.harness.baseline_arms import BaselineArm
from deep_agent.harness.timing.timers import Overhead, Timer

_ROUNDS: Final = 9
_OUT_OF_REACH: Final = 1.6
"""A baseline this many times slower than the best after a few rounds is timed no further."""
_LEAST_ROUNDS: Final = 3
_TOO_CLOSE: Final = 1.15
"""Baselines within this ratio of the best are timed on: whoever picks the wrong one calls the right one faster."""
_MORE_ROUNDS: Final = 18
_MORE_S: Final = 2.0
"""At most for timing on."""


def time_side_by_side(timer: Timer, stage: Stage, entries: Sequence[BaselineArm], chance: Random) -> None:
    """Time the running baselines of one workload in interleaved rounds; their medians go into `time_us`.

    One that breaks keeps its failure and no times; the others go on.
    """
    trial = _Trial(timer, stage, entries, chance)
    trial.visit_all(entries, n_rounds=_LEAST_ROUNDS)
    trial.visit_all(trial.within(_OUT_OF_REACH, of=min), n_rounds=_ROUNDS - _LEAST_ROUNDS)
    close = trial.within(_TOO_CLOSE, of=_lower_quartile)
    if len(close) > 1:
        trial.visit_all(close, n_rounds=_MORE_ROUNDS, most_s=_MORE_S)
    trial.conclude()


class _Trial:
    """What is seen of the baselines of one workload."""

    def __init__(self, timer: Timer, stage: Stage, entries: Sequence[BaselineArm], chance: Random) -> None:
        self._timer = timer
        self._stage = stage
        self._entries = entries
        self._chance = chance
        self._uuid = stage.workload.uuid
        self._visits_us: dict[str, list[float]] = {entry.source.name: [] for entry in entries}
        self._overhead = self._time_overhead()

    def _time_overhead(self) -> Overhead:
        """Time what a visit costs, on the first arm that lives through it."""
        for entry in self._entries:
            try:
                return self._timer.overhead(entry.desks[self._uuid])
            except ArmFailed as failure:
                entry.fail(failure.reason)
        # Nobody is left whom it could be taken off.
        return Overhead(0.0)

    def visit_all(self, chosen: Sequence[BaselineArm], *, n_rounds: int, most_s: float | None = None) -> None:
        """Visit those that still run, each round in random order; after `most_s` seconds no new round begins."""
        order = list(chosen)
        started_s = time.monotonic()
        for _ in range(n_rounds):
            if most_s is not None and time.monotonic() - started_s > most_s:
                break
            self._chance.shuffle(order)
            for entry in order:
                self._visit(entry)

    def _visit(self, entry: BaselineArm) -> None:
        if entry.failure:
            return
        try:
            timing, _ = self._timer.visit(self._stage, entry.desks[self._uuid], self._overhead, check=False)
        except ArmFailed as failure:
            entry.fail(failure.reason)
        else:
            self._visits_us[entry.source.name].append(timing.wall_us)

    def within(self, factor: float, *, of: Callable[[Sequence[float]], float]) -> list[BaselineArm]:
        """Give those that still run and are within this ratio of the quickest, by a figure of their visits."""
        figures = [(entry, of(self._visits_us[entry.source.name])) for entry in self._entries if not entry.failure]
        return [entry for entry, figure in figures if figure < factor * min(least for _, least in figures)]

    def conclude(self) -> None:
        """Write the times of those that still run into them."""
        for entry in self._entries:
            if not entry.failure:
                visits_us = self._visits_us[entry.source.name]
                entry.time_us[self._uuid] = median(visits_us)
                entry.quick_us[self._uuid] = _lower_quartile(visits_us)


def _lower_quartile(times_us: Sequence[float]) -> float:
    return sorted(times_us)[len(times_us) // 4]
