"""Owns bringing a database to this version's tables; does not say what the tables are."""

from pathlib import Path

import sqlalchemy as sa

from deep_agent.errors import Conflict
from deep_agent.storage.database import Database

SCRIPTS = Path(__file__).parent / "migrations"
HEAD = "0001"
"""The latest migration; a test compares it with the scripts."""


def migrate(database: Database) -> None:
    """Apply what is missing, in one transaction; processes that start together do it once.

    Raises:
        Conflict: the database was made by a later version.
    """
    with database.reading() as connection:
        if _version(connection) == HEAD:
            return
    # Loading Alembic takes longer than opening a database, and all but the first start find nothing to do.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    with database.writing() as connection:
        _refuse_newer(connection)
        config = Config()
        config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _refuse_newer(connection: sa.Connection) -> None:
    stored = _version(connection)
    # Numbers of migrations have four digits and grow, so they compare as text.
    if stored is not None and stored > HEAD:
        raise Conflict(
            f"the database is at version {stored}; this program knows versions up to {HEAD}.",
            remedy="Use the later version of Deep Agent that made it, or another home folder.",
        )
