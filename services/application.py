"""Owns what the doors ask of the application, as one Protocol; `bootstrap.build` gives the real one."""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Protocol

from deep_agent.htdag.goal import Goal
from deep_agent.htdag.hop import Accepted, IdempotencyKey
from deep_agent.htdag.job import Job
from deep_agent.ports import Clock, Deliveries, JobReads, ignore_progress
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.evaluation import Evaluation
from deep_agent.problem.problem import Problem
from deep_agent.problem.profile import NotProfiled, Profile
from deep_agent.problem.solution import Solution

if TYPE_CHECKING:
    # Loading the engine for the name of a type would cost every command half a second.
    from deep_agent.executor.application import BoundReport
    from deep_agent.executor.bound_set import MemberRows, RowKey
    from deep_agent.executor.sets.values import SetReport, SetRequest


class Application(Protocol):
    """The use cases; every method is synchronous and may be called from several threads.

    Errors are those of `deep_agent.errors`. Building one opens the database and starts nothing.
    """

    @property
    def reads(self) -> JobReads:
        """Jobs, graphs, events and versions."""
        ...

    @property
    def deliveries(self) -> Deliveries:
        """Webhooks and their attempts."""
        ...

    @property
    def clock(self) -> Clock:
        """Wall time."""
        ...

    @property
    def leads(self) -> bool:
        """Whether this process runs jobs: it was started and holds the home folder's lock."""
        ...

    def start(self) -> None:
        """Start the lanes; they work as soon as the home folder's lock is free. Returns at once."""
        ...

    def stop(self, *, timeout_s: float) -> None:
        """Stop the lanes, end the judge's processes, give leases back, close the database; idempotent."""
        ...

    def submit(self, goal: Goal, *, idempotency: IdempotencyKey | None = None) -> Accepted:
        """Check a goal and accept it; nothing is stored when it is refused.

        Raises:
            InvalidInput: a problem that does not parse, an unknown device, a webhook address users may not
                name, or a key that is known with another request.
            MissingTool: no compiler, or no torch.
        """
        ...

    def cancel(self, job_id: str, *, reason: str = "") -> Job:
        """End a job early; idempotent. Raises NotFound, Conflict."""
        ...

    def pause(self, job_id: str) -> Job:
        """Let nothing new start; idempotent. Raises NotFound, Conflict."""
        ...

    def resume(self, job_id: str) -> Job:
        """Go on with a paused job; idempotent. Raises NotFound, Conflict."""
        ...

    def report(self, job_id: str) -> str:
        """Give the report's HTML. Raises NotFound while there is none."""
        ...

    def candidate(self, solution_hash: str) -> Solution:
        """Give a candidate's source. Raises NotFound."""
        ...

    def problems(self) -> tuple[Problem, ...]:
        """Give the problems this installation knows by name."""
        ...

    def devices(self) -> tuple[DeviceModel, ...]:
        """Give the devices that were probed; never probes."""
        ...

    def webhook_secret(self) -> str:
        """Give the secret webhooks are signed with, making it on first use."""
        ...

    def is_led_elsewhere(self) -> bool:
        """Whether another process runs this home folder's jobs; asked before `start`."""
        ...

    def evaluate(self, problem: str, solution: Solution, *, device: str) -> Evaluation:
        """Judge one solution by the gate's protocol, and score it; raises as `Judge.evaluate`."""
        ...

    def evaluate_set(self, request: "SetRequest", progress: Callable[[str], None] = ignore_progress) -> "SetReport":
        """Judge every solution of a folder on its problem and append one trace a workload.

        Rows that the trace file holds already are kept and not judged again.

        Raises:
            InvalidInput: no problem, no solution, an unknown device, or a trace file that holds something else.
            Conflict: another process writes the trace file.
            ResourceExhausted: the trace file cannot be written.
        """
        ...

    def profile(
        self, problem: str, solution: Solution, *, device: str, workload: str | None = None
    ) -> Profile | NotProfiled:
        """Explain what holds a solution back on one workload, the first when none is named.

        Raises:
            InvalidInput: a problem, workload or device that is unknown.
            HarnessFailed: the judge broke.
        """
        ...

    def bound(self, problem: str, *, device: str) -> "BoundReport":
        """Compute the bound of every workload; raises as `Analyst.analyse` and `DeviceCatalog.resolve`."""
        ...

    def bound_set(
        self, directory: str, *, device: str, done: "frozenset[RowKey]" = frozenset()
    ) -> "Generator[MemberRows, None, None]":
        """Compute the bounds of a directory of problems, a member at a time, save the rows in `done`.

        Raises:
            InvalidInput: an unknown device, or a directory without problems.
            MissingTool: torch is absent, or pyarrow where the set is in parquet files.
        """
        ...

    def device_name(self, device: str) -> str:
        """Give the one name of a device that may be spelt in several ways; raises as `DeviceCatalog.resolve`."""
        ...


Build = Callable[[], Application]
