"""Transactions of plugins that are tried again, with their events in the audit log."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.exc import IntegrityError

from fileroom_storage.index.engine import create_engine
from fileroom_storage.index.schema import upgrade
from fileroom_storage.index.tables import standard_tables
from fileroom_storage.plugin import Action, Actor, AuditEvent, EventId, PluginConnections

EVENT = AuditEvent(EventId.APPLICATION_ACTIVITY, Action.EXECUTE, Actor("server"))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path / 'index.sqlite'}")
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes_text (pk INTEGER PRIMARY KEY)"))
    yield engine
    engine.dispose()


def rows(engine: Engine) -> tuple[int, int]:
    """How many of the plugin, and of the audit log."""
    with engine.connect() as connection:
        notes = connection.execute(text("SELECT pk FROM notes_text")).all()
        return len(notes), len(connection.execute(select(standard_tables().audit_log)).all())


def insert(connection: Connection) -> tuple[int, Sequence[AuditEvent]]:
    pk = connection.execute(text("SELECT count(*) FROM notes_text")).scalar_one()
    connection.execute(text("INSERT INTO notes_text VALUES (:pk)"), {"pk": pk})
    return pk, [EVENT]


@pytest.mark.parametrize("audit", [False, True])
def test_events_are_durable_with_what_they_are_of(engine: Engine, audit: bool) -> None:
    connections = PluginConnections(engine, standard_tables(), audit=audit)
    assert [connections.audited(insert), connections.audited(insert)] == [0, 1]
    assert rows(engine) == (2, 2 if audit else 0)


def test_what_raises_leaves_nothing(engine: Engine) -> None:
    def fail(connection: Connection) -> tuple[int, Sequence[AuditEvent]]:
        insert(connection)
        raise ValueError("of a plugin")

    with pytest.raises(ValueError, match="of a plugin"):
        PluginConnections(engine, standard_tables(), audit=True).audited(fail)
    assert rows(engine) == (0, 0)


def test_tried_again_where_another_was_in_its_way(engine: Engine) -> None:
    attempts = []

    def collide(connection: Connection) -> tuple[int, Sequence[AuditEvent]]:
        result = insert(connection)
        attempts.append(result[0])
        if len(attempts) == 1:
            raise IntegrityError("INSERT", None, Exception())
        return result

    assert PluginConnections(engine, standard_tables(), audit=True).audited(collide) == 0
    assert (attempts, rows(engine)) == ([0, 0], (1, 1))
