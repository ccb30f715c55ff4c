"""Alembic's entry: brings the connection it was given up to date. It opens, configures and logs nothing itself."""

from alembic import context

from perfagent.store.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
