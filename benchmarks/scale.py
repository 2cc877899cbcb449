"""`make bench-scale`: the same queries and the same ingest in an index of a thousand to a million studies."""

import argparse
import fcntl
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import generate_uid
from rich.console import Console
from rich.progress import track
from sqlalchemy import create_engine, func, insert, select

from benchmarks.documented_queries import DocumentedQuery, documented_queries
from benchmarks.synthetic import STUDIES_OF_A_GROUP, SyntheticIndex, batches, example, instance_rows, series_of_groups
from fileroom_storage.index.tables import standard_tables
from fileroom_storage.storage import Provenance, Query, Storage, StorageSettings

_GROUPS_AT_ONCE = 100
_REPEATS = 50
_INGESTED = 1000
_INGESTS = 3
_PICKED_FROM = 20  # studies of a list that a person picks one from
_WITH_ALL_INSTANCES = 100_000
_HASTE = {
    "sqlite": ("PRAGMA synchronous = OFF", "PRAGMA cache_size = -1000000"),
    "mysql": ("SET unique_checks = 0", "SET foreign_key_checks = 0"),
    "postgresql": ("SET synchronous_commit = off",),
}
_ANALYZE = {"sqlite": "ANALYZE", "mysql": "ANALYZE TABLE", "postgresql": "ANALYZE"}
_CONSOLE = Console(stderr=True)


def main() -> None:
    arguments = _arguments()
    results = Results(arguments.database)
    with _database(arguments) as (database, folder), Storage.open(StorageSettings(folder, database)) as storage:
        storage.create_schema_if_empty()
        filled = 0
        for size in sorted(arguments.sizes):
            groups = max(size // STUDIES_OF_A_GROUP, 1)
            _fill(database, filled, groups, _instances(arguments, size))
            filled = groups
            with _quiet(arguments.lock):
                for documented in documented_queries(example(standard_tables(), groups // 2)):
                    results.add(documented.name, size, *_milliseconds(storage, _narrowed(storage, documented)))
                ingested = min(_ingest(storage) for _ in range(_INGESTS))
                results.add(f"ingest of {_INGESTED} instances", size, ingested, _INGESTED)
            results.indexed[size] = _counts(database)
            print(results.table(), flush=True)
    if arguments.output:
        arguments.output.write_text(results.table() + "\n")


class Results:
    """What was measured: by query and size, milliseconds and the number of answers."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._measured: dict[str, dict[int, tuple[float, int]]] = defaultdict(dict)
        self.indexed: dict[int, str] = {}

    def add(self, name: str, size: int, milliseconds: float, answers: int) -> None:
        self._measured[name][size] = milliseconds, answers

    def table(self) -> str:
        sizes = list(self.indexed)
        lines = [
            f"| {self._database}, milliseconds, the shortest (answers) | "
            + " | ".join(f"{size:,} studies" for size in sizes)
            + " | ratio |",
            "|---|" + "---|" * (len(sizes) + 1),
            "| rows in the index | " + " | ".join(self.indexed.values()) + " | |",
        ]
        for name, row in self._measured.items():
            cells = [f"{row[size][0]:.2f} ({row[size][1]:,})" for size in sizes]
            ratio = row[sizes[-1]][0] / row[sizes[0]][0]
            lines.append(f"| {name} | " + " | ".join(cells) + f" | {ratio:.2f} |")
        return "\n".join(lines)


def _instances(arguments: argparse.Namespace, size: int) -> tuple[int, int]:
    """Fewest and most instances of a series: what was asked for, or what fits a disk."""
    if arguments.instances_per_series:
        fewest, most = arguments.instances_per_series
        return fewest, most
    return (10, 30) if size <= _WITH_ALL_INSTANCES else (1, 3)


def _fill(database: str, filled: int, groups: int, instances: tuple[int, int]) -> None:
    """Adds groups of patients with their studies, index rows only, until there are so many."""
    tables = standard_tables()
    # the index's own engine waits for the disk at every commit; what is made here can be made again
    engine = create_engine(database)
    with engine.connect() as connection:
        for statement in _HASTE[engine.dialect.name]:
            connection.exec_driver_sql(statement)
        connection.commit()
        synthetic = SyntheticIndex(
            tables, set(connection.execute(select(tables.name_suffix.c.word).distinct()).scalars())
        )
        if not filled:
            connection.execute(*synthetic.issuers())
        pieces = list(batches(filled, groups, _GROUPS_AT_ONCE))
        for first, last in track(
            pieces, f"{filled} to {groups} groups of {STUDIES_OF_A_GROUP} studies", console=_CONSOLE
        ):
            for table, rows in synthetic.rows(first, last, instances).items():
                if rows:
                    connection.execute(insert(table), rows)
            connection.execute(instance_rows(tables, *series_of_groups(first, last), instances[1]))
            connection.commit()
        # as a database that has been used for a while
        for table in tables.metadata.sorted_tables:
            connection.exec_driver_sql(
                f"{_ANALYZE[engine.dialect.name]} {engine.dialect.identifier_preparer.quote(table.name)}"
            )
        connection.commit()
    engine.dispose()


def _counts(database: str) -> str:
    tables = standard_tables()
    engine = create_engine(database)
    with engine.connect() as connection:
        patients = connection.execute(select(func.count()).select_from(tables.patient)).scalar_one()
        instances = connection.execute(select(func.sum(tables.study.c.number_of_study_related_instances))).scalar_one()
    engine.dispose()
    return f"{patients:,} patients, {int(instances):,} instances"


def _narrowed(storage: Storage, documented: DocumentedQuery) -> Query:
    """The query with as much of the name as leaves a few studies, as a person would type it."""
    for name in documented.narrowed:
        narrowed = replace(documented.query, matches={"PatientName": name})
        if storage.count(narrowed) <= _PICKED_FROM:
            return narrowed
    return documented.query


def _milliseconds(storage: Storage, query: Query) -> tuple[float, int]:
    """The shortest of many times, as other work on the machine only ever adds to it, and how many answers there are."""
    list(storage.find(query))
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        found = list(storage.find(query))
        seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds), len(found)


def _ingest(storage: Storage) -> float:
    """Milliseconds for a new study of 1,000 instances; deleted again, so that the next size begins as this one did."""
    data_set = pydicom.dcmread(get_testdata_file("CT_small.dcm"), stop_before_pixels=True)
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = generate_uid(), generate_uid()
    data_set.PatientID = generate_uid()
    encoded = []
    for number in range(_INGESTED):
        data_set.SOPInstanceUID, data_set.InstanceNumber = generate_uid(), number
        buffer = DicomBytesIO()
        buffer.is_little_endian, buffer.is_implicit_VR = True, False
        write_dataset(buffer, data_set)
        encoded.append((str(data_set.SOPInstanceUID), buffer.getvalue()))
    start = time.perf_counter()
    for uid, value in encoded:
        storage.store_data_set(
            value,
            sop_class_uid=str(data_set.SOPClassUID),
            sop_instance_uid=uid,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            provenance=Provenance("import"),
        )
    seconds = time.perf_counter() - start
    storage.delete({"StudyInstanceUID": str(data_set.StudyInstanceUID)})
    return 1000 * seconds


@contextmanager
def _database(arguments: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """The URL of a new database, and a folder for the storage."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        if arguments.database == "sqlite":
            yield f"sqlite:///{folder}/index.sqlite", folder
            return
        from tests.databases import MariaDB

        server = MariaDB([f"--innodb-buffer-pool-size={arguments.buffer_pool}"])
        server.start()
        try:
            with server.fresh_database() as url:
                yield url, folder
        finally:
            server.stop()


@contextmanager
def _quiet(lock: Path | None) -> Iterator[None]:
    """Holds a lock while something is timed, so that others can keep the machine quiet."""
    if lock is None:
        yield
        return
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-scale", description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "mariadb"], default="sqlite")
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument(
        "--folder", type=Path, help="where the index is made; by default the folder for temporary files"
    )
    parser.add_argument(
        "--instances-per-series",
        type=int,
        nargs=2,
        metavar=("FEWEST", "MOST"),
        help=f"by default 10 to 30, and 1 to 3 beyond {_WITH_ALL_INSTANCES:,} studies",
    )
    parser.add_argument("--buffer-pool", default="1G", help="memory of MariaDB for its pages")
    parser.add_argument("--lock", type=Path, help="a file to lock while something is timed")
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
