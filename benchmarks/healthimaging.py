"""Image sets a second into the index, beside the design of AWS's sample on the same machine: one commit a statement.

`make bench-healthimaging` writes HEALTHIMAGING.md. The sample's design is simulated by its statements: for each entity
a SELECT and, where it is new, an INSERT, each committed by itself, into five tables of few columns.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, Text, create_engine, insert, select

from fileroom_healthimaging.document import read_document
from fileroom_healthimaging.image_set_index import ImageSetIndex
from fileroom_healthimaging.image_set_version import ImageSetVersion
from fileroom_healthimaging.plugin import plugin
from fileroom_healthimaging.section import HealthImagingSection
from fileroom_storage.plugin import EnabledPlugin
from fileroom_storage.storage import Storage, StorageSettings
from tests.databases import Databases

IMAGE_SETS = 40
INSTANCES = 20  # of an image set
BATCH = 40
OUTPUT = Path(__file__).parent / "HEALTHIMAGING.md"

_HEAD = f"""# HealthImaging: image sets a second into the index

By `make bench-healthimaging`: {IMAGE_SETS} image sets of {INSTANCES} instances, each of one frame, {BATCH} at a time;
the frames are rows too. The sample of AWS is simulated: its statements, one commit each, into tables of few columns and
without objects. What fileroom has at the end is durable headers as well as rows.

| database | design | image sets/s | instances/s |
|---|---|---|---|
"""


def documents() -> Iterator[bytes]:
    for number in range(1, IMAGE_SETS + 1):
        study = f"1.2.826.0.1.3680043.10.99.{number}"
        images = {
            f"{study}.1.{one}": {
                "DICOM": {
                    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
                    "SOPInstanceUID": f"{study}.1.{one}",
                    "InstanceNumber": str(one),
                    "ImagePositionPatient": ["0", "0", str(one)],
                    "PixelSpacing": ["0.5", "0.5"],
                },
                "ImageFrames": [{"ID": f"{number * 1000 + one:032x}", "FrameSizeInBytes": 524288}],
            }
            for one in range(1, INSTANCES + 1)
        }
        series = {"DICOM": {"SeriesInstanceUID": f"{study}.1", "Modality": "CT"}, "Instances": images}
        yield orjson.dumps(
            {
                "SchemaVersion": "1.1",
                "DatastoreID": "d" * 32,
                "ImageSetID": f"{number:032x}",
                "Patient": {"DICOM": {"PatientID": f"P{number}", "PatientName": f"Doe^{number}"}},
                "Study": {"DICOM": {"StudyInstanceUID": study}, "Series": {f"{study}.1": series}},
            }
        )


def fileroom(url: str, folder: Path) -> float:
    """Seconds for all."""
    enabled = EnabledPlugin(plugin, HealthImagingSection())
    told = [ImageSetVersion("d" * 32, f"{number:032x}", 1, document=one) for number, one in enumerate(documents(), 1)]
    with Storage.open(StorageSettings(data=folder / "data", database=url, plugins=(enabled,))) as storage:
        storage.create_schema_if_empty()
        index = ImageSetIndex(storage.plugins.context("healthimaging"))
        begun = time.perf_counter()
        for start in range(0, len(told), BATCH):
            if any(one.error for one in index.tell(told[start : start + BATCH])):
                raise RuntimeError("an image set was not taken")
        return time.perf_counter() - begun


def commit_a_statement(url: str, folder: Path) -> float:
    """Seconds for all."""
    metadata = MetaData()
    tables = {name: _table(metadata, name) for name in ("issuer", "patient", "study", "series", "instance", "frame")}
    engine = create_engine(StorageSettings(database=url, data=folder).database_url)
    metadata.create_all(engine)
    contents = list(documents())
    begun = time.perf_counter()
    with engine.connect() as connection:
        for content in contents:
            _insert_each(connection, tables, content)
    seconds = time.perf_counter() - begun
    engine.dispose()
    return seconds


def _insert_each(connection: Connection, tables: dict[str, Table], content: bytes) -> None:
    document = read_document(content)

    def key_of(table: Table, uid: str, parent: int, values: Any) -> int:
        found = connection.execute(select(table.c.id).where(table.c.uid == uid)).scalar()
        if found is None:
            [found] = connection.execute(
                insert(table).values(uid=uid, parent=parent, attributes=orjson.dumps(values).decode())
            ).inserted_primary_key or [0]
        connection.commit()
        return int(found)

    issuer = key_of(tables["issuer"], "DEFAULT_DOMAIN", 0, {})
    patient_id = str(document.patient_attributes["PatientID"])
    patient = key_of(tables["patient"], patient_id, issuer, document.patient_attributes)
    study = key_of(tables["study"], document.study_instance_uid, patient, document.study_attributes)
    for series in document.series:
        series_key = key_of(tables["series"], series.series_instance_uid, study, series.attributes)
        for one in series.instances:
            instance = key_of(tables["instance"], one.sop_instance_uid, series_key, one.attributes)
            for frame in one.frames:
                key_of(tables["frame"], frame.image_frame_id, instance, {})


def _table(metadata: MetaData, name: str) -> Table:
    return Table(
        f"sample_{name}",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("uid", String(64), unique=True, nullable=False),
        Column("parent", Integer, nullable=False),
        Column("attributes", Text),
    )


def main() -> None:
    designs: dict[str, Callable[[str, Path], float]] = {
        "fileroom": fileroom,
        "a commit a statement": commit_a_statement,
    }
    console, databases, lines = Console(), Databases(), []
    try:
        for kind in ("sqlite", "mariadb"):
            for name, design in designs.items():
                with tempfile.TemporaryDirectory() as folder, databases.fresh(kind, Path(folder)) as url:
                    rate = IMAGE_SETS / design(url, Path(folder))
                lines.append(f"| {kind} | {name} | {rate:.1f} | {rate * INSTANCES:.0f} |")
                console.print(lines[-1])
    finally:
        databases.stop()
    OUTPUT.write_text(_HEAD + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
