"""Owns the job as values: its status, what the engine and the doors read of it, and its events."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from deep_agent.htdag.goal import Goal, Spend
from deep_agent.htdag.node import JobId, JsonObject, NodeId, NodeKind, NodeState
from deep_agent.problem.value import FrozenValue


class JobStatus(StrEnum):
    """Where a job stands."""

    RUNNING = "running"
    """Accepted; its nodes are worked on as soon as a dispatcher is alive."""
    PAUSED = "paused"
    """Nothing new starts until it is resumed; its clock stands still."""
    CANCELLING = "cancelling"
    """Nothing new starts, running nodes are asked to stop."""
    SUCCEEDED = "succeeded"
    """The report stands; `summary` says how many problems were solved."""
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})


class Job(FrozenValue):
    """One accepted goal."""

    id: JobId
    project: str
    goal: Goal
    status: JobStatus
    created_s: float
    """All moments are seconds since the epoch."""
    deadline_s: float
    """When the goal's wall budget is gone; moves on by the time the job was paused or nobody ran it."""
    counted_s: float
    """Up to when idle time is already accounted for in the deadline."""
    paused_s: float | None = None
    ended_s: float | None = None
    spend: Spend = Spend()
    """Sum over committed nodes."""
    summary: JsonObject = Field(default_factory=dict)
    """What the root left: outputs of the goal's conclusion, once it has ended."""
    reason: str = ""
    """Why it failed or was cancelled."""
    event_seq: Annotated[int, Field(ge=0)] = 0
    """Number of its latest event."""
    version: Annotated[int, Field(ge=0)] = 0
    """Grows with every change of the row; an entity tag for doors."""

    @property
    def has_ended(self) -> bool:
        """Whether the status is final."""
        return self.status in ENDED


class JobPage(FrozenValue):
    """A page of jobs, newest first."""

    jobs: tuple[Job, ...]
    next_cursor: str | None
    """Opaque; None on the last page."""


class Event(FrozenValue):
    """One line of a job's log; numbered from 1 without gaps, append-only."""

    job_id: JobId
    seq: Annotated[int, Field(ge=1)]
    kind: str
    node_id: NodeId | None = None
    attempt: int | None = None
    payload: JsonObject
    at_s: float


class NodeView(FrozenValue):
    """A node as doors show it."""

    id: NodeId
    owner: str
    """The COMPOSITE it belongs to; the job's id for the root."""
    name: str
    title: str
    kind: NodeKind
    handler: str
    lane: str
    state: NodeState
    attempt: int
    params: JsonObject
    outputs: JsonObject | None
    reason: str
    spend: Spend
    replaces: str | None
    started_s: float | None
    ended_s: float | None


class EdgeView(FrozenValue):
    """An edge as doors show it, by node ids."""

    src: NodeId
    dst: NodeId
    kind: Literal["data", "order"]


class GraphView(FrozenValue):
    """The whole graph of a job: parents before children, siblings in order of creation."""

    job_id: JobId
    event_seq: int
    """The events up to here are in the picture; follow from it."""
    nodes: tuple[NodeView, ...]
    edges: tuple[EdgeView, ...]


class VersionView(FrozenValue):
    """A stored version of a lineage."""

    job_id: JobId
    node_id: NodeId
    search: str
    seq: int
    commit_sha: str
    kind: Literal["seed", "improve", "match"]
    solution_hash: str
    parent_seq: int | None
    evaluation: JsonObject
    sol_score: float | None
    at_s: float


class Delivery(FrozenValue):
    """A webhook to send; written in the commit that announces it."""

    id: str
    """The `webhook-id`: equal over all attempts."""
    job_id: JobId
    seq: int
    """The event it tells of."""
    url: str
    type: str
    body: JsonObject
    """`{type, timestamp, data}` with an ISO 8601 timestamp of the event."""
    state: Literal["pending", "delivered", "failed"]
    tries: int
    not_before_s: float
    created_s: float


class DeliveryAttempt(FrozenValue):
    """What one POST brought."""

    n: Annotated[int, Field(ge=1)]
    at_s: float
    status_code: int | None = None
    """None when no answer came."""
    latency_s: float = 0.0
    error: str = ""
    answer: str = ""
    """The first bytes of the answer."""


class Endpoint(FrozenValue):
    """A receiver of webhooks, known since a goal named it."""

    url: str
    created_s: float
    disabled_s: float | None = None
    """Since when nothing is sent there."""
    reason: str = ""
    """Why it was disabled."""
