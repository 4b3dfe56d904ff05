"""Owns what a hop loads and what it commits, as values between the executor and its store; does not decide either.

Dataclasses, not models: their parts were checked where they were made, and every hop makes several.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from deep_agent.htdag.goal import Goal, Spend
from deep_agent.htdag.job import Job, JobStatus
from deep_agent.htdag.level import Level
from deep_agent.htdag.node import PLANNING_LANE, JobId, JsonObject, Node, NodeId, NodeState
from deep_agent.htdag.outcome import VersionEntry
from deep_agent.htdag.patch import Edge


class Verb(StrEnum):
    """What a hint asks for."""

    RUN = "run"
    EXPAND = "expand"
    REVISE = "revise"
    SETTLE = "settle"


@dataclass(frozen=True, kw_only=True)
class Hint:
    """A message on a lane; losing, doubling or reordering it changes no outcome."""

    verb: Verb
    node_id: NodeId
    job_id: JobId
    attempt: int = 0
    """The attempt a `run`, `expand` or `settle` is for; 0 for `revise`."""
    lane: str = PLANNING_LANE
    priority: float = 0.0
    not_before_s: float = 0.0

    @property
    def key(self) -> str:
        """Identity in the outbox: one `revise` waits for a level at most, whoever asked."""
        return f"{self.verb}:{self.node_id}:{self.attempt}"


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """What a worker holds after it won a claim."""

    job: Job
    node: Node
    """RUNNING, on the claimed attempt."""
    level_id: NodeId
    """The COMPOSITE it belongs to."""
    inputs: Mapping[str, JsonObject]
    """Outputs of data predecessors by name."""


@dataclass(frozen=True, kw_only=True)
class Planning:
    """What an expand, revise or settle hop loads."""

    job: Job
    node: Node
    level_id: str
    """The level the node itself lives in; the job's id for the root."""
    inputs: Mapping[str, JsonObject]
    level: Level | None
    """The level it owns; None before it was expanded."""
    open_composites: Mapping[str, int]
    """Method name -> composites of the job that have not ended."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A running attempt and who holds it."""

    held: Claimed
    """Without its inputs."""
    owner: str
    until_s: float


@dataclass(frozen=True, kw_only=True)
class DueHint:
    """A hint whose time to be published has come."""

    row: int
    """Its row in the outbox: a later hint with the same key is another row."""
    hint: Hint


@dataclass(frozen=True, kw_only=True)
class NodeChange:
    """A node's new value, valid only while its row still shows the old state and attempt."""

    node: Node
    was_state: NodeState
    was_attempt: int


@dataclass(frozen=True, kw_only=True)
class LevelStep:
    """What a commit does to one level; every step raises its revision by one."""

    level_id: str
    base_revision: int | None = None
    """Compare-and-swap; None where the writes commute and the nodes' attempts fence them."""
    opens: bool = False
    """The level's row is new."""
    seen: bool = False
    """The method has answered for everything up to the new revision."""
    closed: bool = False
    fault: str = ""
    """Why the level cannot go on."""


@dataclass(frozen=True, kw_only=True)
class AddedNode:
    """A new row."""

    node: Node
    level_id: str


@dataclass(frozen=True, kw_only=True)
class EventDraft:
    """An event before it has its number."""

    kind: str
    payload: JsonObject
    node_id: NodeId | None = None
    attempt: int | None = None
    announce: bool = False
    """Whether a webhook tells of it, when the goal names a receiver."""


@dataclass(frozen=True, kw_only=True)
class JobStep:
    """A change of the job's row, valid only from one of the named statuses."""

    was: frozenset[JobStatus]
    status: JobStatus
    reason: str = ""
    summary: JsonObject | None = None
    deadline_shift_s: float = 0.0
    """Added to the deadline."""
    resend: bool = False
    """Send every waiting hint of the job again."""
    ask_levels: bool = False
    """Ask the method of every open level."""


@dataclass(frozen=True, kw_only=True)
class Commit:
    """One transaction: everything in it becomes true, or nothing does."""

    job_id: JobId
    now_s: float
    handled: str | None = None
    """Key of the hint whose effect this is; its outbox row goes."""
    while_status: JobStatus | None = None
    """Valid only while the job has this status; what was decided rests on it."""
    levels: tuple[LevelStep, ...] = ()
    changed: tuple[NodeChange, ...] = ()
    added: tuple[AddedNode, ...] = ()
    edges_added: tuple[Edge, ...] = ()
    """Of the level that has a `base_revision` or `opens`."""
    edges_removed: tuple[Edge, ...] = ()
    events: tuple[EventDraft, ...] = ()
    hints: tuple[Hint, ...] = ()
    withdrawn: tuple[str, ...] = ()
    """Keys of hints whose nodes were withdrawn before they started."""
    versions: tuple[tuple[NodeId, VersionEntry], ...] = ()
    spend: Spend = field(default_factory=Spend)
    job: JobStep | None = None


class Verdict(StrEnum):
    """What became of a commit."""

    COMMITTED = "committed"
    MOVED = "moved"
    """A level's revision, or a node's state in it, had moved on: load and apply again."""
    FENCED = "fenced"
    """The attempt is no longer current, or the job's status no longer allows it: discard."""


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A goal to accept."""

    job: Job
    root: Node
    hint: Hint
    events: tuple[EventDraft, ...]
    idempotency: "IdempotencyKey | None" = None

    @property
    def goal(self) -> Goal:
        """What was asked."""
        return self.job.goal


@dataclass(frozen=True, kw_only=True)
class IdempotencyKey:
    """What makes a repeated request the same request; unique per (project, scope, key)."""

    project: str
    key: str
    request_hash: str
    scope: str = "POST /v1/jobs"


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """The job that now stands for the goal."""

    job: Job
    created: bool
    """False when the key was known and its first job is given back."""
