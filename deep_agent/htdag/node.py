"""Owns the unit of the task graph: its specification, its states and the node as a frozen value; does not move it."""

from enum import StrEnum
from typing import Annotated, NewType

from pydantic import Field, JsonValue

from deep_agent.htdag.goal import NonNegative, Spend
from deep_agent.problem.value import FrozenValue

JobId = NewType("JobId", str)
NodeId = NewType("NodeId", str)
JsonObject = dict[str, JsonValue]

NodeName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
LaneName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,63}$")]

PLANNING_LANE = "cpu"
"""Where expand, revise and settle hops run: methods are pure and quick, so they never queue behind a search."""


class NodeKind(StrEnum):
    """The two kinds; there is no third."""

    COMPOSITE = "composite"
    """Has a method and a level graph."""
    ATOMIC = "atomic"
    """Has an action; the only place for side effects."""


class NodeState(StrEnum):
    """Where a node stands; `moves.LEGAL_MOVES` says what may follow."""

    PENDING = "pending"
    """Waits for predecessors."""
    READY = "ready"
    """All predecessors are done."""
    EXPANDING = "expanding"
    """COMPOSITE: its first plan is asked for."""
    DISPATCHED = "dispatched"
    """ATOMIC: a hint with the present attempt is in the outbox."""
    RUNNING = "running"
    """COMPOSITE: its level is open. ATOMIC: a lease is held on the present attempt."""
    VALIDATING = "validating"
    """Outputs are checked, inside the hop that ends the node."""
    PAUSED = "paused"
    """Held before its start."""
    WAITING_USER = "waiting_user"
    """A human action is outstanding."""
    DONE = "done"
    FAILED = "failed"
    RESCINDED = "rescinded"
    """Withdrawn before it could finish."""
    SUPERSEDED = "superseded"
    """Replaced before its start."""


TERMINAL = frozenset({NodeState.DONE, NodeState.FAILED, NodeState.RESCINDED, NodeState.SUPERSEDED})
UNSTARTED = frozenset({NodeState.PENDING, NodeState.READY, NodeState.PAUSED, NodeState.DISPATCHED, NodeState.EXPANDING})
"""States in which nothing of the node has run: a dispatched node gets its lease with RUNNING."""


class RunLimit(FrozenValue):
    """How long one attempt of an action may take; seconds of wall time."""

    longest_s: Annotated[float, Field(gt=0)] | None = None
    """From the claim on; None is no limit of its own."""
    reserve_s: NonNegative = 0.0
    """What must be left of the job's budget when the attempt ends."""
    least_s: NonNegative = 0.0
    """What the attempt gets even when the job's budget is gone."""

    def deadline_s(self, *, now_s: float, job_deadline_s: float) -> float:
        """Give the moment the attempt must end, in seconds since the epoch."""
        end_s = job_deadline_s - self.reserve_s
        if self.longest_s is not None:
            end_s = min(end_s, now_s + self.longest_s)
        return max(end_s, now_s + self.least_s)


class NodeSpec(FrozenValue):
    """What a method asks for when it adds a node."""

    name: NodeName
    """Unique among siblings; with the owner's id it makes the node's id."""
    kind: NodeKind
    handler: Annotated[str, Field(min_length=1)]
    """Name of the method (COMPOSITE) or of the action (ATOMIC)."""
    title: str = ""
    """What people read; the name where it is empty."""
    lane: LaneName = PLANNING_LANE
    """The lane of an ATOMIC node's action."""
    priority: float = 0.0
    """Within a lane, lower goes first; equal ones in order of arrival."""
    params: JsonObject = Field(default_factory=dict)
    limit: RunLimit = RunLimit()
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 5
    """Attempts that may be lost to infrastructure before the node fails."""


class Node(FrozenValue):
    """A unit of the task graph."""

    id: NodeId
    spec: NodeSpec
    state: NodeState = NodeState.PENDING
    attempt: Annotated[int, Field(ge=0)] = 0
    """Fencing token: grows with every dispatch, never shrinks."""
    strikes: Annotated[int, Field(ge=0)] = 0
    """Attempts lost to infrastructure; drained ones do not count."""
    outputs: JsonObject | None = None
    """What the node left; only DONE nodes, and FAILED ones that say more than a reason."""
    reason: str = ""
    """Why it failed or was withdrawn, or a note on how it was done."""
    spend: Spend = Spend()
    replaces: NodeName | None = None
    """The sibling whose place it took."""
    born: Annotated[int, Field(ge=0)] = 0
    """Place in the order of creation among siblings."""
    touched: Annotated[int, Field(ge=0)] = 0
    """Revision of its level at the last change; orders ended siblings by when they ended."""
    started_s: float | None = None
    """When the present attempt started, in seconds since the epoch."""
    ended_s: float | None = None

    @property
    def name(self) -> str:
        """The name among siblings."""
        return self.spec.name

    @property
    def is_terminal(self) -> bool:
        """Whether nothing about the node may change any more."""
        return self.state in TERMINAL

    @property
    def is_composite(self) -> bool:
        """Whether it owns a level."""
        return self.spec.kind is NodeKind.COMPOSITE


def child_id(owner: str, name: str) -> NodeId:
    """Make a node's id from its owner's (a job's or a composite node's) and its name; equal inputs, equal ids."""
    return NodeId(f"{owner}.{name}")
