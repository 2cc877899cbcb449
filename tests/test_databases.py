"""The private databases: fresh, empty, apart from each other, and gone with the session."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text

from fileroom_storage.storage import IndexSchema
from tests.databases import DATABASES, Databases, MariaDB, PostgreSQL, make_index


def tables(url: str) -> list[str]:
    engine = create_engine(url)
    try:
        return inspect(engine).get_table_names()
    finally:
        engine.dispose()


@pytest.mark.parametrize("again", [False, True])
def test_each_database_is_fresh_and_empty(database_url: str, again: bool) -> None:
    assert tables(database_url) == []
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE study (pk INTEGER PRIMARY KEY)"))
    assert tables(database_url) == ["study"]
    engine.dispose()


@pytest.mark.parametrize("kind", DATABASES)
def test_databases_live_side_by_side(databases: Databases, tmp_path: Path, kind: str) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with databases.fresh(kind, tmp_path / "one") as one, databases.fresh(kind, tmp_path / "two") as two:
        assert one != two
        assert tables(one) == tables(two) == []


@pytest.mark.parametrize("kind", DATABASES)
def test_a_forgotten_connection_does_not_keep_a_database(databases: Databases, tmp_path: Path, kind: str) -> None:
    with databases.fresh(kind, tmp_path) as url:
        engine = create_engine(url)
        connection = engine.connect()
        connection.execute(text("SELECT 1"))
    connection.invalidate()
    engine.dispose()


@pytest.mark.parametrize("kind", DATABASES)
def test_a_copied_index_is_as_the_migrations_make_it(databases: Databases, tmp_path: Path, kind: str) -> None:
    (tmp_path / "made").mkdir()
    with databases.fresh(kind, tmp_path / "made") as made, databases.fresh_index(kind, tmp_path / "copy") as copy:
        make_index(made)
        assert described(copy) == described(made)
        with IndexSchema(copy) as index:
            assert index.is_current()


def described(url: str) -> dict[str, Any]:
    """All that makes the tables and views, and the rows that are there from the beginning."""
    engine = create_engine(url)
    inspector = inspect(engine)
    found: dict[str, Any] = {}
    with engine.connect() as connection:
        quote = engine.dialect.identifier_preparer.quote_identifier
        for table in inspector.get_table_names():
            columns = [{**column, "type": repr(column["type"])} for column in inspector.get_columns(table)]
            keys = [inspector.get_pk_constraint(table), inspector.get_foreign_keys(table)]
            # which of two comes first is nobody's choice
            rules: list[list[Any]] = [[*inspector.get_indexes(table)], [*inspector.get_unique_constraints(table)]]
            rows = connection.execute(text(f"SELECT * FROM {quote(table)}")).all()
            found[table] = (columns, keys, [sorted(rule, key=str) for rule in rules], sorted(map(str, rows)))
        for view in inspector.get_view_names():
            found[view] = inspector.get_view_definition(view)
            connection.execute(text(f"SELECT * FROM {quote(view)}"))
    name = engine.url.database or ""
    engine.dispose()
    return {table: json.dumps(what, default=str).replace(name, "") for table, what in found.items()}


@pytest.mark.parametrize("server", [MariaDB, PostgreSQL])
def test_a_server_ends_with_a_killed_session(server: type[MariaDB | PostgreSQL]) -> None:
    script = f"""
import time
from tests.databases import {server.__name__}
server = {server.__name__}()
server.start()
print(server._process.pid, server.folder, flush=True)
time.sleep(60)
"""
    root = Path(__file__).parents[1]
    with subprocess.Popen([sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout is not None
        pid, folder = session.stdout.readline().split()
        assert Path(f"/proc/{pid}").exists()
        session.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}/exe").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}/exe").exists()
    subprocess.run(["rm", "-rf", folder], check=True)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.databases import find_program

    with pytest.raises(pytest.fail.Exception, match="tests/install-debian-packages mariadb-server"):
        find_program("mariadb-that-nobody-has", "mariadb-server")
