"""Owns the claim: from DISPATCHED to RUNNING for the one who comes first; decides nothing."""

import sqlalchemy as sa

from deep_agent.htdag.hop import Claimed, Commit, EventDraft, Hint
from deep_agent.htdag.job import JobStatus
from deep_agent.htdag.node import NodeId, NodeState
from deep_agent.storage import levels
from deep_agent.storage.commit import LEASE, append_events
from deep_agent.storage.prepared import Prepared
from deep_agent.storage.rows import JOB, LEVEL, NODE, OUTBOX, job_of, node_of

_NODE = Prepared(sa.select(NODE).where(NODE.c.id == sa.bindparam("at_id")))
_JOB = Prepared(sa.select(JOB).where(JOB.c.id == sa.bindparam("at_id")))
_TOUCH = Prepared(
    sa.update(LEVEL)
    .where(LEVEL.c.node_id == sa.bindparam("at_level"))
    .values(revision=LEVEL.c.revision + 1)
    .returning(LEVEL.c.revision)
)
_TAKE = Prepared(
    sa.update(NODE)
    .where(NODE.c.id == sa.bindparam("at_id"))
    .values(state=NodeState.RUNNING.value, started_s=sa.bindparam("at_s"), touched=sa.bindparam("at_revision"))
)
_LEASE = Prepared(sa.insert(LEASE))
_DROP = Prepared(sa.delete(OUTBOX).where(OUTBOX.c.kind == "hint", OUTBOX.c.key == sa.bindparam("at_key")))


def take(connection: sa.Connection, hint: Hint, *, owner: str, now_s: float, lease_s: float) -> Claimed | None:
    """Take the node on the hint's attempt, inside an open write transaction; None when it is not there to take."""
    row = _NODE.first(connection, {"at_id": hint.node_id})
    if row is None or row.state != NodeState.DISPATCHED.value or row.attempt != hint.attempt:
        # Its effect is there already, or it was withdrawn: nothing waits for this hint.
        _DROP.run(connection, {"at_key": hint.key})
        return None
    job_row = _JOB.one(connection, {"at_id": row.job_id})
    if job_row.status != JobStatus.RUNNING.value:
        return None
    revision = int(_TOUCH.scalar(connection, {"at_level": row.level_id}) or 0)
    _TAKE.run(connection, {"at_id": row.id, "at_s": now_s, "at_revision": revision})
    _LEASE.run(
        connection,
        {
            "node_id": row.id,
            "attempt": row.attempt,
            "owner": owner,
            "until_s": now_s + lease_s,
            "heartbeat_s": now_s,
        },
    )
    _DROP.run(connection, {"at_key": hint.key})
    started = EventDraft(kind="node.running", payload={}, node_id=NodeId(row.id), attempt=row.attempt)
    append_events(connection, Commit(job_id=hint.job_id, now_s=now_s, events=(started,)))
    node = node_of(row).model_copy(update={"state": NodeState.RUNNING, "started_s": now_s, "touched": revision})
    return Claimed(
        job=job_of(job_row),
        node=node,
        level_id=NodeId(row.level_id),
        inputs=levels.inputs(connection, row.level_id, row.name),
    )
