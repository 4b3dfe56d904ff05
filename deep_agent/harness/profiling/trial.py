"""Sets one workload up for a profile and finds out whether the solution is right on it. Loads torch; starts processes.

Only what computes right is worth explaining, whichever device it runs on.
"""

from collections.abc import Callable
from random import SystemRandom
from types import TracebackType
from typing import Self, TypeVar

import psutil

from deep_agent.errors import InvalidInput
from deep_agent.harness.answers.inputs import Case
from deep_agent.harness.answers.reference import Reference
from deep_agent.harness.answers.stage import CALL_TIMEOUT_S, Desk, Stage, refusal, set_stage
from deep_agent.harness.arms.arm import Arm, ArmFailed
from deep_agent.harness.arms.loading import load
from deep_agent.harness.baseline_arms import Workplace
from deep_agent.harness.verdict import LOAD_TIMEOUT_S, Prepared
from deep_agent.problem.footprint import check_fits
from deep_agent.problem.problem import Problem
from deep_agent.problem.profile import NotProfiled
from deep_agent.problem.workload import Workload

COPIES = 3
"""Sets of buffers held at once: the judge's, the reference's results, the solution's own."""

_Found = TypeVar("_Found")


class Trial:
    """One solution on one workload: `with` sets up what needs no device."""

    def __init__(self, workplace: Workplace, problem: Problem, prepared: Prepared, uuid: str | None) -> None:
        """Keep what to try; a uuid of None is the problem's first workload. Raises InvalidInput for an unknown one."""
        self.workplace = workplace
        self.problem = problem
        self.prepared = prepared
        self.workload = _chosen(problem, uuid)
        self._stage: Stage | None = None

    def __enter__(self) -> Self:
        """Make the inputs; raises InvalidInput when they do not fit or are refused."""
        place = self.workplace.place
        available_bytes = psutil.virtual_memory().available if place.memory_bytes is None else place.memory_bytes
        check_fits(self.problem.definition, self.workload, available_bytes=available_bytes, copies=COPIES)
        chance = SystemRandom()
        reference = Reference(self.problem.definition, place.torch_device)
        self._stage = set_stage(reference, Case(self.workload), chance, place)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the inputs back."""
        if self._stage is not None:
            self._stage.close()

    def run(self, artefact: bytes | None, look: Callable[[Stage, Desk], _Found]) -> _Found | NotProfiled:
        """Load the solution into an arm, check one call, and look closer; needs the device.

        Args:
            artefact: the object; None for Python.
            look: what to do with an arm whose first call was right.
        """
        workplace, prepared = self.workplace, self.prepared
        arm = workplace.fork(confine=True)
        try:
            load(
                arm,
                prepared.solution,
                self.problem.definition,
                workplace.n_threads,
                artefact=artefact,
                timeout_s=LOAD_TIMEOUT_S,
            )
            return self._checked(arm, look)
        except ArmFailed as failure:
            found = refusal(failure)
            return NotProfiled(status=found.status, reason=found.message)
        finally:
            arm.close()

    def _checked(self, arm: Arm, look: Callable[[Stage, Desk], _Found]) -> _Found | NotProfiled:
        stage, prepared = self._stage, self.prepared
        assert stage is not None
        desk = stage.seat(arm, collects=prepared.collects, call_timeout_s=prepared.first_call_timeout_s)
        try:
            _, chosen = stage.call(desk, None)
            found = stage.check(desk, chosen, quick=True)
            if not found.matches:
                return NotProfiled(status=found.status, reason=found.message)
            desk.call_timeout_s = CALL_TIMEOUT_S
            return look(stage, desk)
        finally:
            stage.leave(desk)


def _chosen(problem: Problem, uuid: str | None) -> Workload:
    if uuid is None:
        return problem.workloads[0]
    found = next((one for one in problem.workloads if one.uuid == uuid), None)
    if found is None:
        known = ", ".join(one.uuid for one in problem.workloads[:12])
        raise InvalidInput(f"problem {problem.name!r} has no workload {uuid!r}.", remedy=f"Name one of: {known}.")
    return found
