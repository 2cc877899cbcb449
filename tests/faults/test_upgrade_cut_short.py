"""`kill -9` while the index is made: the next start goes on where it was."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from fileroom_storage.errors import SchemaNotCurrent
from fileroom_storage.index import schema
from fileroom_storage.index.engine import create_engine
from fileroom_storage.index.lineage import core_lineage
from fileroom_storage.index.tables import standard_tables
from fileroom_storage.index.views import has_views
from tests.databases import Databases

ROOT = Path(__file__).parents[2]
LONG = int(os.environ.get("FAULT_ROUNDS", "20")) > 20
_NEVER = 10_000
_DYING = """
import os, signal, sys
from sqlalchemy import Engine, event
from fileroom_storage.storage import IndexSchema

steps = 0

@event.listens_for(Engine, "after_cursor_execute")
def count(connection, cursor, statement, *_):
    global steps
    if statement.lstrip().split(" ")[0].upper() in ("CREATE", "ALTER", "DROP", "UPDATE", "INSERT"):
        steps += 1
        if steps == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

with IndexSchema(sys.argv[1]) as index:
    index.create_if_empty()
print(steps)
"""


def made_until(url: str, step: int) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", _DYING, url, str(step)], capture_output=True, text=True, timeout=250, cwd=ROOT
    )


@pytest.mark.timeout(0 if LONG else 300)
@pytest.mark.parametrize(("kind", "rounds"), [("mariadb", 4), ("postgresql", 2), ("sqlite", 2)])
def test_the_next_start_goes_on(kind: str, rounds: int, databases: Databases, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    with databases.fresh(kind, tmp_path / "whole") as url:
        whole = made_until(url, _NEVER)
        assert whole.returncode == 0, whole.stderr
        steps = int(whole.stdout)
    assert steps > 60
    for step in range(1, steps + 1) if LONG else random.Random(5).sample(range(1, steps + 1), rounds):
        folder = tmp_path / str(step)
        folder.mkdir()
        with databases.fresh(kind, folder) as url:
            killed = made_until(url, step)
            assert killed.returncode == -signal.SIGKILL, killed.stderr
            engine = create_engine(url)
            schema.create_if_empty(engine)
            schema.check_current(engine)
            assert has_views(engine)
            with engine.connect() as connection:
                context = MigrationContext.configure(connection, opts={"compare_type": True})
                assert compare_metadata(context, standard_tables().metadata) == [], f"killed at step {step}"
            engine.dispose()


def revisions() -> list[str]:
    scripts = ScriptDirectory.from_config(core_lineage().config())
    return [script.revision for script in scripts.walk_revisions()][::-1]


@pytest.mark.parametrize("revision", revisions()[1:])
def test_a_migration_may_have_been_done_but_for_its_last_step(
    revision: str, databases: Databases, tmp_path: Path
) -> None:
    """MariaDB has committed each step, and what a step has filled in; only the version still says otherwise."""
    before = revisions()[revisions().index(revision) - 1]
    with databases.fresh("mariadb", tmp_path) as url:
        engine = create_engine(url)
        with engine.connect() as connection:
            config = core_lineage().config()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            connection.commit()
        rows = contents(engine)
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :before"), {"before": before})
        schema.upgrade(engine)
        schema.check_current(engine)
        after = contents(engine)
        assert {name: after[name] for name in rows} == rows
        engine.dispose()


def contents(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """By table; views and Alembic's own are none of it."""
    names = {table.name for table in standard_tables().metadata.sorted_tables} & {*inspect(engine).get_table_names()}
    with engine.connect() as connection:
        return {name: sorted(map(tuple, connection.execute(text(f"SELECT * FROM `{name}`")))) for name in names}


def test_a_table_of_somebody_else_is_not_taken_for_a_step_done(databases: Databases, tmp_path: Path) -> None:
    with databases.fresh("mariadb", tmp_path) as url:
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE `change` (what INTEGER PRIMARY KEY)"))
        with pytest.raises(SchemaNotCurrent, match="database of its own"):
            schema.create_if_empty(engine)
        engine.dispose()
