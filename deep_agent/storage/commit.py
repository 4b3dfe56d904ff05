"""Owns how one `Commit` is written inside an open write transaction; decides nothing.

Rows are written in one order by every transaction: levels by id, nodes by id, leases, outbox, versions, and
the job's row with its events last, so that two writers never wait for each other in a circle.
"""

import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from deep_agent.htdag.goal import Spend
from deep_agent.htdag.hop import Commit, EventDraft, Hint, LevelStep, NodeChange, Verb, Verdict
from deep_agent.htdag.job import ENDED, JobStatus
from deep_agent.htdag.node import PLANNING_LANE, NodeKind, NodeState
from deep_agent.htdag.outcome import VersionEntry
from deep_agent.storage.prepared import Prepared
from deep_agent.storage.rows import (
    DELIVERY,
    EDGE,
    EVENT,
    JOB,
    LEVEL,
    NODE,
    OUTBOX,
    VERSION,
    hint_columns,
    moved_columns,
    node_columns,
)
from deep_agent.storage.tables import EndpointRow, LeaseRow, table

LEASE = table(LeaseRow)
ENDPOINT = table(EndpointRow)

_MOVED = ("state", "attempt", "strikes", "outputs", "reason", "spend", "started_s", "ended_s", "touched", "spec")
_MOVE_NODE = Prepared(
    sa.update(NODE)
    .where(NODE.c.id == sa.bindparam("at_id"))
    .where(NODE.c.state == sa.bindparam("at_state"))
    .where(NODE.c.attempt == sa.bindparam("at_attempt")),
    sets=_MOVED,
)
_ADD_HINT = Prepared(insert(OUTBOX).on_conflict_do_nothing(index_elements=["kind", "key"]))
_DROP_HINT = Prepared(sa.delete(OUTBOX).where(OUTBOX.c.kind == "hint", OUTBOX.c.key == sa.bindparam("at_key")))
_DROP_LEASE = Prepared(sa.delete(LEASE).where(LEASE.c.node_id == sa.bindparam("at_node")))
_TOUCH = sa.update(LEVEL).where(LEVEL.c.node_id == sa.bindparam("at_level")).returning(LEVEL.c.revision)
_RAISED = {LEVEL.c.revision: LEVEL.c.revision + 1}
_ANSWERED = {
    **_RAISED,
    LEVEL.c.seen: LEVEL.c.revision + 1,
    LEVEL.c.closed: sa.bindparam("is_closed"),
    LEVEL.c.fault: sa.bindparam("its_fault"),
    # A false flag multiplies to nothing; `max` keeps the later of two revisions.
    LEVEL.c.shape_revision: sa.func.max(
        LEVEL.c.shape_revision, (LEVEL.c.revision + 1) * sa.bindparam("is_reshaped", type_=sa.Integer)
    ),
}
_TOUCH_ONLY = Prepared(_TOUCH.values(_RAISED))
_TOUCH_ANSWERED = Prepared(_TOUCH.where(LEVEL.c.revision == sa.bindparam("at_revision")).values(_ANSWERED))
_STATUS = Prepared(sa.select(JOB.c.status).where(JOB.c.id == sa.bindparam("at_job")))
NOTHING = Spend()
_SPENT = ("wall_s", "device_s", "evaluations", "tokens", "usd")
_NUMBER = Prepared(
    sa.update(JOB)
    .where(JOB.c.id == sa.bindparam("at_job"))
    .values(
        {
            JOB.c.event_seq: JOB.c.event_seq + sa.bindparam("n_events"),
            JOB.c.version: JOB.c.version + 1,
            **{JOB.c[f"spend_{name}"]: JOB.c[f"spend_{name}"] + sa.bindparam(name) for name in _SPENT},
        }
    )
    .returning(JOB.c.event_seq)
)
_ADD_LEVEL, _ADD_NODE, _ADD_EDGE, _ADD_EVENT, _ADD_VERSION = (
    Prepared(sa.insert(rows)) for rows in (LEVEL, NODE, EDGE, EVENT, VERSION)
)


class Lost(Exception):
    """A condition does not hold; the transaction must be rolled back."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.value)
        self.verdict = verdict


def write(connection: sa.Connection, commit: Commit) -> None:
    """Write all of it.

    Raises:
        Lost: a level, a node or the job is no longer what the commit rests on.
    """
    revisions = {step.level_id: _step(connection, commit, step) for step in _in_order(commit.levels)}
    _move(connection, commit, revisions)
    _add(connection, commit)
    # The handled row goes before new ones come: a level may ask for its own next revision.
    _drop_hints(connection, commit.withdrawn if commit.handled is None else (commit.handled, *commit.withdrawn))
    add_hints(connection, commit.hints)
    _ADD_VERSION.many(connection, [_version_columns(commit, *pair) for pair in commit.versions])
    _step_job(connection, commit)
    append_events(connection, commit)


def _in_order(steps: tuple[LevelStep, ...]) -> list[LevelStep]:
    return sorted(steps, key=lambda step: step.level_id)


def _step(connection: sa.Connection, commit: Commit, step: LevelStep) -> int:
    if step.opens:
        row = {"node_id": step.level_id, "job_id": commit.job_id, "revision": 1, "shape_revision": 1}
        row |= {"seen": 1 if step.seen else 0, "closed": step.closed, "fault": step.fault}
        _ADD_LEVEL.run(connection, row)
        return 1
    if step.base_revision is None:
        revision = _TOUCH_ONLY.scalar(connection, {"at_level": step.level_id})
    else:
        revision = _TOUCH_ANSWERED.scalar(
            connection,
            {
                "at_level": step.level_id,
                "at_revision": step.base_revision,
                "is_closed": step.closed,
                "its_fault": step.fault,
                "is_reshaped": int(bool(commit.added or commit.edges_added or commit.edges_removed)),
            },
        )
    if revision is None:
        raise Lost(Verdict.MOVED)
    return int(revision)


def _move(connection: sa.Connection, commit: Commit, revisions: dict[str, int]) -> None:
    if not commit.changed:
        return
    changes = sorted(commit.changed, key=lambda change: change.node.id)
    # One statement shape for all: a changed spec is rare, and writing an equal one is harmless.
    rows = [_change_columns(change, revisions) for change in changes]
    if _MOVE_NODE.many(connection, rows) != len(rows):
        single = len(commit.levels) == 1 and commit.levels[0].base_revision is None
        raise Lost(Verdict.FENCED if single else Verdict.MOVED)
    ended = [
        {"at_node": change.node.id}
        for change in changes
        if change.was_state is NodeState.RUNNING and change.node.spec.kind is NodeKind.ATOMIC
    ]
    _DROP_LEASE.many(connection, ended)


def _change_columns(change: NodeChange, revisions: dict[str, int]) -> dict[str, Any]:
    node = change.node
    columns = moved_columns(node)
    columns |= {"at_id": node.id, "at_state": change.was_state.value, "at_attempt": change.was_attempt}
    columns["touched"] = revisions[node.id[: -len(node.name) - 1]]
    columns["spec"] = node.spec.model_dump(mode="json", exclude_defaults=True)
    return columns


def _add(connection: sa.Connection, commit: Commit) -> None:
    _ADD_NODE.many(
        connection,
        [node_columns(added.node, level_id=added.level_id, job_id=commit.job_id) for added in commit.added],
    )
    level_id = next((step.level_id for step in commit.levels if step.seen), "")
    for edge in commit.edges_removed:
        connection.execute(
            sa.delete(EDGE).where(EDGE.c.level_id == level_id, EDGE.c.src == edge.src, EDGE.c.dst == edge.dst)
        )
    _ADD_EDGE.many(connection, [{"level_id": level_id, **edge.model_dump()} for edge in commit.edges_added])


def _drop_hints(connection: sa.Connection, keys: tuple[str, ...]) -> None:
    for key in keys:
        _DROP_HINT.run(connection, {"at_key": key})


def add_hints(connection: sa.Connection, hints: tuple[Hint, ...]) -> None:
    """Put hints into the outbox; one that waits there already is not doubled."""
    _ADD_HINT.many(connection, [hint_columns(hint) for hint in hints])


def _version_columns(commit: Commit, node_id: str, version: VersionEntry) -> dict[str, Any]:
    return {"job_id": commit.job_id, "node_id": node_id, "at_s": commit.now_s, **version.model_dump(mode="json")}


def _step_job(connection: sa.Connection, commit: Commit) -> None:
    step = commit.job
    if step is None:
        if commit.while_status is not None:
            _require(connection, commit, frozenset({commit.while_status}))
        return
    _require(connection, commit, step.was)
    changes: dict[str, Any] = {
        "status": step.status.value,
        "reason": step.reason,
        "deadline_s": JOB.c.deadline_s + step.deadline_shift_s,
        "paused_s": commit.now_s if step.status is JobStatus.PAUSED else None,
        "ended_s": commit.now_s if step.status in ENDED else None,
        "version": JOB.c.version + 1,
    }
    if step.status is JobStatus.RUNNING:
        changes["counted_s"] = commit.now_s
    if step.summary is not None:
        changes["summary"] = step.summary
    connection.execute(sa.update(JOB).where(JOB.c.id == commit.job_id).values(changes))
    if step.resend:
        connection.execute(
            sa.update(OUTBOX).where(OUTBOX.c.job_id == commit.job_id, OUTBOX.c.kind == "hint").values(sent_s=None)
        )
    if step.ask_levels:
        _ask_levels(connection, commit)


def _require(connection: sa.Connection, commit: Commit, statuses: frozenset[JobStatus]) -> None:
    status = _STATUS.scalar(connection, {"at_job": commit.job_id})
    if status not in statuses:
        raise Lost(Verdict.MOVED)


def _ask_levels(connection: sa.Connection, commit: Commit) -> None:
    # The home of the root has no method.
    query = sa.select(LEVEL.c.node_id).where(
        LEVEL.c.job_id == commit.job_id, LEVEL.c.node_id != commit.job_id, LEVEL.c.closed.is_(False)
    )
    owners = connection.execute(query).scalars().all()
    add_hints(
        connection,
        tuple(
            Hint(verb=Verb.REVISE, node_id=owner, job_id=commit.job_id, lane=PLANNING_LANE, priority=-1.0)
            for owner in owners
        ),
    )


def append_events(connection: sa.Connection, commit: Commit) -> None:
    """Number and write the events, and what announces them; the job's row goes last in every transaction."""
    n_events = len(commit.events)
    if not n_events and commit.spend == NOTHING:
        return
    counted = {"at_job": commit.job_id, "n_events": n_events, **{name: getattr(commit.spend, name) for name in _SPENT}}
    last = int(_NUMBER.scalar(connection, counted) or 0)
    numbered = list(enumerate(commit.events, start=last - n_events + 1))
    _ADD_EVENT.many(connection, [_event_columns(commit, seq, draft) for seq, draft in numbered])
    announced = [(seq, draft) for seq, draft in numbered if draft.announce]
    if announced:
        _announce(connection, commit, announced)


def _event_columns(commit: Commit, seq: int, draft: EventDraft) -> dict[str, Any]:
    return {
        "job_id": commit.job_id,
        "seq": seq,
        "kind": draft.kind,
        "node_id": draft.node_id,
        "attempt": draft.attempt,
        "payload": draft.payload,
        "at_s": commit.now_s,
    }


def _announce(connection: sa.Connection, commit: Commit, announced: list[tuple[int, EventDraft]]) -> None:
    goal = connection.execute(sa.select(JOB.c.goal).where(JOB.c.id == commit.job_id)).scalar_one()
    url = goal.get("webhook")
    if not url:
        return
    known = insert(ENDPOINT).values(url=url, created_s=commit.now_s, reason="").on_conflict_do_nothing()
    connection.execute(known)
    at = datetime.datetime.fromtimestamp(commit.now_s, tz=datetime.UTC).isoformat()
    for seq, draft in announced:
        delivery_id = f"msg_{commit.job_id}_{seq}"
        body = {"type": draft.kind, "timestamp": at, "data": {"job": commit.job_id, "seq": seq, **draft.payload}}
        connection.execute(
            sa.insert(DELIVERY).values(
                id=delivery_id,
                job_id=commit.job_id,
                seq=seq,
                url=url,
                type=draft.kind,
                body=body,
                state="pending",
                tries=0,
                not_before_s=commit.now_s,
                created_s=commit.now_s,
            )
        )
        connection.execute(
            sa.insert(OUTBOX).values(
                kind="webhook",
                key=delivery_id,
                job_id=commit.job_id,
                verb="",
                node_id=draft.node_id or "",
                attempt=0,
                lane="notify",
                priority=0.0,
                not_before_s=commit.now_s,
                tries=0,
            )
        )
