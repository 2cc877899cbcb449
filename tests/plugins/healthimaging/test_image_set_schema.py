"""The plugin's migrations make the tables that it works with, and an upgrade keeps what is in them."""

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from fileroom_healthimaging.plugin import plugin
from fileroom_storage.index import schema
from fileroom_storage.index.engine import create_engine
from fileroom_storage.index.lineage import plugin_lineage
from tests.plugins.healthimaging.documents import document
from tests.plugins.healthimaging.indexed import contents, index_of, opened, version


def test_an_upgrade_drops_nothing(tmp_path: Path, database_url: str) -> None:
    """Fault of AWS's sample: an upgrade drops tables."""
    assert plugin.database is not None
    with opened(tmp_path, database_url) as storage:
        index_of(storage).tell([version("a", 1, document())])
        before = contents(storage)
    with schema.IndexSchema(database_url, {"healthimaging": plugin.database}) as index:
        index.upgrade()
        assert index.is_current()
    with opened(tmp_path, database_url) as storage:
        storage.check_ready()
        assert contents(storage) == before
    engine = create_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, plugin_lineage("healthimaging", plugin.database).metadata)
        assert [one for one in differences if "alembic_version_healthimaging" not in str(one)] == []
    engine.dispose()
