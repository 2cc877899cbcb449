"""Many matches are answered from a cursor: memory does not grow with their number."""

import datetime as dt
import tracemalloc
from pathlib import Path

from sqlalchemy import insert

from fileroom_storage.attributes import Level
from fileroom_storage.index.engine import create_engine
from fileroom_storage.index.tables import standard_tables
from fileroom_storage.storage import Query, Storage
from tests.made import made
from tests.storage.stored import store

MANY = 20_000
NOW = dt.datetime(2024, 1, 1)  # as the index keeps times


def fill(storage: Storage) -> None:
    """Index rows only: copies of one study under other UIDs."""
    store(storage, made(StudyDescription="x" * 60))
    tables, engine = standard_tables(), create_engine(storage.settings.database_url)
    first = dt.date(2000, 1, 1)
    with engine.begin() as connection:
        patient_pk = connection.execute(tables.patient.select()).mappings().one()["pk"]
        rows = [
            {
                "patient_pk": patient_pk,
                "study_instance_uid": f"1.2.3.{number}",
                "study_date": first + dt.timedelta(days=number % 8000),
                "study_description": "x" * 60,
                "created_at": NOW,
                "updated_at": NOW,
            }
            for number in range(MANY)
        ]
        for start in range(0, MANY, 2000):
            connection.execute(insert(tables.study), rows[start : start + 2000])
    engine.dispose()


def test_memory_stays_flat(storage: Storage, tmp_path: Path) -> None:
    fill(storage)
    next(storage.find(Query(Level.STUDY, limit=1)))  # what is made once
    tracemalloc.start()
    try:
        answers = sum(1 for _ in storage.find(Query(Level.STUDY)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answers == MANY + 1
    # all rows at once take thirty times as much
    assert peak < 4_000_000
