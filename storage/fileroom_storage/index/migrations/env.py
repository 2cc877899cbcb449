"""Alembic's environment: the connection is given by `schema.upgrade`."""

from alembic import context

from fileroom_storage.index.migrations.resumption import skip_what_is_done
from fileroom_storage.index.tables import standard_tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=standard_tables().metadata,
    compare_type=True,
)
skip_what_is_done(context.get_context(), context.config.attributes.get("skipped", []))
with context.begin_transaction():
    context.run_migrations()
