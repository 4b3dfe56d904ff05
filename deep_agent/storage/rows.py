"""Owns the mapping between rows and values, both ways; short functions, no queries."""

from typing import Any

from deep_agent.htdag.goal import Goal, Spend
from deep_agent.htdag.hop import DueHint, Hint, Verb
from deep_agent.htdag.job import Delivery, Event, Job, JobStatus, NodeView, VersionView
from deep_agent.htdag.node import JobId, Node, NodeId, NodeKind, NodeSpec, NodeState
from deep_agent.storage.prepared import Row
from deep_agent.storage.tables import (
    DeliveryRow,
    EdgeRow,
    EventRow,
    JobRow,
    LevelRow,
    NodeRow,
    OutboxRow,
    VersionRow,
    table,
)

JOB = table(JobRow)
LEVEL = table(LevelRow)
NODE = table(NodeRow)
EDGE = table(EdgeRow)
EVENT = table(EventRow)
OUTBOX = table(OutboxRow)
VERSION = table(VersionRow)
DELIVERY = table(DeliveryRow)

Columns = dict[str, Any]


def job_of(row: Row) -> Job:
    """Read a job."""
    return Job(
        id=JobId(row.id),
        project=row.project,
        goal=Goal.model_validate(row.goal),
        status=JobStatus(row.status),
        created_s=row.created_s,
        deadline_s=row.deadline_s,
        counted_s=row.counted_s,
        paused_s=row.paused_s,
        ended_s=row.ended_s,
        spend=Spend(
            wall_s=row.spend_wall_s,
            device_s=row.spend_device_s,
            evaluations=row.spend_evaluations,
            tokens=row.spend_tokens,
            usd=row.spend_usd,
        ),
        summary=row.summary,
        reason=row.reason,
        event_seq=row.event_seq,
        version=row.version,
    )


def job_columns(job: Job) -> Columns:
    """Write a new job."""
    return {
        **job.model_dump(mode="json", exclude={"spend", "event_seq"}),
        "event_seq": 0,
        **{f"spend_{name}": value for name, value in job.spend.model_dump().items()},
    }


def node_of(row: Row) -> Node:
    """Read a node."""
    return Node(
        id=NodeId(row.id),
        spec=NodeSpec.model_validate(row.spec),
        state=NodeState(row.state),
        attempt=row.attempt,
        strikes=row.strikes,
        outputs=row.outputs,
        reason=row.reason,
        spend=Spend.model_validate(row.spend),
        replaces=row.replaces,
        born=row.born,
        touched=row.touched,
        started_s=row.started_s,
        ended_s=row.ended_s,
    )


def node_columns(node: Node, *, level_id: str, job_id: str) -> Columns:
    """Write a new node."""
    spec = node.spec
    return {
        "id": node.id,
        "job_id": job_id,
        "level_id": level_id,
        "name": spec.name,
        "kind": spec.kind.value,
        "handler": spec.handler,
        "lane": spec.lane,
        "spec": spec.model_dump(mode="json", exclude_defaults=True),
        "replaces": node.replaces,
        "born": node.born,
        "touched": node.touched,
        **moved_columns(node),
    }


def moved_columns(node: Node) -> Columns:
    """Write what a move may change."""
    return {
        "state": node.state.value,
        "attempt": node.attempt,
        "strikes": node.strikes,
        "outputs": node.outputs,
        "reason": node.reason,
        "spend": node.spend.model_dump(exclude_defaults=True),
        "started_s": node.started_s,
        "ended_s": node.ended_s,
    }


def hint_columns(hint: Hint) -> Columns:
    """Write a hint that waits to be sent."""
    return {
        "kind": "hint",
        "key": hint.key,
        "job_id": hint.job_id,
        "verb": hint.verb.value,
        "node_id": hint.node_id,
        "attempt": hint.attempt,
        "lane": hint.lane,
        "priority": hint.priority,
        "not_before_s": hint.not_before_s,
        "sent_s": None,
        "tries": 0,
    }


def due_hint_of(row: Row) -> DueHint:
    """Read a hint that is due."""
    return DueHint(
        row=row.id,
        hint=Hint(
            verb=Verb(row.verb),
            node_id=NodeId(row.node_id),
            job_id=JobId(row.job_id),
            attempt=row.attempt,
            lane=row.lane,
            priority=row.priority,
            not_before_s=row.not_before_s,
        ),
    )


def event_of(row: Row) -> Event:
    """Read an event."""
    return Event.model_validate(dict(row._mapping))  # noqa: SLF001 - SQLAlchemy's documented name


def version_of(row: Row) -> VersionView:
    """Read a version."""
    return VersionView.model_validate(dict(row._mapping))  # noqa: SLF001 - as above


def delivery_of(row: Row) -> Delivery:
    """Read a delivery."""
    return Delivery.model_validate({name: getattr(row, name) for name in Delivery.model_fields})


def node_view_of(row: Row) -> NodeView:
    """Read a node as doors show it."""
    node = node_of(row)
    return NodeView(
        id=node.id,
        owner=row.level_id,
        name=node.name,
        title=node.spec.title or node.name,
        kind=NodeKind(row.kind),
        handler=node.spec.handler,
        lane=node.spec.lane,
        state=node.state,
        attempt=node.attempt,
        params=node.spec.params,
        outputs=node.outputs,
        reason=node.reason,
        spend=node.spend,
        replaces=node.replaces,
        started_s=node.started_s,
        ended_s=node.ended_s,
    )
