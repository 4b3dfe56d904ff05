"""Owns a problem on the bench: reference, input sets, trusted baseline arms and hidden cases. Loads torch.

A bench is set up once and serves many verdicts, one after the other; solutions come and go in arms of their own. Every
bench has a secret seed, and a new bench means new inputs, addresses and processes for everything. Setting up needs no
device; timing does.
"""

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from itertools import islice
from random import Random
from typing import Final

import torch

from deep_agent.errors import HarnessFailed, InvalidInput
from deep_agent.harness.answers.examination import HiddenCase, hidden_cases
from deep_agent.harness.answers.inputs import DISTRIBUTIONS, Case, Distribution
from deep_agent.harness.answers.reference import Reference
from deep_agent.harness.answers.stage import Stage, set_stage
from deep_agent.harness.arms.arm import ArmFailed
from deep_agent.harness.baseline_arms import BaselineArm, Workplace, start_baseline, time_side_by_side
from deep_agent.harness.baselines import BaselineSource, baseline_sources
from deep_agent.problem.evaluation import Baseline, BaselineChoice
from deep_agent.problem.footprint import workload_bytes
from deep_agent.problem.problem import Problem
from deep_agent.problem.solution import Solution
from deep_agent.problem.workload import CustomInput, Workload

N_HIDDEN_CASES: Final = 6
_SLOW_REFERENCE_S: Final = 2.0

Progress = Callable[[str], None]


class Bench:
    """One problem set up for judging; used by whoever holds its `lock`."""

    def __init__(
        self, workplace: Workplace, problem: Problem, progress: Progress, *, choice: BaselineChoice | None = None
    ) -> None:
        """Draw inputs, check the reference on them, start the baselines; time nothing.

        Args:
            workplace: shared by all benches.
            problem: what is judged.
            progress: told each step in a few words.
            choice: which baselines to start; None for those of the device.

        Raises:
            InvalidInput: the reference raises, or returns something undeclared or not a number.
            HarnessFailed: no baseline runs although the reference does.
        """
        self.lock = threading.Lock()
        self.seed = secrets.token_hex(16)
        self.chance = Random(self.seed)
        self.problem = problem
        self.best: dict[str, BaselineArm] = {}
        self.stages: dict[str, Stage] = {}
        self.hidden: tuple[HiddenCase, ...] = ()
        self._workplace = workplace
        self._choice = choice
        self._arms: list[BaselineArm] = []
        self._hard: dict[tuple[str, int], tuple[Distribution, ...]] = {}
        self._twins: dict[str, BaselineArm] = {}
        progress("checking the reference")
        self.reference = Reference(problem.definition, workplace.place.torch_device)
        try:
            self._set_up(progress)
        except BaseException:
            self.close()
            raise

    def _set_up(self, progress: Progress) -> None:
        problem = self.problem
        for workload in problem.workloads:
            self.stages[workload.uuid] = self._stage(workload)
        self.hidden = hidden_cases(
            self.reference, problem.workloads, self.chance, self._workplace.place, n_cases=N_HIDDEN_CASES
        )
        for source in self._sources():
            progress(f"preparing the baseline {source.name}")
            self._arms.append(start_baseline(self._workplace, source, problem.definition, self.stages))
        if not any(entry.desks for entry in self._arms):
            reasons = "; ".join(f"{entry.source.name}: {entry.failure}" for entry in self._arms)
            if all(entry.has_died for entry in self._arms):
                raise InvalidInput(
                    f"definition {problem.name!r}: the reference ends the process that calls it: {reasons}",
                    remedy="A reference may neither write to its inputs nor end its process.",
                )
            raise HarnessFailed(f"no baseline of {problem.name!r} runs: {reasons}")

    def _sources(self) -> tuple[BaselineSource, ...]:
        on_device = self._workplace.place.index is not None
        return baseline_sources(self.problem.definition, on_device=on_device, choice=self._choice)

    def _stage(self, workload: Workload) -> Stage:
        place = self._workplace.place
        n_sets = place.n_sets(workload_bytes(self.problem.definition, workload))
        stage = set_stage(self.reference, Case(workload), self.chance, place, n_sets=n_sets)
        try:
            _check_reference(self.problem, workload, stage.expected(0))
        except BaseException:
            stage.close()
            raise
        return stage

    def time_baselines(self) -> None:
        """Find each workload's fastest baseline; needs the device, and does nothing the second time.

        Raises:
            HarnessFailed: a baseline broke after it had run well.
        """
        if self.best:
            return
        running = [entry for entry in self._arms if entry.desks]
        try:
            for stage in self.stages.values():
                time_side_by_side(self._workplace, stage, running, self.chance)
        except ArmFailed as failure:
            raise HarnessFailed(f"a baseline of {self.problem.name!r} broke: {failure.reason}") from failure
        self.best = {uuid: min(running, key=lambda entry: entry.quick_us[uuid]) for uuid in self.stages}

    def hard_values(self, uuid: str, *, at_most: int) -> tuple[Distribution, ...]:
        """Give the distributions of hard values that the reference bears at a workload's own sizes, the hardest first.

        Inputs of the definition's own generator have none, nor have references that take seconds.
        """
        if (uuid, at_most) not in self._hard:
            self._hard[uuid, at_most] = self._borne(self.stages[uuid], at_most)
        return self._hard[uuid, at_most]

    def _borne(self, stage: Stage, at_most: int) -> tuple[Distribution, ...]:
        if any(isinstance(one, CustomInput) for one in stage.workload.inputs.values()):
            return ()
        started_s = time.perf_counter()
        stage.expected(0)
        self._workplace.place.settle()
        if time.perf_counter() - started_s > _SLOW_REFERENCE_S:
            return ()
        borne = (one for one in DISTRIBUTIONS if one != "natural" and self._bears(stage, one))
        return tuple(islice(borne, at_most))

    def _bears(self, stage: Stage, distribution: Distribution) -> bool:
        try:
            with stage.under(distribution, 0):
                return stage.sound_answer(0) is not None
        except torch.OutOfMemoryError:
            return False

    def restore(self) -> None:
        """Undo what earlier candidates did to memory that all arms share; needs the device."""
        for stage in self._all_stages():
            stage.restore()

    def start_twins(self) -> None:
        """Start a second arm of every best baseline, unless they run; needs no device.

        Raises:
            HarnessFailed: a twin does not run although the baseline does.
        """
        for entry in self.best.values():
            source = entry.source
            if source.name not in self._twins:
                twin = start_baseline(self._workplace, source, self.problem.definition, self.stages)
                if twin.failure:
                    raise HarnessFailed(f"the twin of {source.name} of {self.problem.name!r} fails: {twin.failure}")
                self._twins[source.name] = twin

    def twin(self, uuid: str) -> BaselineArm:
        """Give the best baseline's twin; `start_twins` comes first."""
        return self._twins[self.best[uuid].source.name]

    def is_baseline(self, solution: Solution) -> bool:
        """Whether a solution is one of the library's own calls, as this bench writes them."""
        on_device = self._workplace.place.index is not None
        sources = baseline_sources(self.problem.definition, on_device=on_device)
        return any(solution.content_hash == source.solution.content_hash for source in sources)

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
    def is_closed(self) -> bool:
        """Whether its memory was given back."""
        return not self.stages

    @property
    def place_index(self) -> int | None:
        """Number of the CUDA device that holds it; None for the host."""
        return self._workplace.place.index

    @property
    def footprint_bytes(self) -> int:
        """What the bench holds of its place's memory: shared buffers, and on a device what its arms hold there."""
        running = [entry for entry in self._all_arms() if entry.desks]
        arms_bytes = len(running) * self._workplace.place.arm_bytes
        outputs_bytes = sum(desk.output_bytes for entry in running for desk in entry.desks.values())
        return arms_bytes + outputs_bytes + sum(stage.shared_bytes for stage in self._all_stages())

    def _all_arms(self) -> Sequence[BaselineArm]:
        return (*self._arms, *self._twins.values())

    def _all_stages(self) -> Sequence[Stage]:
        return (*self.stages.values(), *(case.stage for case in self.hidden))

    def close(self) -> None:
        """End the baseline arms and give all memory back; idempotent."""
        stages = self._all_stages()
        # Whatever becomes of the rest, nobody may go on with it.
        self.stages, self.hidden = {}, ()
        for entry in self._all_arms():
            entry.close()
        for stage in stages:
            stage.close()
        self._workplace.place.trim()


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
