"""An index with the tables of tags and import jobs, for their tests; processes that die where a test says so."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, select

from fileroom_healthimaging.dicom_import_jobs import DicomImportJobs
from fileroom_healthimaging.due_work import Pauses
from fileroom_healthimaging.image_set_version import ImageSetVersion
from fileroom_healthimaging.plugin import plugin
from fileroom_healthimaging.plugin_tables import TAG_AND_JOB_TABLES
from fileroom_healthimaging.tag_and_job_tables import TagAndJobTables
from fileroom_healthimaging.tags import Tags
from fileroom_storage.index import schema
from fileroom_storage.index.engine import create_engine
from fileroom_storage.index.tables import standard_tables
from fileroom_storage.plugin import Actor, PluginConnections

ACTOR = Actor("command line", "tester")
# an attempt follows the last one at once, and what a dead process was at is free at once
AT_ONCE = Pauses(first=0.0, longest=0.0, lease=0.0)


class Killed(BaseException):
    """A process ends here: nothing behind this runs in it, not even what handles errors."""


@dataclass(frozen=True)
class TaggingIndex:
    engine: Engine
    tables: TagAndJobTables
    tags: Tags
    jobs: DicomImportJobs

    def audited(self) -> list[dict[str, Any]]:
        """All of the audit log, in its order."""
        table = standard_tables().audit_log
        with self.engine.connect() as connection:
            rows = connection.execute(select(table).order_by(table.c.at)).mappings()
            return [dict(row) for row in rows]


@contextmanager
def tagging_index(database_url: str, pauses: Pauses = AT_ONCE) -> Iterator[TaggingIndex]:
    engine = create_engine(database_url)
    assert plugin.database is not None
    schema.upgrade(engine, {plugin.name: plugin.database})
    tables = TAG_AND_JOB_TABLES
    database = PluginConnections(engine, standard_tables(), audit=True)
    try:
        yield TaggingIndex(
            engine,
            tables,
            Tags(database, tables, pauses),
            DicomImportJobs(database, tables, pauses),
        )
    finally:
        engine.dispose()


@dataclass(frozen=True)
class Outcome:
    error: str | None = None
    unusable: tuple[str, ...] = ()


class RecordingIndex:
    """An index that takes everything, and keeps what it was told; `dies_after` so many image sets."""

    def __init__(self) -> None:
        self.told: list[ImageSetVersion] = []
        self.dies_after: int | None = None

    def tell(self, versions: Sequence[ImageSetVersion]) -> list[Outcome]:
        if self.dies_after is not None and len(self.told) >= self.dies_after:
            raise Killed
        self.told += versions
        return [Outcome() for _ in versions]

    def known_versions(self, _datastore_id: str) -> dict[str, int | None]:
        return {}


def killed_at(client: Any, operation: str, *, after: bool) -> Any:
    """A client in whose process nothing happens any more before, or after, the next call of an operation."""

    class Dying:
        def __getattr__(self, name: str) -> Any:
            method = getattr(client, name)
            if name != operation:
                return method

            def call(**asked: Any) -> Any:
                if after:
                    method(**asked)
                raise Killed

            return call

    return Dying()
