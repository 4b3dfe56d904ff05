"""Owns the trusted arms that run a problem's baselines: start, check, time side by side. Loads torch.

Starting one may take a compiler's time and needs no device; timing them is interleaved, so that no baseline
looks best because its neighbours were quiet just then.
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from random import Random
from statistics import median
from typing import Final

from deep_agent.harness.answers.stage import Desk, Stage
from deep_agent.harness.arms.arm import Arm, ArmFailed, ArmLimits, Zygote, blaming
from deep_agent.harness.arms.loading import load
from deep_agent.harness.arms.places import Place
from deep_agent.harness.baselines import BaselineSource
from deep_agent.harness.sandbox.wire import Verb
from deep_agent.harness.timing.timers import Timer
from deep_agent.problem.definition import Definition

OPEN_TIMEOUT_S: Final = 60.0
BASELINE_TIMEOUT_S: Final = 240.0
"""For loading and first calls: torch.compile runs a compiler then."""
TRIAL_ROUNDS: Final = 9
_OUT_OF_REACH: Final = 1.6
"""A baseline this many times slower than the best after a few rounds is timed no further."""
_LEAST_ROUNDS: Final = 3
_TOO_CLOSE: Final = 1.15
"""Baselines within this ratio of the best are timed on: whoever picks the wrong one calls the right one faster."""
_MORE_ROUNDS: Final = 18
_MORE_S: Final = 2.0
"""At most for timing on."""

_NAMES_ERROR: Final = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Failed|Unsupported)\b.*: .")
"""As a traceback ends; the library's compiler adds advice below."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """What every bench of a judge shares."""

    zygote: Zygote
    place: Place
    timer: Timer
    n_threads: int
    limits: ArmLimits

    def fork_crew(self, n_arms: int) -> list[Arm]:
        """Fork confined arms of one age: on a device they open their contexts side by side, which takes as long as one.

        Raises:
            HarnessFailed: an arm could not be forked, or could not open the device.
        """
        with ExitStack() as failed:
            arms = []
            for _ in range(n_arms):
                arms.append(self.fork(confine=True))
                failed.callback(arms[-1].close)
            if self.place.index is not None:
                self._open_together(arms, self.place.index)
            failed.pop_all()
        return arms

    def _open_together(self, arms: Sequence[Arm], index: int) -> None:
        def opened(arm: Arm) -> None:
            with blaming("new"):
                arm.ask(Verb.OPEN, {"device": index}, timeout_s=OPEN_TIMEOUT_S)

        with ThreadPoolExecutor(len(arms)) as pool:
            for asked in [pool.submit(opened, arm) for arm in arms]:
                asked.result()

    def fork(self, *, confine: bool) -> Arm:
        """Fork an arm for this device; confined ones may run candidate code. Raises HarnessFailed."""
        on_device = self.place.index is not None
        return self.zygote.fork(self.limits, confine=confine, n_threads=self.n_threads, on_device=on_device)


@dataclass(slots=True)
class BaselineArm:
    """A trusted arm with one baseline, and its desk at each stage it can serve."""

    source: BaselineSource
    arm: Arm
    desks: dict[str, Desk] = field(default_factory=dict)
    """Workload uuid -> desk."""
    time_us: dict[str, float] = field(default_factory=dict)
    """Workload uuid -> median of the trial."""
    quick_us: dict[str, float] = field(default_factory=dict)
    """Workload uuid -> lower quartile of the trial: load only ever adds time, so this says best which is fastest."""
    failure: str = ""

    @property
    def collects(self) -> bool:
        """Whether results are returned."""
        return not self.source.solution.spec.destination_passing_style

    @property
    def has_died(self) -> bool:
        """Whether its process ended in a call, instead of saying what was wrong."""
        return self.failure.startswith("the process died")

    def close(self) -> None:
        """End the arm and give its outputs back; idempotent."""
        self.arm.close()
        for desk in self.desks.values():
            desk.close()
        self.desks.clear()


def start_baseline(
    workplace: Workplace, source: BaselineSource, definition: Definition, stages: Mapping[str, Stage]
) -> BaselineArm:
    """Start a baseline, compile it where it compiles, and check its results; a failure is kept, not raised.

    Raises:
        HarnessFailed: no arm could be forked.
    """
    arm = workplace.fork(confine=False)
    entry = BaselineArm(source, arm)
    try:
        load(arm, source.solution, definition, workplace.n_threads, artefact=None, timeout_s=BASELINE_TIMEOUT_S)
        for uuid, stage in stages.items():
            entry.desks[uuid] = stage.seat(arm, collects=entry.collects, call_timeout_s=BASELINE_TIMEOUT_S)
            _warm_and_check(stage, entry.desks[uuid])
    except ArmFailed as failure:
        entry.failure = error_line(failure.reason)
        entry.close()
    except BaseException:
        # The judge's own reference or memory may fail too, and nobody else knows of this arm yet.
        entry.close()
        raise
    return entry


def error_line(reason: str) -> str:
    """Give the line of an arm's last words that names the error: the last such one, else the last line of all."""
    lines = [line.strip() for line in reason.strip().splitlines()] or ["it failed"]
    return next((line for line in reversed(lines) if _NAMES_ERROR.match(line)), lines[-1])


def _warm_and_check(stage: Stage, desk: Desk) -> None:
    # With every input set: scalars may differ from one to the next, and each is another compilation.
    for turn in range(max(desk.n_warm_calls, stage.n_sets)):
        stage.call(desk, None, index=turn % stage.n_sets)
    _, chosen = stage.call(desk, None)
    found = stage.check(desk, chosen, quick=True)
    if not found.matches:
        raise ArmFailed(f"its result differs from the reference's: {found.message}")


def time_side_by_side(workplace: Workplace, stage: Stage, entries: Sequence[BaselineArm], chance: Random) -> None:
    """Time the running baselines of one workload in interleaved rounds; their medians go into `time_us`.

    Raises:
        ArmFailed: one of them broke, with its name: without it, the best of the others would pass for the library's best.
    """
    uuid = stage.workload.uuid
    visits: dict[str, list[float]] = {entry.source.name: [] for entry in entries}
    running = list(entries)
    with _naming(running[0]):
        overhead = workplace.timer.overhead(running[0].desks[uuid])

    def visit_all(chosen: list[BaselineArm]) -> None:
        chance.shuffle(chosen)
        for entry in chosen:
            with _naming(entry):
                timing, _ = workplace.timer.visit(stage, entry.desks[uuid], overhead, check=False)
            visits[entry.source.name].append(timing.wall_us)

    for n_round in range(TRIAL_ROUNDS):
        visit_all(running)
        if n_round + 1 == _LEAST_ROUNDS:
            least_us = min(min(visits[entry.source.name]) for entry in running)
            running = [one for one in running if min(visits[one.source.name]) < _OUT_OF_REACH * least_us]
    quick_us = {one.source.name: _lower_quartile(visits[one.source.name]) for one in running}
    close = [one for one in running if quick_us[one.source.name] < _TOO_CLOSE * min(quick_us.values())]
    until_s = time.monotonic() + _MORE_S
    for _ in range(_MORE_ROUNDS if len(close) > 1 else 0):
        if time.monotonic() > until_s:
            break
        visit_all(close)
    for entry in entries:
        ordered = sorted(visits[entry.source.name])
        entry.time_us[uuid] = median(ordered)
        entry.quick_us[uuid] = _lower_quartile(ordered)


@contextmanager
def _naming(entry: BaselineArm) -> Iterator[None]:
    """Say which baseline broke."""
    try:
        yield
    except ArmFailed as failure:
        raise ArmFailed(f"{entry.source.name}: {error_line(failure.reason)}") from failure


def _lower_quartile(times_us: Sequence[float]) -> float:
    return sorted(times_us)[len(times_us) // 4]
