"""`make bench-scale`: the same queries and the same ingest in an index of a thousand to a million studies."""

import argparse
import datetime as dt
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
from pydicom.data import get_testdata_file
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import generate_uid
from rich.console import Console
from rich.progress import track
from sqlalchemy import create_engine, insert, text

from benchmarks.synthetic import Example, study_rows
from fileroom_storage.attributes import Level
from fileroom_storage.index.tables import standard_tables
from fileroom_storage.storage import Provenance, Query, Storage, StorageSettings

_CHUNK = 2000
_REPEATS = 30
_INGESTED = 1000
_RETURNED = frozenset(
    {"StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "PatientName", "PatientID", "ModalitiesInStudy"}
    | {"NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "StudyDescription", "PatientBirthDate"}
)
_CONSOLE = Console(stderr=True)


def main() -> None:
    arguments = _arguments()
    measured: dict[str, dict[int, float]] = defaultdict(dict)
    with _database(arguments.database) as url, tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        database = url or f"sqlite:///{folder}/index.sqlite"
        with Storage.open(StorageSettings(Path(folder), database)) as storage:
            storage.create_schema_if_empty()
            filled = 0
            for size in arguments.sizes:
                example = _fill(database, filled, size)
                filled = size
                for name, query in _queries(example).items():
                    measured[name][size] = _milliseconds(storage, query)
                measured[f"ingest of {_INGESTED} instances"][size] = _ingest(storage)
                print(_table(measured, arguments.sizes, arguments.database), flush=True)
    if arguments.output:
        arguments.output.write_text(_table(measured, arguments.sizes, arguments.database) + "\n")


def _fill(database: str, filled: int, size: int) -> Example:
    """Adds studies, index rows only, until there are `size`; returns one from the middle to look for."""
    tables = standard_tables()
    # the index's own engine waits for the disk at every commit; what is made here can be made again
    engine = create_engine(database.replace("mariadb://", "mariadb+pymysql://"), insertmanyvalues_page_size=2000)
    example, _ = study_rows(tables, max(size // 2, 1))
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.execute(text("PRAGMA synchronous = OFF"))
            connection.execute(text("PRAGMA cache_size = -1000000"))
            connection.commit()
        if not filled:
            connection.execute(insert(tables.issuer), {"pk": 1, "issuer_of_patient_id": "DEFAULT_DOMAIN"})
        starts = range(filled, size, _CHUNK)
        for start in track(starts, f"{filled} to {size} studies", console=_CONSOLE):
            rows: dict[Any, list[dict[str, Any]]] = defaultdict(list)
            for number in range(start + 1, min(start + _CHUNK, size) + 1):
                for table, row in study_rows(tables, number)[1]:
                    rows[table].append(row)
            for table in sorted(rows, key=lambda one: [t.name for t in tables.metadata.sorted_tables].index(one.name)):
                connection.execute(insert(table), rows[table])
            connection.commit()
        if engine.dialect.name == "sqlite":
            connection.execute(text("ANALYZE"))
        else:
            for table in tables.metadata.sorted_tables:
                connection.execute(text(f"ANALYZE TABLE `{table.name}`"))
        connection.commit()
    engine.dispose()
    return example


def _queries(example: Example) -> dict[str, Query]:
    week = f"{example.study_date - dt.timedelta(days=3):%Y%m%d}-{example.study_date + dt.timedelta(days=3):%Y%m%d}"

    def studies(**matches: str) -> Query:
        return Query(level=Level.STUDY, matches=matches, return_keys=_RETURNED, limit=100)

    return {
        "study list, newest 100": studies(),
        "PatientID": studies(PatientID=example.patient_id),
        "AccessionNumber": studies(AccessionNumber=example.accession_number),
        "name prefix": studies(PatientName=f"{example.family_name}*"),
        "name *contains*, accents folded": studies(PatientName="*ontge*"),
        "date range with modality": studies(StudyDate=week, ModalitiesInStudy=example.modality),
        "StudyInstanceUID": studies(StudyInstanceUID=example.study_instance_uid),
        "series of a study": Query(
            level=Level.SERIES, matches={"StudyInstanceUID": example.study_instance_uid}, return_keys=None, limit=None
        ),
    }


def _milliseconds(storage: Storage, query: Query) -> float:
    list(storage.find(query))
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        found = list(storage.find(query))
        seconds.append(time.perf_counter() - start)
    if not found:
        raise RuntimeError(f"nothing found: {query.matches}")
    return 1000 * statistics.median(seconds)


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


def _table(measured: dict[str, dict[int, float]], sizes: list[int], database: str) -> str:
    done = [size for size in sizes if any(size in row for row in measured.values())]
    lines = [
        f"| {database}, milliseconds (median) | " + " | ".join(f"{size:,} studies" for size in done) + " | ratio |"
    ]
    lines.append("|---|" + "---|" * (len(done) + 1))
    for name, row in measured.items():
        cells = [f"{row[size]:.2f}" if size in row else "" for size in done]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {row[done[-1]] / row[done[0]]:.2f} |")
    return "\n".join(lines)


@contextmanager
def _database(name: str) -> Iterator[str | None]:
    """The URL of a private database server's new database; None for SQLite."""
    if name == "sqlite":
        yield None
        return
    from tests.databases import MariaDB

    server = MariaDB()
    server.start()
    try:
        with server.fresh_database() as url:
            yield url
    finally:
        server.stop()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-scale", description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "mariadb"], default="sqlite")
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument(
        "--folder", type=Path, help="where the index is made; by default the folder for temporary files"
    )
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
