"""Owns opening the storage of one home folder: database, tables, and the ports on it."""

from dataclasses import dataclass
from pathlib import Path

from deep_agent.storage.database import Synchronous, connect
from deep_agent.storage.deliveries import SqlDeliveries
from deep_agent.storage.migrate import migrate
from deep_agent.storage.reads import SqlReads
from deep_agent.storage.store import SqlStore

DATABASE_FILE = "deep_agent.db"


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The ports on one database."""

    store: SqlStore
    reads: SqlReads
    deliveries: SqlDeliveries

    def close(self) -> None:
        """Let go of the database; idempotent."""
        self.store.close()


def open_storage(home: Path, *, synchronous: Synchronous = "FULL") -> Storage:
    """Open a home folder's database, bringing its tables up to this version.

    Raises:
        ResourceExhausted: the folder or file cannot be written, or the disk is full.
        Conflict: a later version made it.
    """
    database = connect(home / DATABASE_FILE, synchronous=synchronous)
    migrate(database)
    return Storage(store=SqlStore(database), reads=SqlReads(database), deliveries=SqlDeliveries(database))
