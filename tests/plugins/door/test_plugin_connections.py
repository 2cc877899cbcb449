"""Transactions of plugins that are tried again, with their events in the audit log."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.exc import IntegrityError

from fileroom_storage.index.engine import create_engine
from fileroom_storage.index.schema import upgrade
from fileroom_storage.index.tables import standard_tables
from fileroom_storage.plugin import Actor, AuditAction, AuditEvent, AuditEventId, PluginConnections

EVENT = AuditEvent(AuditEventId.APPLICATION_ACTIVITY, AuditAction.EXECUTE, Actor("server"))


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


def insert(connection: Connection, connections: PluginConnections) -> int:
    pk: int = connection.execute(text("SELECT count(*) FROM notes_text")).scalar_one()
    connection.execute(text("INSERT INTO notes_text VALUES (:pk)"), {"pk": pk})
    connections.audit(connection, [EVENT])
    return pk


@pytest.mark.parametrize("audited", [False, True])
def test_events_are_durable_with_what_they_are_of(engine: Engine, audited: bool) -> None:
    connections = PluginConnections(engine, standard_tables(), audited=audited)
    assert [connections.transaction(lambda connection: insert(connection, connections)) for _ in range(2)] == [0, 1]
    assert rows(engine) == (2, 2 if audited else 0)


def test_what_raises_leaves_nothing(engine: Engine) -> None:
    connections = PluginConnections(engine, standard_tables(), audited=True)

    def fail(connection: Connection) -> None:
        insert(connection, connections)
        raise ValueError("of a plugin")

    with pytest.raises(ValueError, match="of a plugin"):
        connections.transaction(fail)
    assert rows(engine) == (0, 0)


def test_tried_again_where_another_was_in_its_way(engine: Engine) -> None:
    connections = PluginConnections(engine, standard_tables(), audited=True)
    attempts: list[int] = []

    def collide(connection: Connection) -> int:
        attempts.append(insert(connection, connections))
        if len(attempts) == 1:
            raise IntegrityError("INSERT", None, Exception())
        return attempts[-1]

    assert connections.transaction(collide) == 0
    assert (attempts, rows(engine)) == ([0, 0], (1, 1))
