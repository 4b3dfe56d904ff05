"""Owns a problem on the bench: reference, input sets, trusted baseline arms and hidden cases. Loads torch.

A bench is set up once and serves many verdicts; solutions come and go in arms of their own. Every bench has a
secret seed, and a new bench means new inputs, addresses and processes for everything.
"""

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import median
from typing import Final

import torch

from deep_agent.errors import HarnessFailed, InvalidInput
from deep_agent.harness.arm import Arm, ArmFailed, ArmLimits, Zygote
from deep_agent.harness.baselines import BaselineSource, baseline_sources
from deep_agent.harness.examination import HiddenCase, hidden_cases
from deep_agent.harness.inputs import Case
from deep_agent.harness.loading import load
from deep_agent.harness.reference import Reference
from deep_agent.harness.stage import CacheFlush, Desk, Stage, make_input_set
from deep_agent.problem.evaluation import Baseline
from deep_agent.problem.problem import Problem
from deep_agent.problem.solution import Solution
from deep_agent.problem.workload import Workload

N_INPUT_SETS: Final = 2
N_HIDDEN_CASES: Final = 6
BASELINE_TIMEOUT_S: Final = 240.0
"""For loading and first call: torch.compile runs a compiler then."""
_TRIAL_ROUNDS: Final = 5

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Workplace:
    """What every bench of a judge shares."""

    zygote: Zygote
    flush: CacheFlush
    n_threads: int
    limits: ArmLimits


@dataclass(slots=True)
class BaselineArm:
    """A trusted arm with one baseline, and its desk at each stage it can serve."""

    source: BaselineSource
    arm: Arm
    desks: dict[str, Desk] = field(default_factory=dict)
    """Workload uuid -> desk."""
    time_us: dict[str, float] = field(default_factory=dict)
    """Workload uuid -> median of the trial."""
    failure: str = ""

    @property
    def collects(self) -> bool:
        """Whether results are returned."""
        return not self.source.solution.spec.destination_passing_style


class Bench:
    """One problem set up for judging; used by the thread that holds the device."""

    def __init__(
        self, workplace: Workplace, problem: Problem, progress: Progress, *, only: Collection[str] | None = None
    ) -> None:
        """Draw inputs, check the reference on them, start and try the baselines.

        Args:
            workplace: shared by all benches.
            problem: what is judged.
            progress: told each step in a few words.
            only: names of the baselines to try; None for all.

        Raises:
            InvalidInput: the reference raises, or returns something undeclared or not a number.
            HarnessFailed: no baseline runs although the reference does.
        """
        self.seed = secrets.token_hex(16)
        self.chance = Random(self.seed)
        self.problem = problem
        self._workplace = workplace
        progress("checking the reference")
        self.reference = Reference(problem.definition)
        self.stages: dict[str, Stage] = {}
        self._arms: list[BaselineArm] = []
        self._twins: dict[str, BaselineArm] = {}
        self.hidden: tuple[HiddenCase, ...] = ()
        try:
            for workload in problem.workloads:
                self.stages[workload.uuid] = self._stage(workload)
            self.hidden = hidden_cases(self.reference, problem.workloads, self.chance, n_cases=N_HIDDEN_CASES)
            for source in baseline_sources(problem.definition):
                if only is not None and source.name not in only:
                    continue
                progress(f"preparing the baseline {source.name}")
                self._arms.append(self._try(source))
            self.best = self._choose()
        except BaseException:
            self.close()
            raise

    def _stage(self, workload: Workload) -> Stage:
        sets = [make_input_set(self.reference, Case(workload), self.chance) for _ in range(N_INPUT_SETS)]
        stage = Stage(self.reference, workload, sets, self.chance)
        results = self.reference(list(sets[0].arguments.values()))
        _check_reference(self.problem, workload, results)
        return stage

    def _try(self, source: BaselineSource, *, n_trials: int = _TRIAL_ROUNDS) -> BaselineArm:
        """Start a baseline, check it and time it a few times at each stage; a failure is kept, not raised."""
        workplace = self._workplace
        arm = workplace.zygote.fork(workplace.limits, confine=False, n_threads=workplace.n_threads)
        entry = BaselineArm(source, arm)
        definition = self.problem.definition
        try:
            load(arm, source.solution, definition, workplace.n_threads, artefact=None, timeout_s=BASELINE_TIMEOUT_S)
            for uuid, stage in self.stages.items():
                entry.desks[uuid] = stage.seat(arm, collects=entry.collects, call_timeout_s=BASELINE_TIMEOUT_S)
                entry.time_us[uuid] = self._trial(stage, entry.desks[uuid], n_trials)
        except ArmFailed as failure:
            entry.failure = failure.reason.strip().splitlines()[-1] if failure.reason.strip() else "it failed"
            self._dismiss(entry)
            entry.time_us = {}
        return entry

    def _trial(self, stage: Stage, desk: Desk, n_trials: int) -> float:
        stage.call(desk, None)
        _, chosen = stage.call(desk, None)
        found = stage.check(desk, chosen, quick=True)
        if not found.matches:
            raise ArmFailed(f"its result differs from the reference's: {found.message}")
        for _ in range(desk.n_warm_calls):
            stage.call(desk, None)
        return median(stage.call(desk, self._workplace.flush)[0].wall_us for _ in range(n_trials))

    def _choose(self) -> dict[str, BaselineArm]:
        best: dict[str, BaselineArm] = {}
        for uuid in self.stages:
            running = [entry for entry in self._arms if uuid in entry.time_us]
            if not running:
                reasons = "; ".join(f"{entry.source.name}: {entry.failure}" for entry in self._arms)
                raise HarnessFailed(f"no baseline of {self.problem.name!r} runs: {reasons}")
            best[uuid] = min(running, key=lambda entry: entry.time_us[uuid])
        return best

    def twin(self, uuid: str) -> Desk:
        """Give the desk of a second arm with the same best baseline, started when first asked for.

        Raises:
            HarnessFailed: the twin does not run although the baseline does.
        """
        source = self.best[uuid].source
        if source.name not in self._twins:
            self._twins[source.name] = self._try(source, n_trials=1)
        twin = self._twins[source.name]
        if uuid not in twin.desks:
            raise HarnessFailed(f"the twin of baseline {source.name} of {self.problem.name!r} fails: {twin.failure}")
        return twin.desks[uuid]

    def is_baseline(self, solution: Solution) -> bool:
        """Whether a solution is one of the library's own calls, as this bench writes them."""
        return any(solution.content_hash == entry.source.solution.content_hash for entry in self._arms)

    def baselines(self) -> tuple[Baseline, ...]:
        """Report every baseline that was tried."""
        return tuple(
            Baseline(
                name=entry.source.name,
                solution=entry.source.solution if entry.time_us else None,
                time_us=dict(entry.time_us),
                failure=entry.failure,
            )
            for entry in self._arms
        )

    @property
    def footprint_bytes(self) -> int:
        """Shared memory the bench holds."""
        regions = [desk.outputs for entry in self._all_arms() for desk in entry.desks.values()]
        return sum(region.n_bytes for region in regions) + sum(stage.input_bytes for stage in self.stages.values())

    def _all_arms(self) -> Sequence[BaselineArm]:
        return (*self._arms, *self._twins.values())

    def _dismiss(self, entry: BaselineArm) -> None:
        entry.arm.close()
        for desk in entry.desks.values():
            desk.outputs.close()
        entry.desks.clear()

    def close(self) -> None:
        """End the baseline arms and give all memory back; idempotent."""
        for entry in self._all_arms():
            self._dismiss(entry)
        for stage in (*self.stages.values(), *(case.stage for case in self.hidden)):
            stage.close()
        self.stages = {}
        self.hidden = ()


def _check_reference(problem: Problem, workload: Workload, results: Sequence[torch.Tensor]) -> None:
    definition = problem.definition
    sizes = definition.sizes(workload.axes)
    for (name, spec), value in zip(definition.outputs.items(), results, strict=True):
        declared = (definition.shape(name, sizes), f"torch.{spec.dtype.value}")
        if (tuple(value.shape), str(value.dtype)) != declared and not spec.is_scalar:
            raise InvalidInput(
                f"definition {definition.name!r}: the reference returns {name} as {tuple(value.shape)} {value.dtype}, "
                f"declared {declared[0]} {spec.dtype.value} (workload {workload.uuid!r}).",
                remedy="Correct outputs or the reference.",
            )
        if bool(torch.isnan(value.double()).any()):
            raise InvalidInput(
                f"definition {definition.name!r}: the reference returns NaN in {name} (workload {workload.uuid!r}).",
                remedy="Correct the reference, or give inputs on which it is defined.",
            )
