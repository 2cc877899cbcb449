"""No documented query reads a table from one end to the other: what each database says it will do is looked at."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from benchmarks.documented_queries import DocumentedQuery, documented_queries
from benchmarks.synthetic import example
from fileroom_storage.attributes import Level
from fileroom_storage.index.engine import create_engine
from fileroom_storage.index.tables import standard_tables
from fileroom_storage.storage import Storage
from tests.databases import DATABASES, Databases
from tests.storage.query.synthetic_storage import synthetic_storage

# enough for every optimizer to prefer an index where there is one
_GROUPS = 800
# read from its newest end, it is left as soon as a list is long enough
_NEWEST_FIRST = "ix_dicom_study_study_date_study_time_pk_patient_pk"
_DOCUMENTED = list(documented_queries(example(standard_tables(), _GROUPS // 2)))

Statement = tuple[str, Any]


@pytest.fixture(scope="module", params=DATABASES)
def filled(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Storage]:
    folder = tmp_path_factory.mktemp("plans")
    with databases.fresh(request.param, folder) as url, synthetic_storage(url, folder, _GROUPS) as storage:
        yield storage


@pytest.mark.parametrize("documented", _DOCUMENTED, ids=lambda documented: documented.name)
def test_no_documented_query_scans_a_table(filled: Storage, documented: DocumentedQuery) -> None:
    with _statements() as statements:
        list(filled.find(documented.query))
    assert statements
    with _connection(filled) as connection:
        scanned = [scan for statement in statements for scan in _scans(connection, statement)]
    bounded = {_NEWEST_FIRST} if documented.query.limit is not None else set()
    assert set(scanned) <= bounded


@pytest.mark.parametrize("documented", _DOCUMENTED, ids=lambda documented: documented.name)
def test_counts_and_sets_are_kept_not_joined(filled: Storage, documented: DocumentedQuery) -> None:
    with _statements() as statements:
        list(filled.find(documented.query))
        filled.count(documented.query)
    joined = [sql for sql, _ in statements if "dicom_instance" in sql]
    assert bool(joined) is (documented.query.level is Level.IMAGE)


@pytest.mark.parametrize("documented", _DOCUMENTED, ids=lambda documented: documented.name)
def test_every_documented_query_finds_something(filled: Storage, documented: DocumentedQuery) -> None:
    """Otherwise a plan would say little, and a benchmark less."""
    assert filled.count(documented.query) > 0


def test_what_is_retrieved_is_found_by_its_keys(filled: Storage) -> None:
    one = example(standard_tables(), _GROUPS // 2)
    keys = {"PatientID": one.patient_id, "StudyInstanceUID": one.study_instance_uid}
    keys |= {"SeriesInstanceUID": one.series_instance_uid, "SOPInstanceUID": one.sop_instance_uid}
    for keyword, value in keys.items():
        with _statements() as statements:
            assert list(filled.locate({keyword: value}))
        with _connection(filled) as connection:
            assert [_scans(connection, statement) for statement in statements] == [[] for _ in statements]


def test_a_scan_is_noticed(filled: Storage) -> None:
    with _connection(filled) as connection:
        for sql in ("SELECT size FROM dicom_study", "SELECT study_description FROM dicom_study WHERE size < 0"):
            assert _scans(connection, (sql, ())) == ["dicom_study"]
        assert _scans(connection, ("SELECT COUNT(*) FROM dicom_patient_name", ()))


def test_the_documented_queries_are_documented() -> None:
    text = (Path(__file__).parents[3] / "benchmarks" / "README.md").read_text()
    listed = re.findall(r"^\| ([^|]+?) +\|", text.split("| query |", 1)[1].split("\n\n", 1)[0], re.MULTILINE)
    assert [name for name in listed if set(name) != {"-"}] == [documented.name for documented in _DOCUMENTED]


@contextmanager
def _statements() -> Iterator[list[Statement]]:
    """What is run meanwhile, counting and guessing included."""
    found: list[Statement] = []

    def listen(_connection: Any, _cursor: Any, sql: str, parameters: Any, _context: Any, _many: bool) -> None:
        found.append((sql, parameters))

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", listen)


@contextmanager
def _connection(storage: Storage) -> Iterator[Connection]:
    engine = create_engine(storage.settings.database_url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def _scans(connection: Connection, statement: Statement) -> list[str]:
    """The tables that are read whole, and the indexes that are read from one end on."""
    sql, parameters = statement
    read = {"sqlite": _sqlite_scans, "mysql": _mariadb_scans, "postgresql": _postgresql_scans}
    return list(read[connection.dialect.name](connection, sql, parameters))


def _sqlite_scans(connection: Connection, sql: str, parameters: Any) -> Iterator[str]:
    for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters):
        scan = re.fullmatch(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?.*", row[3])
        if scan is not None and scan[1] not in ("page", "found", "CONSTANT"):
            yield scan[2] or scan[1]


def _mariadb_scans(connection: Connection, sql: str, parameters: Any) -> Iterator[str]:
    for row in connection.exec_driver_sql(f"EXPLAIN {sql}", parameters).mappings():
        table = row["table"] or ""
        if row["type"] == "ALL" and not table.startswith("<"):
            yield table
        elif row["type"] == "index":
            yield row["key"]


def _postgresql_scans(connection: Connection, sql: str, parameters: Any) -> Iterator[str]:
    # of a disk without heads: at the default, PostgreSQL prefers to read a small table whole
    connection.exec_driver_sql("SET random_page_cost = 1.1")
    [(plans,)] = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {sql}", parameters)
    nodes = [plans[0]["Plan"]]
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", ())
        if node["Node Type"] == "Seq Scan":
            yield node["Relation Name"]
        elif node["Node Type"].startswith("Index") and "Index Cond" not in node:
            yield node["Index Name"]
