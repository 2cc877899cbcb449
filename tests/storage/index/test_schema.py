"""Migrations lead to the declared tables, on every database."""

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from fileroom_storage.errors import SchemaNotCurrent
from fileroom_storage.index import schema
from fileroom_storage.index.engine import UnsupportedDatabase, create_engine
from fileroom_storage.index.lineage import core_lineage
from fileroom_storage.index.tables import standard_tables
from fileroom_storage.index.views import VIEW_NAMES, drop_views, has_views


def test_migrations_lead_to_the_declared_tables(database_url: str) -> None:
    engine = create_engine(database_url)
    schema.upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, standard_tables().metadata) == []
    engine.dispose()


def test_views_of_the_reference_schema_exist(database_url: str) -> None:
    engine = create_engine(database_url)
    schema.upgrade(engine)
    with engine.connect() as connection:
        for name in VIEW_NAMES:
            assert connection.execute(text(f"SELECT * FROM {name}")).all() == []
    engine.dispose()


def test_upgrade_may_be_called_again(database_url: str) -> None:
    engine = create_engine(database_url)
    schema.create_if_empty(engine)
    schema.upgrade(engine)
    schema.check_current(engine)
    engine.dispose()


def test_upgrade_makes_the_views_that_one_cut_short_did_not(database_url: str) -> None:
    engine = create_engine(database_url)
    schema.upgrade(engine)
    with engine.begin() as connection:
        drop_views(connection)
    schema.upgrade(engine)
    assert has_views(engine)
    engine.dispose()


def test_an_empty_database_is_not_current(database_url: str) -> None:
    engine = create_engine(database_url)
    with pytest.raises(SchemaNotCurrent, match="fileroom db upgrade"):
        schema.check_current(engine)
    assert core_lineage().current(engine) is None
    engine.dispose()


def test_a_schema_of_a_newer_release_is_told_apart(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'index.sqlite'}")
    schema.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaNotCurrent, match="does not know"):
        schema.check_current(engine)
    engine.dispose()


def test_names_are_short_enough_for_every_database() -> None:
    for table in standard_tables().metadata.sorted_tables:
        names = [table.name, *(index.name for index in table.indexes), *(item.name for item in table.constraints)]
        assert all(len(str(name)) <= 63 for name in names)


def test_every_foreign_key_has_an_index(tmp_path: Path) -> None:
    """A delete of a parent would else scan its children."""
    engine = create_engine(f"sqlite:///{tmp_path / 'index.sqlite'}")
    schema.upgrade(engine)
    inspector = inspect(engine)
    for table in standard_tables().metadata.sorted_tables:
        leading = {index["column_names"][0] for index in inspector.get_indexes(table.name)}
        leading |= {key["column_names"][0] for key in inspector.get_unique_constraints(table.name)}
        leading |= set(inspector.get_pk_constraint(table.name)["constrained_columns"][:1])
        for key in inspector.get_foreign_keys(table.name):
            column = key["constrained_columns"][0]
            if (table.name, column) != ("dicom_patient", "issuer_pk"):  # issuers are never deleted
                assert column in leading, f"{table.name}.{column}"
    engine.dispose()


@pytest.mark.parametrize("url", ["oracle://host/x", "sqlite://", "not a url", "sqlite:///:memory:"])
def test_a_database_that_cannot_hold_the_index_is_named(url: str) -> None:
    with pytest.raises(UnsupportedDatabase):
        create_engine(url)


def test_nobody_else_may_read_the_index_in_a_file(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'index.sqlite'}")
    schema.upgrade(engine)
    with engine.connect():
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("index.sqlite*")}
    engine.dispose()
    modes.pop("index.sqlite.lock")
    assert modes.keys() >= {"index.sqlite", "index.sqlite-wal"}
    assert set(modes.values()) == {0o600}


def test_an_index_of_the_first_schema_is_upgraded_with_what_it_holds(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        config = core_lineage().config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text("INSERT INTO dicom_issuer (issuer_of_patient_id) VALUES ('HOSPITAL')"))
        connection.commit()
    with pytest.raises(SchemaNotCurrent, match="fileroom db upgrade"):
        schema.check_current(engine)
    schema.upgrade(engine)
    schema.check_current(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT issuer_of_patient_id FROM dicom_issuer")).scalars().all() == ["HOSPITAL"]
        assert connection.execute(text("SELECT * FROM deletion")).all() == []
    engine.dispose()


def test_revisions_are_those_that_alembic_finds() -> None:
    lineage = core_lineage()
    scripts = ScriptDirectory.from_config(lineage.config())
    assert lineage.head() == scripts.get_current_head()
    assert lineage.known() == {script.revision for script in scripts.walk_revisions()}
