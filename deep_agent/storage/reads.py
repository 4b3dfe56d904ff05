"""Owns what doors read of the database: the `JobReads` port on SQLite; changes nothing."""

import base64
import binascii
import json

import sqlalchemy as sa

from deep_agent.errors import InvalidInput, NotFound
from deep_agent.htdag.job import EdgeView, Event, GraphView, Job, JobPage, JobStatus, VersionView
from deep_agent.htdag.node import JsonObject, child_id
from deep_agent.storage.database import Database
from deep_agent.storage.rows import EDGE, EVENT, JOB, NODE, VERSION, event_of, job_of, node_view_of, version_of

MAX_LIMIT = 200
MAX_EVENTS = 1000


class SqlReads:
    """Reads that go around the engine."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def job(self, job_id: str) -> Job:
        """See `JobReads.job`."""
        with self._database.reading() as connection:
            return _job(connection, job_id)

    def jobs(self, *, limit: int = 50, cursor: str | None = None, status: JobStatus | None = None) -> JobPage:
        """See `JobReads.jobs`."""
        limit = max(1, min(limit, MAX_LIMIT))
        query = sa.select(JOB).order_by(JOB.c.created_s.desc(), JOB.c.id.desc()).limit(limit + 1)
        if status is not None:
            query = query.where(JOB.c.status == status.value)
        if cursor is not None:
            query = query.where(sa.tuple_(JOB.c.created_s, JOB.c.id) < sa.tuple_(*_parsed(cursor)))
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        jobs = tuple(job_of(row) for row in rows[:limit])
        return JobPage(jobs=jobs, next_cursor=_cursor(jobs[-1]) if len(rows) > limit else None)

    def graph(self, job_id: str) -> GraphView:
        """See `JobReads.graph`."""
        with self._database.reading() as connection:
            job = _job(connection, job_id)
            nodes = [node_view_of(row) for row in connection.execute(_NODES, {"at_job": job_id}).all()]
            edges = connection.execute(_EDGES, {"at_job": job_id}).all()
        return GraphView(
            job_id=job.id,
            event_seq=job.event_seq,
            nodes=tuple(sorted(nodes, key=lambda node: node.id.count("."))),
            edges=tuple(
                EdgeView(src=child_id(row.level_id, row.src), dst=child_id(row.level_id, row.dst), kind=row.kind)
                for row in edges
            ),
        )

    def events(self, job_id: str, *, after: int = 0, limit: int = 500) -> tuple[Event, ...]:
        """See `JobReads.events`."""
        query = sa.select(EVENT).where(EVENT.c.job_id == job_id, EVENT.c.seq > after).order_by(EVENT.c.seq)
        with self._database.reading() as connection:
            rows = connection.execute(query.limit(max(1, min(limit, MAX_EVENTS)))).all()
            if not rows:
                _job(connection, job_id)
        return tuple(event_of(row) for row in rows)

    def outputs_about(self, solution_hash: str) -> JsonObject | None:
        """See `JobReads.outputs_about`."""
        named = NODE.c.outputs["solution_hash"].as_string() == solution_hash
        query = sa.select(NODE.c.outputs).where(NODE.c.handler.in_(("vary", "verify")), named).limit(1)
        with self._database.reading() as connection:
            found: JsonObject | None = connection.execute(query).scalar()
        return found

    def versions(self, job_id: str) -> tuple[VersionView, ...]:
        """See `JobReads.versions`."""
        query = sa.select(VERSION).where(VERSION.c.job_id == job_id).order_by(VERSION.c.search, VERSION.c.seq)
        with self._database.reading() as connection:
            _job(connection, job_id)
            return tuple(version_of(row) for row in connection.execute(query).all())


_NODES = sa.select(NODE).where(NODE.c.job_id == sa.bindparam("at_job")).order_by(NODE.c.level_id, NODE.c.born)
_EDGES = (
    sa.select(EDGE)
    .join(NODE, sa.and_(NODE.c.level_id == EDGE.c.level_id, NODE.c.name == EDGE.c.dst))
    .where(NODE.c.job_id == sa.bindparam("at_job"))
    .order_by(EDGE.c.level_id, NODE.c.born, EDGE.c.src)
)


def _job(connection: sa.Connection, job_id: str) -> Job:
    row = connection.execute(sa.select(JOB).where(JOB.c.id == job_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no job {job_id!r}.", remedy="List the jobs with `deep-agent jobs`.")
    return job_of(row)


def _cursor(job: Job) -> str:
    return base64.urlsafe_b64encode(json.dumps([job.created_s, job.id]).encode()).decode()


def _parsed(cursor: str) -> tuple[float, str]:
    try:
        created_s, job_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        return float(created_s), str(job_id)
    except (binascii.Error, ValueError, TypeError) as error:
        raise InvalidInput(
            f"the cursor {cursor!r} is not one this list gave.", remedy="Start without a cursor."
        ) from error
