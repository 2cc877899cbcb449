"""Alembic's environment, for the core and for each plugin; `Lineage` gives it what it needs."""

from alembic import context

from fileroom_storage.index.migrations.resumption import skip_what_is_done

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    target_metadata=attributes["metadata"],
    version_table=attributes["version_table"],
    compare_type=True,
)
skip_what_is_done(context.get_context(), attributes["skipped"])
with context.begin_transaction():
    context.run_migrations()
