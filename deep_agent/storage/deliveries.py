"""Owns webhooks that wait and what became of them: the `Deliveries` port on SQLite; sends nothing."""

import sqlalchemy as sa

from deep_agent.htdag.job import Delivery, DeliveryAttempt, Endpoint
from deep_agent.storage.commit import ENDPOINT
from deep_agent.storage.database import Database
from deep_agent.storage.rows import DELIVERY, OUTBOX, delivery_of
from deep_agent.storage.tables import DeliveryAttemptRow, table

ATTEMPT = table(DeliveryAttemptRow)


class SqlDeliveries:
    """Webhooks in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due_deliveries(self, *, now_s: float, limit: int) -> tuple[Delivery, ...]:
        """See `Deliveries.due_deliveries`."""
        query = (
            sa.select(DELIVERY)
            .join(OUTBOX, sa.and_(OUTBOX.c.key == DELIVERY.c.id, OUTBOX.c.kind == "webhook"))
            .where(OUTBOX.c.sent_s.is_(None), OUTBOX.c.not_before_s <= now_s, DELIVERY.c.state == "pending")
            .order_by(OUTBOX.c.id)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return tuple(delivery_of(row) for row in connection.execute(query).all())

    def record_attempt(self, delivery_id: str, attempt: DeliveryAttempt, *, retry_at_s: float | None = None) -> None:
        """See `Deliveries.record_attempt`."""
        delivered = attempt.status_code is not None and 200 <= attempt.status_code < 300
        state = "delivered" if delivered else "failed" if retry_at_s is None else "pending"
        due_s = attempt.at_s if retry_at_s is None else retry_at_s
        with self._database.writing() as connection:
            connection.execute(sa.insert(ATTEMPT).values(delivery_id=delivery_id, **attempt.model_dump()))
            connection.execute(
                sa.update(DELIVERY)
                .where(DELIVERY.c.id == delivery_id)
                .values(state=state, tries=attempt.n, not_before_s=due_s)
            )
            self._outbox(connection, delivery_id, pending=state == "pending", due_s=due_s, tries=attempt.n)

    def deliveries(self, job_id: str) -> tuple[tuple[Delivery, tuple[DeliveryAttempt, ...]], ...]:
        """See `Deliveries.deliveries`."""
        sent = sa.select(DELIVERY).where(DELIVERY.c.job_id == job_id).order_by(DELIVERY.c.seq)
        with self._database.reading() as connection:
            return tuple(
                (delivery_of(row), self._attempts(connection, row.id)) for row in connection.execute(sent).all()
            )

    def endpoint(self, url: str) -> Endpoint | None:
        """See `Deliveries.endpoint`."""
        with self._database.reading() as connection:
            row = connection.execute(sa.select(ENDPOINT).where(ENDPOINT.c.url == url)).one_or_none()
        return None if row is None else Endpoint(**row._mapping)  # noqa: SLF001 - SQLAlchemy's documented name

    def disable_endpoint(self, url: str, *, now_s: float, reason: str) -> None:
        """See `Deliveries.disable_endpoint`."""
        waiting = sa.select(DELIVERY.c.id).where(DELIVERY.c.url == url, DELIVERY.c.state == "pending")
        with self._database.writing() as connection:
            connection.execute(sa.update(ENDPOINT).where(ENDPOINT.c.url == url).values(disabled_s=now_s, reason=reason))
            for delivery_id in connection.execute(waiting).scalars().all():
                connection.execute(sa.update(DELIVERY).where(DELIVERY.c.id == delivery_id).values(state="failed"))
                self._outbox(connection, delivery_id, pending=False, due_s=now_s, tries=0)

    @staticmethod
    def _outbox(connection: sa.Connection, delivery_id: str, *, pending: bool, due_s: float, tries: int) -> None:
        connection.execute(
            sa.update(OUTBOX)
            .where(OUTBOX.c.kind == "webhook", OUTBOX.c.key == delivery_id)
            .values(sent_s=None if pending else due_s, not_before_s=due_s, tries=tries)
        )

    @staticmethod
    def _attempts(connection: sa.Connection, delivery_id: str) -> tuple[DeliveryAttempt, ...]:
        made = sa.select(ATTEMPT).where(ATTEMPT.c.delivery_id == delivery_id).order_by(ATTEMPT.c.n)
        names = DeliveryAttempt.model_fields
        return tuple(
            DeliveryAttempt(**{name: getattr(row, name) for name in names}) for row in connection.execute(made).all()
        )
