"""Owns the connection to one SQLite file: settings, transactions, errors; touches the disk, knows no table."""

import queue
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from deep_agent.errors import ResourceExhausted

BUSY_TIMEOUT_MS = 30_000
_SWITCH_RETRY_S = 0.005
Synchronous = Literal["FULL", "NORMAL"]


class Database:
    """One database file, shared by the threads of this process and by other processes.

    Readers see one moment; writers take the write lock at once, so that none fails half way. One lock in the
    process keeps its own writers from polling the file's lock. Connections stay open, and transactions are
    opened and closed on the driver itself: a pool's and a session's book-keeping would cost more than the
    statements of a hop.
    """

    def __init__(self, engine: sa.Engine, *, synchronous: Synchronous) -> None:
        self._engine = engine
        self._synchronous = synchronous
        self._lock = threading.Lock()
        self._idle: queue.LifoQueue[sa.Connection] = queue.LifoQueue()
        self._open: list[sa.Connection] = []

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a read transaction."""
        with _translated(), self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[sa.Connection]:
        """Open a write transaction; it commits unless the block raises.

        Args:
            durable: False where a power failure may undo it: what such a failure also ends, such as a claim.
                A process that is killed loses nothing either way, and the next durable commit writes it through.
        """
        with _translated(), self._lock, self._transaction("BEGIN IMMEDIATE", durable=durable) as connection:
            yield connection

    def close(self) -> None:
        """Close every connection; idempotent, and only once no transaction is open."""
        while self._open:
            self._open.pop().close()
        self._idle = queue.LifoQueue()
        self._engine.dispose()

    @contextmanager
    def _transaction(self, begin: str, *, durable: bool | None = None) -> Iterator[sa.Connection]:
        connection = self._take()
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        try:
            if durable is not None and self._synchronous == "FULL" and connection.info.get("durable", True) != durable:
                driver.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                connection.info["durable"] = durable
            driver.execute(begin)
            yield connection
            driver.execute("COMMIT")
        except BaseException:
            # A failed BEGIN or COMMIT may have left nothing to roll back.
            if driver.in_transaction:
                driver.execute("ROLLBACK")
            raise
        finally:
            self._idle.put(connection)

    def _take(self) -> sa.Connection:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            connection = self._engine.connect()
            self._open.append(connection)
            return connection


def connect(path: Path, *, synchronous: Synchronous = "FULL") -> Database:
    """Open a database file, making its folder; tables come from `migrate`.

    Args:
        path: on a local disk; write-ahead logging does not work on network file systems.
        synchronous: FULL survives power loss; NORMAL may lose the last commits then, never its consistency.

    Raises:
        ResourceExhausted: the folder cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceExhausted(
            f"the folder {path.parent} cannot be made: {error.strerror}.", remedy="Choose a folder you can write."
        ) from error
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args={"check_same_thread": False})

    def prepare(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
        # The driver must not open transactions by itself: `Database` says when, and of which kind.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        _write_ahead(connection)
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA foreign_keys=ON")

    sa.event.listen(engine, "connect", prepare)
    return Database(engine, synchronous=synchronous)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Turn write-ahead logging on; on a new file two that do so at once refuse each other at once, without waiting."""
    until_s = time.monotonic() + BUSY_TIMEOUT_MS / 1e3
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            # The low byte is the kind of error, the others say more of it.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until_s:
                raise
            time.sleep(_SWITCH_RETRY_S)
        else:
            return


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (sa.exc.OperationalError, sqlite3.OperationalError) as error:
        said = str(error.orig if isinstance(error, sa.exc.OperationalError) else error)
        remedy = {
            "database or disk is full": "Free space on the disk, then start again; nothing half-written was kept.",
            "database is locked": "Another process holds the database; try again, or stop it.",
            "attempt to write a readonly database": "Make the database file and its folder writable.",
            "unable to open database file": "Make the folder of the database readable and writable.",
        }.get(said)
        if remedy is None:
            raise
        raise ResourceExhausted(f"the database cannot be used: {said}.", remedy=remedy) from error
