"""An index with the plugin enabled, and all that is in it as values that no order of events may change."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import delete, select

from fileroom_healthimaging.image_set_index import ImageSetIndex
from fileroom_healthimaging.image_set_rows import ImageSetRows
from fileroom_healthimaging.image_set_version import ImageSetName, ImageSetVersion
from fileroom_healthimaging.plugin import plugin
from fileroom_healthimaging.plugin_tables import METADATA, TABLES
from fileroom_healthimaging.section import HealthImagingSection
from fileroom_storage.errors import UnusableObject
from fileroom_storage.plugin import EnabledPlugin
from fileroom_storage.storage import Provenance, Storage, StorageSettings
from tests.fakes.image_set_documents import image_set_documents
from tests.plugins.healthimaging.documents import Json
from tests.storage.stored import empty

DATASTORE = "d" * 32


def image_set_id(letter: str) -> str:
    return letter * 32


@contextmanager
def opened(folder: Path, database: str, index_level: str = "frame") -> Iterator[Storage]:
    enabled = EnabledPlugin(plugin, HealthImagingSection.model_validate({"index_level": index_level}))
    settings = StorageSettings(data=folder / "data", database=database, plugins=(enabled,))
    with Storage.open(settings) as storage:
        storage.create_schema_if_empty()
        yield storage


def index_of(storage: Storage) -> ImageSetIndex:
    return ImageSetIndex(storage.plugins.context("healthimaging"))


def version(letter: str, version_id: int | None = 1, json: Json | None = None, /, **values: Any) -> ImageSetVersion:
    """As somebody tells it; its document has the names of the image set."""
    content = None
    if json is not None:
        content = orjson.dumps(json | {"DatastoreID": DATASTORE, "ImageSetID": image_set_id(letter)})
    return ImageSetVersion(DATASTORE, image_set_id(letter), version_id, document=content, **values)


def of_study(json: Json, study: str, series: str) -> Json:
    """The same document of another study and series."""
    [of_it] = json["Study"]["Series"].values()
    of_it["DICOM"]["SeriesInstanceUID"] = series
    json["Study"]["DICOM"]["StudyInstanceUID"] = study
    return json | {"Study": json["Study"] | {"Series": {series: of_it}}}


def is_stored(storage: Storage, content: bytes) -> bool:
    """Stores a Part 10 object; whether it is one that can be."""
    incoming = storage.receive()
    incoming.write(content)
    try:
        incoming.store(Provenance("import"))
    except UnusableObject:
        return False
    return True


def versions_of(contents: Sequence[bytes]) -> list[ImageSetVersion]:
    """The image sets of Part 10 objects, each of a name of its own."""
    told = []
    for number, (document, _) in enumerate(image_set_documents(contents)):
        name = f"{number:032x}"
        json = orjson.dumps(document | {"DatastoreID": DATASTORE, "ImageSetID": name})
        told.append(ImageSetVersion(DATASTORE, name, 1, document=json))
    return told


def emptied(storage: Storage) -> None:
    with storage.plugins.context("healthimaging").database.write() as connection:
        for table in reversed(METADATA.sorted_tables):
            if table.name.startswith("healthimaging_"):
                connection.execute(delete(table))
    empty(storage)


def contents(storage: Storage) -> dict[str, Any]:
    """Everything but keys and times of the index itself."""
    database = storage.plugins.context("healthimaging").database
    core = database.tables
    with database.read() as connection:

        def rows(*columns: Any, joined: Any = None) -> list[tuple[Any, ...]]:
            statement = select(*columns)
            if joined is not None:
                statement = statement.select_from(joined)
            return sorted((tuple(row) for row in connection.execute(statement)), key=repr)

        patient, study, series, instance = core.patient, core.study, core.series, core.instance
        hierarchy = study.join(patient, patient.c.pk == study.c.patient_pk)
        of_series = series.join(study, study.c.pk == series.c.study_pk)
        of_instance = instance.join(series, series.c.pk == instance.c.series_pk)
        image_set, frame, told = TABLES.image_set, TABLES.frame, TABLES.version
        internal = {"pk", "change", "document"}
        return {
            "patients": rows(*_told(patient)),
            "studies": rows(patient.c.patient_id, *_told(study), joined=hierarchy),
            "series": rows(study.c.study_instance_uid, *_told(series), joined=of_series),
            "instances": rows(series.c.series_instance_uid, *_told(instance), joined=of_instance),
            "image sets": rows(*(column for column in image_set.c if column.name not in internal)),
            "history": rows(
                image_set.c.image_set_id,
                told.c.digest,
                joined=told.join(image_set, image_set.c.pk == told.c.image_set_pk),
            ),
            "of image sets": sorted(
                (one.key, uid, sorted(uids))
                for one in ImageSetRows(connection, TABLES).named(_names(connection)).values()
                for uid, uids in one.series.items()
            ),
            "frames": rows(
                image_set.c.image_set_id,
                instance.c.sop_instance_uid,
                *(column for column in frame.c if not column.name.endswith("pk")),
                joined=frame.join(instance, instance.c.pk == frame.c.instance_pk).join(
                    image_set, image_set.c.pk == frame.c.image_set_pk
                ),
            ),
        }


def _names(connection: Any) -> list[Any]:
    table = TABLES.image_set
    return [ImageSetName(*row) for row in connection.execute(select(table.c.datastore_id, table.c.image_set_id))]


_INTERNAL = {
    "pk",
    "issuer_pk",
    "patient_pk",
    "study_pk",
    "series_pk",
    "created_at",
    "updated_at",
    "location",
    "received_at",
}


def _told(table: Any) -> list[Any]:
    return [column for column in table.c if column.name not in _INTERNAL]
