"""Tables of plugins: made, upgraded and left alone beside the index, on every database."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from fileroom_storage.errors import SchemaNotCurrent
from fileroom_storage.index import plugin_views, schema
from fileroom_storage.index.engine import create_engine
from fileroom_storage.index.lineage import plugin_lineage
from fileroom_storage.plugin import Plugin
from tests.made import made
from tests.plugins.door.plugins import notes, opened
from tests.storage.stored import store


def test_a_plugin_is_enabled_upgraded_and_disabled(tmp_path: Path, database_url: str) -> None:
    with opened(tmp_path, database_url) as storage:
        store(storage, made(InstanceNumber=1))
    first = notes(tmp_path / "revisions")
    with opened(tmp_path, database_url, first) as storage:
        storage.check_ready()
        storage.plugins.backfill("notes")
    second = notes(tmp_path / "revisions", revisions=2)
    assert second.plugin.database is not None
    databases = {"notes": second.plugin.database}
    with opened(tmp_path, database_url, second) as storage:
        # what is in use is not changed by the way
        assert not storage.schema_current()
        with pytest.raises(SchemaNotCurrent, match="plugin notes is at schema one, not two; run `fileroom db upgrade`"):
            storage.check_ready()
    with opened(tmp_path, database_url) as storage:
        storage.check_ready()  # without it the index is as good as ever
    with schema.IndexSchema(database_url, databases) as index:
        assert not index.is_current()
        index.upgrade()
        assert (index.revision("notes"), index.newest_revision("notes"), index.is_current()) == ("two", "two", True)
    with opened(tmp_path, database_url, second) as storage:
        storage.check_ready()
        store(storage, made(SOPInstanceUID="1.2.3", InstanceNumber=2))
    engine = create_engine(database_url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT number FROM notes_of_images ORDER BY number")).scalars().all() == [1, 2]
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        metadata = plugin_lineage("notes", second.plugin.database).metadata
        differences = compare_metadata(context, metadata)
        assert [one for one in differences if "alembic_version_notes" not in str(one)] == []
    engine.dispose()


def test_views_of_plugins_stand_in_no_way_of_an_upgrade(tmp_path: Path, database_url: str) -> None:
    """The index goes back a revision, and is upgraded by who does not have the plugin enabled, and by who has."""
    enabled = notes(tmp_path / "revisions")
    assert enabled.plugin.database is not None
    with opened(tmp_path, database_url, enabled):
        pass
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM alembic_version_notes"))
        plugin_views.drop(connection)
        connection.execute(text("DROP TABLE notes_image"))
    schema.upgrade(engine)
    assert "notes_of_images" not in inspect(engine).get_view_names()
    schema.create_if_empty(engine, {"notes": enabled.plugin.database})
    assert "notes_of_images" in inspect(engine).get_view_names()
    schema.check_current(engine, {"notes": enabled.plugin.database})
    with engine.begin() as connection:
        plugin_views.drop(connection)  # as an upgrade by somebody else has left it
    schema.create_if_empty(engine, {"notes": enabled.plugin.database})
    assert "notes_of_images" in inspect(engine).get_view_names()
    engine.dispose()


def test_many_processes_make_the_tables_at_once(tmp_path: Path, database_url: str) -> None:
    database = notes(tmp_path / "revisions").plugin.database
    assert database is not None
    databases = {"notes": database}
    engines = [create_engine(database_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda engine: schema.create_if_empty(engine, databases), engines))
    for engine in engines:
        schema.check_current(engine, databases)
        engine.dispose()


def test_an_upgrade_that_was_cut_short_is_finished(tmp_path: Path, database_url: str) -> None:
    """MariaDB commits each step: the table is there, and the version is not."""
    enabled = notes(tmp_path / "revisions")
    assert enabled.plugin.database is not None
    databases = {"notes": enabled.plugin.database}
    engine = create_engine(database_url)
    schema.create_if_empty(engine, databases)
    if engine.dialect.name == "mysql":
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM alembic_version_notes"))
        schema.create_if_empty(engine, databases)
    schema.check_current(engine, databases)
    engine.dispose()


@pytest.mark.parametrize("name", ["", "Notes", "no-tes", "1notes", "n" * 25])
def test_names_that_no_plugin_may_have(name: str) -> None:
    with pytest.raises(ValueError, match="the name of a plugin is"):
        Plugin(name=name)


def test_what_a_plugin_may_not_declare(tmp_path: Path) -> None:
    database = notes(tmp_path / "revisions").plugin.database
    with pytest.raises(ValueError, match="the tables of plugin other begin with other_; notes_image does not"):
        Plugin(name="other", database=database)
    with pytest.raises(ValueError, match='"nothing" is not like "module:object"'):
        Plugin(name="notes", commands={"x": "nothing"})
