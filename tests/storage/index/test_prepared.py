"""Prepared statements against SQLAlchemy's own execution: the same rows, the same errors."""

import datetime as dt
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from fileroom_storage.index.engine import create_engine, is_retryable, write_transaction
from fileroom_storage.index.prepared import MOST_KEYS, insert_row, insert_rows, rows_by_keys, update_row
from fileroom_storage.index.schema import create_if_empty
from fileroom_storage.index.tables import standard_tables
from tests.databases import Databases

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 678901)


def test_rows_go_in_and_come_out(database_url: str) -> None:
    tables, engine = standard_tables(), create_engine(database_url)
    create_if_empty(engine)
    rows = [
        {
            "at": NOW + dt.timedelta(seconds=number),
            "action": "stored",
            "study_instance_uid": f"1.{number}",
            "series_instance_uid": "1.2",
            "sop_instance_uid": f"1.3.{number}",
        }
        for number in range(2 * MOST_KEYS + 3)
    ]
    with write_transaction(engine) as connection:
        insert_rows(connection, tables, tables.change, rows[:1])
        connection.execute(insert(tables.change), rows[1:3])
        insert_rows(connection, tables, tables.change, rows[3:])
        insert_rows(connection, tables, tables.change, [])
        # twice, at every size of a list
        for size in (0, 1, 2, 3, MOST_KEYS, len(rows)):
            wanted = [row["study_instance_uid"] for row in rows[:size]]
            found = rows_by_keys(
                connection,
                tables,
                "changes",
                tables.change.c.study_instance_uid,
                wanted,
                lambda chosen: select(tables.change).where(chosen),
            )
            expected = connection.execute(
                select(tables.change).where(tables.change.c.study_instance_uid.in_(wanted))
            ).all()
            assert sorted(found) == sorted(tuple(row) for row in expected)
            assert len(expected) == size
    engine.dispose()


def test_keys_and_errors(database_url: str) -> None:
    tables, engine = standard_tables(), create_engine(database_url)
    create_if_empty(engine)
    with write_transaction(engine) as connection:
        first, second = (
            insert_row(connection, tables, tables.issuer, {"issuer_of_patient_id": name}) for name in ("PRIVATE", "B")
        )
        update_row(connection, tables, tables.issuer, second, {"issuer_of_patient_id": "C"})
        rows = connection.execute(select(tables.issuer)).all()
    found = {row.pk: row.issuer_of_patient_id for row in rows}
    assert found == {first: "PRIVATE", second: "C"}
    with pytest.raises(IntegrityError) as raised, write_transaction(engine) as connection:
        insert_row(connection, tables, tables.issuer, {"issuer_of_patient_id": "PRIVATE"})
    assert is_retryable(raised.value)
    engine.dispose()


def test_a_connection_that_is_gone_is_given_up(databases: Databases, tmp_path: Path) -> None:
    """The driver's error becomes SQLAlchemy's, which says that the connection is lost."""
    with databases.fresh("mariadb", tmp_path) as url:
        tables, engine = standard_tables(), create_engine(url)
        create_if_empty(engine)
        with write_transaction(engine) as connection:
            number = connection.execute(text("SELECT CONNECTION_ID()")).scalar_one()
            with engine.connect() as other:
                other.execute(text(f"KILL {int(number)}"))
            with pytest.raises(OperationalError) as raised:
                insert_row(connection, tables, tables.issuer, {"issuer_of_patient_id": "A"})
            assert connection.invalidated
            connection.rollback()
        assert is_retryable(raised.value)
        with write_transaction(engine) as connection:
            assert insert_row(connection, tables, tables.issuer, {"issuer_of_patient_id": "A"}) > 0
        engine.dispose()
