"""Owns the executor's side of the database: the `Store` port on SQLite; translates, never decides."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from deep_agent.errors import InvalidInput
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
from deep_agent.htdag.job import Job, JobStatus
from deep_agent.htdag.level import Level
from deep_agent.htdag.node import TERMINAL, JobId, JsonObject, Node, NodeId
from deep_agent.storage import claim, levels
from deep_agent.storage.commit import LEASE, Lost, add_hints, append_events, write
from deep_agent.storage.database import Database
from deep_agent.storage.prepared import Prepared
from deep_agent.storage.rows import (
    JOB,
    LEVEL,
    NODE,
    OUTBOX,
    due_hint_of,
    job_columns,
    job_of,
    node_columns,
    node_of,
)
from deep_agent.storage.tables import IdempotencyRow, WorkerRow, table

_NODE = Prepared(sa.select(NODE).where(NODE.c.id == sa.bindparam("at_id")))
_JOB = Prepared(sa.select(JOB).where(JOB.c.id == sa.bindparam("at_id")))
_DUE = Prepared(
    sa.select(OUTBOX)
    .where(OUTBOX.c.kind == "hint", OUTBOX.c.sent_s.is_(None), OUTBOX.c.not_before_s <= sa.bindparam("now_s"))
    .order_by(OUTBOX.c.id)
    .limit(sa.bindparam("n_rows"))
)
_SENT = Prepared(sa.update(OUTBOX).where(OUTBOX.c.id == sa.bindparam("at_row")).values(sent_s=sa.bindparam("now_s")))
_UNWANTED = Prepared(
    sa.select(LEASE.c.node_id)
    .join(NODE, NODE.c.id == LEASE.c.node_id)
    .join(JOB, JOB.c.id == NODE.c.job_id)
    .where(LEASE.c.owner == sa.bindparam("at_owner"), JOB.c.status == JobStatus.CANCELLING.value)
)
_OPEN_COMPOSITES = Prepared(
    sa.select(NODE.c.handler, sa.func.count().label("n_open"))
    .where(
        NODE.c.job_id == sa.bindparam("at_job"),
        # Spelt as in the partial index, which serves only a query it can prove to fall into it.
        sa.text("node.kind = 'composite'"),
        NODE.c.ended_s.is_(None),
    )
    .group_by(NODE.c.handler)
)
IDEMPOTENCY = table(IdempotencyRow)
WORKER = table(WorkerRow)


class SqlStore:
    """The durable truth of jobs in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def accept(self, new: NewJob) -> Accepted:
        """See `Store.accept`."""
        with self._database.writing() as connection:
            known = _known(connection, new)
            if known is not None:
                return Accepted(job=known, created=False)
            job, root = new.job, new.root
            connection.execute(sa.insert(JOB).values(job_columns(job)))
            connection.execute(
                sa.insert(LEVEL).values(
                    node_id=job.id, job_id=job.id, revision=1, shape_revision=1, seen=0, closed=False, fault=""
                )
            )
            connection.execute(sa.insert(NODE).values(node_columns(root, level_id=job.id, job_id=job.id)))
            add_hints(connection, (new.hint,))
            append_events(connection, Commit(job_id=job.id, now_s=job.created_s, events=new.events))
            row = connection.execute(sa.select(JOB).where(JOB.c.id == job.id)).one()
            return Accepted(job=job_of(row), created=True)

    def claim(self, hint: Hint, *, owner: str, now_s: float, lease_s: float) -> Claimed | None:
        """See `Store.claim`."""
        with self._database.writing(durable=False) as connection:
            return claim.take(connection, hint, owner=owner, now_s=now_s, lease_s=lease_s)

    def plan(self, node_id: NodeId, decide: Callable[[Planning], Commit], *, known: Level | None = None) -> Verdict:
        """See `Store.plan`; load, decide and write share one write transaction, so nothing moves in between."""
        try:
            with self._database.writing() as connection:
                planning = _planning(connection, node_id, known)
                if planning.job.status is JobStatus.PAUSED:
                    return Verdict.FENCED
                write(connection, decide(planning))
        except Lost as lost:
            return lost.verdict
        return Verdict.COMMITTED

    def commit(self, commit: Commit) -> Verdict:
        """See `Store.commit`."""
        try:
            with self._database.writing() as connection:
                write(connection, commit)
        except Lost as lost:
            return lost.verdict
        return Verdict.COMMITTED

    def note(self, draft: EventDraft, *, job_id: JobId, now_s: float) -> bool:
        """See `Store.note`."""
        with self._database.writing() as connection:
            query = sa.select(LEASE.c.attempt).where(LEASE.c.node_id == draft.node_id)
            if connection.execute(query).scalar_one_or_none() != draft.attempt:
                return False
            append_events(connection, Commit(job_id=job_id, now_s=now_s, events=(draft,)))
        return True

    def leases(self, *, owner: str | None = None, expired_at_s: float | None = None) -> tuple[Lease, ...]:
        """See `Store.leases`."""
        query = sa.select(LEASE).order_by(LEASE.c.node_id)
        if owner is not None:
            query = query.where(LEASE.c.owner == owner)
        if expired_at_s is not None:
            query = query.where(LEASE.c.until_s < expired_at_s)
        with self._database.reading() as connection:
            return tuple(_lease_of(connection, row) for row in connection.execute(query).all())

    def renew(self, *, owner: str, now_s: float, lease_s: float) -> None:
        """See `Store.renew`."""
        with self._database.writing(durable=False) as connection:
            connection.execute(
                sa.update(LEASE).where(LEASE.c.owner == owner).values(until_s=now_s + lease_s, heartbeat_s=now_s)
            )

    def unwanted(self, *, owner: str) -> frozenset[NodeId]:
        """See `Store.unwanted`."""
        with self._database.reading() as connection:
            rows = _UNWANTED.all(connection, {"at_owner": owner})
        return frozenset(NodeId(row.node_id) for row in rows)

    def ended_siblings(self, level_id: NodeId) -> tuple[Node, ...]:
        """See `Store.ended_siblings`."""
        ended = [state.value for state in TERMINAL]
        query = sa.select(NODE).where(NODE.c.level_id == level_id, NODE.c.state.in_(ended))
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(NODE.c.touched, NODE.c.born)).all()
        return tuple(node_of(row) for row in rows)

    def inputs_of(self, node_id: NodeId) -> dict[str, JsonObject]:
        """See `Store.inputs_of`."""
        with self._database.reading() as connection:
            row = connection.execute(sa.select(NODE.c.level_id, NODE.c.name).where(NODE.c.id == node_id)).one()
            return levels.inputs(connection, row.level_id, row.name)

    def due_hints(self, *, now_s: float, limit: int) -> tuple[DueHint, ...]:
        """See `Store.due_hints`."""
        with self._database.reading() as connection:
            rows = _DUE.all(connection, {"now_s": now_s, "n_rows": limit})
        return tuple(due_hint_of(row) for row in rows)

    def mark_sent(self, rows: tuple[int, ...], *, now_s: float) -> None:
        """See `Store.mark_sent`."""
        if rows:
            with self._database.writing(durable=False) as connection:
                _SENT.many(connection, [{"at_row": row, "now_s": now_s} for row in rows])

    def resend(self, *, sent_before_s: float) -> int:
        """See `Store.resend`."""
        statement = (
            sa.update(OUTBOX).where(OUTBOX.c.kind == "hint", OUTBOX.c.sent_s < sent_before_s).values(sent_s=None)
        )
        with self._database.writing() as connection:
            return int(connection.execute(statement).rowcount)

    def beat(self, *, owner: str, now_s: float) -> float | None:
        """See `Store.beat`."""
        seen = insert(WORKER).values(owner=owner, heartbeat_s=now_s)
        with self._database.writing(durable=False) as connection:
            others = sa.select(sa.func.max(WORKER.c.heartbeat_s)).where(WORKER.c.owner != owner)
            last: float | None = connection.execute(others).scalar_one()
            connection.execute(seen.on_conflict_do_update(index_elements=["owner"], set_={"heartbeat_s": now_s}))
        return last

    def running_jobs(self) -> tuple[Job, ...]:
        """See `Store.running_jobs`."""
        query = sa.select(JOB).where(JOB.c.status.in_([JobStatus.RUNNING.value, JobStatus.CANCELLING.value]))
        with self._database.reading() as connection:
            return tuple(job_of(row) for row in connection.execute(query.order_by(JOB.c.created_s)).all())

    def close(self) -> None:
        """See `Store.close`."""
        self._database.close()


def _known(connection: sa.Connection, new: NewJob) -> Job | None:
    """Give the job of an earlier request with the same key; note the key otherwise."""
    key = new.idempotency
    if key is None:
        return None
    stored = connection.execute(
        sa.select(IDEMPOTENCY).where(
            IDEMPOTENCY.c.project == key.project, IDEMPOTENCY.c.scope == key.scope, IDEMPOTENCY.c.key == key.key
        )
    ).one_or_none()
    if stored is None:
        connection.execute(
            sa.insert(IDEMPOTENCY).values(
                project=key.project,
                scope=key.scope,
                key=key.key,
                request_hash=key.request_hash,
                job_id=new.job.id,
                created_s=new.job.created_s,
            )
        )
        return None
    if stored.request_hash != key.request_hash:
        raise InvalidInput(
            f"the idempotency key {key.key!r} was used for another request.", remedy="Use a new key for a new goal."
        )
    return job_of(connection.execute(sa.select(JOB).where(JOB.c.id == stored.job_id)).one())


def _planning(connection: sa.Connection, node_id: NodeId, known: Level | None) -> Planning:
    row = _NODE.one(connection, {"at_id": node_id})
    job = job_of(_JOB.one(connection, {"at_id": row.job_id}))
    return Planning(
        job=job,
        node=node_of(row),
        level_id=row.level_id,
        inputs=levels.inputs(connection, row.level_id, row.name),
        level=levels.load(connection, node_id, known=known),
        open_composites=_open_composites(connection, job.id),
    )


def _lease_of(connection: sa.Connection, lease: sa.Row[Any]) -> Lease:
    row = _NODE.one(connection, {"at_id": lease.node_id})
    job = job_of(_JOB.one(connection, {"at_id": row.job_id}))
    held = Claimed(job=job, node=node_of(row), level_id=NodeId(row.level_id), inputs={})
    return Lease(held=held, owner=lease.owner, until_s=lease.until_s)


def _open_composites(connection: sa.Connection, job_id: str) -> dict[str, int]:
    return {row.handler: row.n_open for row in _OPEN_COMPOSITES.all(connection, {"at_job": job_id})}
