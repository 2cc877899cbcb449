"""Alembic's environment: the connection is given by `schema.upgrade`."""

from alembic import context

from fileroom_storage.index.tables import standard_tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=standard_tables().metadata,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
