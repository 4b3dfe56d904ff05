"""Owns how Alembic runs here: on the connection it is given, in batches, within the caller's transaction."""

from alembic import context

from deep_agent.storage.tables import Row

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Row.metadata,
    render_as_batch=True,
    transactional_ddl=True,
    compare_type=True,
)
context.run_migrations()
