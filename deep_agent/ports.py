"""Owns every Protocol between a capability and the world; adapters implement them, bootstrap wires them.

Every method is synchronous and may be called from several threads unless its docstring says otherwise.
"""

from collections.abc import Callable
from typing import Protocol

from deep_agent.htdag.hop import (
    Accepted,
    Claimed,
    Commit,
    DueHint,
    EventDraft,
    Hint,
    Lease,
    NewJob,
    Planning,
    Verdict,
)
from deep_agent.htdag.job import (
    Delivery,
    DeliveryAttempt,
    Endpoint,
    Event,
    GraphView,
    Job,
    JobPage,
    JobStatus,
    VersionView,
)
from deep_agent.htdag.level import Level
from deep_agent.htdag.node import JobId, JsonObject, Node, NodeId
from deep_agent.htdag.search import SearchDecision, SearchHistory
from deep_agent.problem.analysis import Analysis
from deep_agent.problem.bound import SolBound
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.evaluation import Build, Characterization, Evaluation, EvaluationRequest
from deep_agent.problem.opgraph import OpGraph
from deep_agent.problem.problem import Problem
from deep_agent.problem.profile import NotProfiled, Profile, ProfileRequest
from deep_agent.problem.solution import Solution


def ignore_progress(_step: str) -> None:
    """Take no notice of a step."""


class Clock(Protocol):
    """Time, so that deciding code needs no clock of its own."""

    def now_s(self) -> float:
        """Seconds since the epoch; never used for durations of a measurement."""
        ...

    def sleep(self, duration_s: float) -> None:
        """Block the calling thread."""
        ...


class Judge(Protocol):
    """Builds, runs, checks and times solutions it does not trust.

    A bad candidate is an `Evaluation`; a broken judge raises `HarnessFailed`. Timing is exclusive:
    calls queue for the device, builds do not.
    """

    def prepare(self) -> None:
        """Start what takes long to load, so that the first request need not wait for it; returns at once."""
        ...

    def characterize(
        self, problem_dir: str, device: str, progress: Callable[[str], None] = ignore_progress
    ) -> Characterization:
        """Time the library's ways of doing the operation, and the noise of this machine.

        Args:
            problem_dir: folder of the problem.
            device: name of the device.
            progress: told each step in a few words, from this thread.

        Raises:
            InvalidInput: the reference raises, returns NaN, or a workload does not fit in memory.
            MissingTool: torch or a compiler is absent.
            HarnessFailed: the judge broke.
        """
        ...

    def build(self, solution: Solution, device: str) -> Build:
        """Build a solution for a device and keep the object for `evaluate`; never waits for the device.

        Raises:
            HarnessFailed: the judge broke.
        """
        ...

    def evaluate(self, request: EvaluationRequest, progress: Callable[[str], None] = ignore_progress) -> Evaluation:
        """Build, check and time one solution; raises as `characterize`."""
        ...

    def close(self) -> None:
        """End the judge's processes; idempotent."""
        ...


class Profiler(Protocol):
    """Explains what holds a solution back; nothing it does is part of a timing that counts."""

    def profile(
        self, request: ProfileRequest, progress: Callable[[str], None] = ignore_progress
    ) -> Profile | NotProfiled:
        """Run a build made for this, confined, in a process of its own, and count; waits for the device.

        Raises:
            InvalidInput: unknown device or workload, or the reference fails on it.
            HarnessFailed: the judge broke.
        """
        ...


class Analyst(Protocol):
    """Traces references and computes bounds, in a process of its own that loads torch."""

    def graph(self, problem: Problem) -> OpGraph:
        """Trace the reference at its first workload, symbolically where possible.

        Raises:
            InvalidInput: the reference raises at a declared shape.
            HarnessFailed: the tracing process broke.
        """
        ...

    def bounds(self, problem: Problem, device: DeviceModel) -> tuple[SolBound, ...]:
        """Compute the bound of every workload, in order; raises as `graph`."""
        ...

    def analyse(self, problem: Problem, device: DeviceModel) -> Analysis:
        """Do both in one process; a reference without a graph still has bounds. Raises as `graph`."""
        ...

    def survey(self, problem: Problem, device: DeviceModel) -> Analysis:
        """Bound what can be bounded, without the graph; `failures` says why the other workloads cannot be.

        Raises:
            InvalidInput: no workload can be: the reference does not load, never ends, or returns NaN.
            HarnessFailed: the tracing process broke.
        """
        ...

    def cancel(self) -> None:
        """End whatever is being traced; whoever waits for it gets HarnessFailed."""
        ...


class DeviceCatalog(Protocol):
    """Device models by name."""

    def resolve(self, name: str) -> DeviceModel:
        """Give the model of `auto`, `cpu`, `cpu:N`, `cuda` or a device known by its sheet, such as `h200`.

        A processor is probed once and the result cached; `cuda` is the spec of the card found here.

        Raises:
            InvalidInput: unknown device; the message lists the known ones.
        """
        ...

    def check(self, name: str) -> None:
        """Refuse a device on which nothing can be judged here, without probing; raises InvalidInput.

        Stricter than `resolve`: a device known by its sheet alone has bounds, and runs nothing.
        """
        ...

    def known(self) -> tuple[DeviceModel, ...]:
        """Give the models that were probed before, by name."""
        ...


class SearchPolicy(Protocol):
    """Decides, purely, whether a search goes on; lent by evolution to the planner's `evolve` method."""

    def __call__(self, history: SearchHistory) -> SearchDecision:
        """Answer `vary` or `end`; equal histories give equal answers."""
        ...


class Blobs(Protocol):
    """Immutable bytes by content hash."""

    def put(self, content: bytes) -> str:
        """Store and return the SHA-256 in hex; storing twice is free. Raises ResourceExhausted on a full disk."""
        ...

    def get(self, digest: str) -> bytes:
        """Read back; raises NotFound."""
        ...


class Store(Protocol):
    """The durable truth of jobs, as the executor writes it; every method is one transaction.

    Transitions are conditional writes: a lost race is an answer, never an exception.
    Any method raises ResourceExhausted when the disk is full or the database stays locked.
    """

    def accept(self, new: NewJob) -> Accepted:
        """Store job, root node, first hint and idempotency key together.

        Raises:
            InvalidInput: the key is known with another request.
        """
        ...

    def claim(self, hint: Hint, *, owner: str, now_s: float, lease_s: float) -> Claimed | None:
        """Take a DISPATCHED node on the hint's attempt; None when it is not there to take (duplicate, stale, paused)."""
        ...

    def plan(self, node_id: NodeId, decide: Callable[[Planning], Commit], *, known: Level | None = None) -> Verdict:
        """Load what a planning hop needs, ask `decide`, commit its answer; FENCED when the job is paused.

        Args:
            node_id: a COMPOSITE node.
            decide: pure and quick: other writers may wait for it, and it is asked again when the state moved.
            known: the level at an earlier revision; only what changed since is read.
        """
        ...

    def commit(self, commit: Commit) -> Verdict:
        """Make all of it true, or nothing."""
        ...

    def note(self, draft: EventDraft, *, job_id: JobId, now_s: float) -> bool:
        """Append an event of a running attempt; False when the attempt is no longer current."""
        ...

    def leases(self, *, owner: str | None = None, expired_at_s: float | None = None) -> tuple[Lease, ...]:
        """List leases, of one owner or all; only those that ended before a moment, when one is given."""
        ...

    def renew(self, *, owner: str, now_s: float, lease_s: float) -> None:
        """Extend every lease of the owner."""
        ...

    def unwanted(self, *, owner: str) -> frozenset[NodeId]:
        """Give the owner's running nodes whose job is being cancelled."""
        ...

    def ended_siblings(self, level_id: NodeId) -> tuple[Node, ...]:
        """Give a level's terminal nodes, in the order in which they ended."""
        ...

    def inputs_of(self, node_id: NodeId) -> dict[str, JsonObject]:
        """Give the outputs of a node's data predecessors, by name."""
        ...

    def due_hints(self, *, now_s: float, limit: int) -> tuple[DueHint, ...]:
        """Read unsent hints whose time has come, oldest first."""
        ...

    def mark_sent(self, rows: tuple[int, ...], *, now_s: float) -> None:
        """Note that hints were published."""
        ...

    def resend(self, *, sent_before_s: float) -> int:
        """Make hints that were sent before a moment, and had no effect since, due again; give their number."""
        ...

    def beat(self, *, owner: str, now_s: float) -> float | None:
        """Note that a dispatcher lives; give the last moment any other one was seen."""
        ...

    def running_jobs(self) -> tuple[Job, ...]:
        """Give the jobs that are worked on: neither paused nor ended."""
        ...

    def close(self) -> None:
        """Let go of the database; idempotent."""
        ...


class JobReads(Protocol):
    """What doors read; none of it changes anything."""

    def job(self, job_id: str) -> Job:
        """Raises NotFound."""
        ...

    def jobs(self, *, limit: int = 50, cursor: str | None = None, status: JobStatus | None = None) -> JobPage:
        """List jobs, newest first; raises InvalidInput on a cursor that is not ours."""
        ...

    def graph(self, job_id: str) -> GraphView:
        """Give all nodes and edges of a job at one moment; raises NotFound."""
        ...

    def events(self, job_id: str, *, after: int = 0, limit: int = 500) -> tuple[Event, ...]:
        """Give the events numbered above `after`, in order; raises NotFound."""
        ...

    def versions(self, job_id: str) -> tuple[VersionView, ...]:
        """Give the lineage rows of a job by (search, seq); raises NotFound."""
        ...

    def outputs_about(self, solution_hash: str) -> JsonObject | None:
        """Give what some action left about a solution it judged, `solution_hash` among it; None when none did."""
        ...


class Deliveries(Protocol):
    """Webhooks to send, and what became of them."""

    def due_deliveries(self, *, now_s: float, limit: int) -> tuple[Delivery, ...]:
        """Give pending deliveries whose time has come, oldest first."""
        ...

    def record_attempt(
        self,
        delivery_id: str,
        attempt: DeliveryAttempt,
        *,
        retry_at_s: float | None = None,
    ) -> None:
        """Store an attempt: delivered on a 2xx; else pending until `retry_at_s`, or failed when that is None."""
        ...

    def deliveries(self, job_id: str) -> tuple[tuple[Delivery, tuple[DeliveryAttempt, ...]], ...]:
        """Give a job's deliveries with their attempts, in order of their events."""
        ...

    def endpoint(self, url: str) -> Endpoint | None:
        """Look up a receiver."""
        ...

    def disable_endpoint(self, url: str, *, now_s: float, reason: str) -> None:
        """Send nothing there from now on; pending deliveries to it fail."""
        ...


class Notifier(Protocol):
    """Sends one webhook; wired into the `notify` lane."""

    def deliver(self, delivery: Delivery) -> None:
        """Make one attempt and record it; whatever happens is recorded, nothing is raised for a bad receiver."""
        ...


class Transport(Protocol):
    """Carries hints to lanes; may lose, double, delay and reorder them."""

    def publish(self, hints: tuple[Hint, ...]) -> None:
        """Hand hints to their lanes; returns at once."""
        ...

    def start(self, handle: Callable[[Hint], None]) -> None:
        """Begin to call `handle`, from the lanes' own threads; it never raises."""
        ...

    def stop(self, *, timeout_s: float) -> bool:
        """Take no further hint, wait for running ones; True when all ended in time."""
        ...


class HomeLock(Protocol):
    """At most one dispatcher a home folder, for as long as its process lives."""

    def acquire(self) -> bool:
        """Take the lock, or say at once that another process has it."""
        ...

    def release(self) -> None:
        """Give it back; idempotent."""
        ...
