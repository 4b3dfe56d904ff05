"""Owns the rows as tables; does not map them to values. Moments are seconds since the epoch, in UTC."""

from typing import Any, ClassVar

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Every constraint has a name from the first day, so that a migration can name it."""


class Row(SQLModel):
    """The base of every table."""

    metadata: ClassVar[sa.MetaData] = sa.MetaData(naming_convention=NAMING)


class JobRow(Row, table=True):
    """One accepted goal; `event_seq` numbers its events."""

    __tablename__ = "job"
    __table_args__ = (sa.Index("ix_job_created", "created_s", "id"), sa.Index("ix_job_status", "status"))

    id: str = Field(primary_key=True)
    project: str
    status: str
    goal: dict[str, Any] = Field(sa_type=sa.JSON)
    created_s: float
    deadline_s: float
    counted_s: float
    paused_s: float | None = None
    ended_s: float | None = None
    summary: dict[str, Any] = Field(sa_type=sa.JSON)
    reason: str = ""
    event_seq: int = 0
    version: int = 0
    spend_wall_s: float = 0.0
    spend_device_s: float = 0.0
    spend_evaluations: int = 0
    spend_tokens: int = 0
    spend_usd: float = 0.0


class LevelRow(Row, table=True):
    """The graph of one COMPOSITE, or the home of a job's root."""

    __tablename__ = "level"

    node_id: str = Field(primary_key=True)
    job_id: str = Field(index=True)
    revision: int
    shape_revision: int
    """The revision at which nodes or edges were added or removed last."""
    seen: int
    closed: bool = False
    fault: str = ""


class NodeRow(Row, table=True):
    """A unit of the graph; `attempt` is the fence."""

    __tablename__ = "node"
    __table_args__ = (
        sa.UniqueConstraint("level_id", "name"),
        sa.Index("ix_node_level_touched", "level_id", "touched"),
        sa.Index(
            "ix_node_open_composite",
            "job_id",
            "handler",
            sqlite_where=sa.text("kind = 'composite' AND ended_s IS NULL"),
            postgresql_where=sa.text("kind = 'composite' AND ended_s IS NULL"),
        ),
    )

    id: str = Field(primary_key=True)
    job_id: str = Field(index=True)
    level_id: str
    name: str
    kind: str
    handler: str
    lane: str
    state: str
    attempt: int
    strikes: int
    spec: dict[str, Any] = Field(sa_type=sa.JSON)
    outputs: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON)
    reason: str = ""
    spend: dict[str, Any] = Field(sa_type=sa.JSON)
    replaces: str | None = None
    born: int
    touched: int
    started_s: float | None = None
    ended_s: float | None = None


class EdgeRow(Row, table=True):
    """An order between siblings, by name."""

    __tablename__ = "edge"
    __table_args__ = (sa.Index("ix_edge_dst", "level_id", "dst"),)

    level_id: str = Field(primary_key=True)
    src: str = Field(primary_key=True)
    dst: str = Field(primary_key=True)
    kind: str


class LeaseRow(Row, table=True):
    """Who runs an attempt, and until when that is believed."""

    __tablename__ = "lease"

    node_id: str = Field(primary_key=True)
    attempt: int
    owner: str = Field(index=True)
    until_s: float
    heartbeat_s: float


class EventRow(Row, table=True):
    """One line of a job's log; append-only."""

    __tablename__ = "event"

    job_id: str = Field(primary_key=True)
    seq: int = Field(primary_key=True)
    kind: str
    node_id: str | None = None
    attempt: int | None = None
    payload: dict[str, Any] = Field(sa_type=sa.JSON)
    at_s: float


class OutboxRow(Row, table=True):
    """What must still be sent: a hint lives until its effect is committed, a webhook until it is delivered."""

    __tablename__ = "outbox"
    __table_args__ = (
        sa.UniqueConstraint("kind", "key"),
        sa.Index(
            "ix_outbox_unsent",
            "kind",
            "not_before_s",
            sqlite_where=sa.text("sent_s IS NULL"),
            postgresql_where=sa.text("sent_s IS NULL"),
        ),
        # A freed number must not come back: the relay marks rows by it.
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True)
    kind: str
    key: str
    job_id: str = Field(index=True)
    verb: str = ""
    node_id: str = ""
    attempt: int = 0
    lane: str
    priority: float = 0.0
    not_before_s: float = 0.0
    sent_s: float | None = None
    tries: int = 0


class IdempotencyRow(Row, table=True):
    """A request that was accepted under a key."""

    __tablename__ = "idempotency"

    project: str = Field(primary_key=True)
    scope: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    request_hash: str
    job_id: str
    created_s: float


class VersionRow(Row, table=True):
    """A version of a lineage, inserted by the commit of the node that made it."""

    __tablename__ = "version"
    __table_args__ = (sa.UniqueConstraint("node_id", "seq"),)

    job_id: str = Field(primary_key=True)
    search: str = Field(primary_key=True)
    seq: int = Field(primary_key=True)
    node_id: str
    commit_sha: str
    kind: str
    solution_hash: str
    parent_seq: int | None = None
    evaluation: dict[str, Any] = Field(sa_type=sa.JSON)
    sol_score: float | None = None
    at_s: float


class WorkerRow(Row, table=True):
    """A dispatcher's sign of life."""

    __tablename__ = "worker"

    owner: str = Field(primary_key=True)
    heartbeat_s: float


class EndpointRow(Row, table=True):
    """A receiver of webhooks."""

    __tablename__ = "endpoint"

    url: str = Field(primary_key=True)
    created_s: float
    disabled_s: float | None = None
    reason: str = ""


class DeliveryRow(Row, table=True):
    """A webhook; its outbox row says when it is due."""

    __tablename__ = "delivery"
    __table_args__ = (sa.UniqueConstraint("job_id", "seq"),)

    id: str = Field(primary_key=True)
    job_id: str
    seq: int
    url: str
    type: str
    body: dict[str, Any] = Field(sa_type=sa.JSON)
    state: str
    tries: int = 0
    not_before_s: float
    created_s: float


class DeliveryAttemptRow(Row, table=True):
    """What one POST brought."""

    __tablename__ = "delivery_attempt"

    delivery_id: str = Field(primary_key=True)
    n: int = Field(primary_key=True)
    at_s: float
    status_code: int | None = None
    latency_s: float = 0.0
    error: str = ""
    answer: str = ""


def table(row: type[Row]) -> sa.Table:
    """Give the Core table of a row class."""
    return Row.metadata.tables[str(row.__tablename__)]
