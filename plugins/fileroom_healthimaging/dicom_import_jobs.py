"""DICOM import jobs of the service: from the request until each file's outcome is known, durable at every step."""

import datetime as dt
import re
import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from fileroom_storage.plugin import (
    Action,
    Actor,
    AuditEvent,
    AuditOutcome,
    EventId,
    PluginConnections,
    StorageError,
    utc_now,
)

from .due_work import DueWork, Pauses
from .tag_and_job_tables import TagAndJobTables

# a job that has not ended by then is no longer asked after
PATIENCE = dt.timedelta(days=7)

# by the service model; a name gets some of the client token, to be known again
_DATASTORE_ID = re.compile(r"[0-9a-z]{32}")
_NAME = re.compile(r"[A-Za-z0-9._/#-]{1,48}")
_S3_URI = re.compile(r"s3://[a-z0-9][.\-a-z0-9]{1,61}[a-z0-9](/.*)?")
_S3_URI_LENGTH = 1024
_ROLE_ARN = re.compile(r"arn:aws(-[^:]+)?:iam::[0-9]{12}:role/.+")
_PAGE = 1000


class JobState(StrEnum):
    CREATED = "created"  # the service may have been asked to start it, or not
    SUBMITTED = "submitted"
    IN_PROGRESS = "in progress"
    COMPLETED = "completed"  # and the outcome of every file is here
    FAILED = "failed"


PENDING = (JobState.CREATED, JobState.SUBMITTED, JobState.IN_PROGRESS)


class FileOutcome(StrEnum):
    IMPORTED = "imported"
    FAILED = "failed"


class InvalidImportJob(StorageError):
    """What the service would refuse."""


class ImportJobNotFound(StorageError):
    """No import job has this number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportJobRequest:
    """Objects below an S3 prefix are to become image sets; reports go below another. Raises InvalidImportJob."""

    datastore_id: str
    data_access_role_arn: str
    input_s3_uri: str
    output_s3_uri: str
    name: str = "fileroom"

    def __post_init__(self) -> None:
        if not _DATASTORE_ID.fullmatch(self.datastore_id):
            raise InvalidImportJob(
                "the ID of the data store is not 32 digits and small letters; copy it from the console"
            )
        if not _ROLE_ARN.fullmatch(self.data_access_role_arn):
            raise InvalidImportJob("the role is not like arn:aws:iam::111122223333:role/NAME")
        if not _NAME.fullmatch(self.name):
            raise InvalidImportJob("the name has 1 to 48 of the characters A-Z a-z 0-9 . _ / # -")
        for uri in (self.input_s3_uri, self.output_s3_uri):
            if not _S3_URI.fullmatch(uri) or len(uri) > _S3_URI_LENGTH:
                raise InvalidImportJob("input and output are prefixes like s3://bucket/folder/")


@dataclass(frozen=True, slots=True)
class ImportJob:
    """A job and what became of it. Times are UTC; counts are None until its reports have been read."""

    pk: int
    request: ImportJobRequest
    state: JobState
    client_token: str
    job_id: str | None
    manifest_s3_uri: str | None
    message: str | None
    number_of_scanned_files: int | None
    number_of_imported_files: int | None
    number_of_failed_files: int | None
    number_of_image_sets: int | None
    told_image_set_id: str | None
    attempts: int
    last_error: str | None
    requested_at: dt.datetime
    due_at: dt.datetime
    ended_at: dt.datetime | None
    settled_at: dt.datetime | None

    @property
    def name_at_service(self) -> str:
        """Such as no other job has."""
        return f"{self.request.name}-{self.client_token[:15]}"

    @classmethod
    def of_row(cls, row: RowMapping) -> Self:
        request = ImportJobRequest(
            datastore_id=row["datastore_id"],
            data_access_role_arn=row["data_access_role_arn"],
            input_s3_uri=row["input_s3_uri"],
            output_s3_uri=row["output_s3_uri"],
            name=row["name"],
        )
        copied: dict[str, Any] = {
            name: row[name] for name in cls.__dataclass_fields__ if name not in ("request", "state")
        }
        return cls(request=request, state=JobState(row["state"]), **copied)


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """What a report says of one file; `line` is its place there, from 1."""

    line: int
    outcome: FileOutcome
    input_file: str
    image_set_id: str | None = None
    image_set_version: int | None = None
    is_primary: bool | None = None
    exception_type: str | None = None
    reason: str | None = None


class DicomImportJobs:
    """The import jobs of an index. Each method is a transaction of its own; all raise StorageUnavailable."""

    def __init__(self, database: PluginConnections, tables: TagAndJobTables, pauses: Pauses | None = None) -> None:
        self._database = database
        self._table = tables.import_job
        self._files = tables.import_file
        self.work = DueWork(database, self._table, PENDING, pauses)

    def create(self, request: ImportJobRequest, actor: Actor) -> ImportJob:
        """Takes a job in, with the client token under which the service starts it once, however often it is asked."""

        def work(connection: Connection) -> tuple[ImportJob, Sequence[AuditEvent]]:
            now = utc_now()
            values = {
                "datastore_id": request.datastore_id,
                "name": request.name,
                "client_token": uuid.uuid4().hex,
                "data_access_role_arn": request.data_access_role_arn,
                "input_s3_uri": request.input_s3_uri,
                "output_s3_uri": request.output_s3_uri,
                "state": JobState.CREATED.value,
                "attempts": 0,
                "requested_at": now,
                "due_at": now,
                "give_up_at": now + PATIENCE,
            }
            key = connection.execute(insert(self._table), values).inserted_primary_key
            if key is None:
                raise RuntimeError("the database gave the new import job no key")
            row = self._row(connection, key[0])
            return ImportJob.of_row(row), [self.event(row, actor)]

        return self._database.audited(work)

    def read(self, pk: int) -> ImportJob:
        """Raises ImportJobNotFound."""
        with self._database.read() as connection:
            return ImportJob.of_row(self._row(connection, pk))

    def all(self, states: Collection[JobState] = tuple(JobState)) -> Iterator[ImportJob]:
        """Newest first."""
        table = self._table
        statement = select(table).where(table.c.state.in_([state.value for state in states]))
        with self._database.read() as connection:
            for row in connection.execute(statement.order_by(table.c.pk.desc())).mappings():
                yield ImportJob.of_row(row)

    def hasten(self, pk: int) -> ImportJob:
        """Has one that waits for its next attempt be due now. Raises ImportJobNotFound."""
        table, now = self._table, utc_now()
        waiting = (table.c.pk == pk, table.c.state.in_(PENDING), table.c.claimed_by.is_(None))
        statement = update(table).where(*waiting).values(due_at=now, give_up_at=now + PATIENCE)
        self._database.audited(lambda connection: (connection.execute(statement), ()))
        return self.read(pk)

    # -- files ---------------------------------------------------------------------------------------------

    def files(self, pk: int, outcomes: Collection[FileOutcome] = tuple(FileOutcome)) -> Iterator[ImportedFile]:
        """In the order of the reports, what failed first."""
        table = self._files
        for outcome in sorted(outcomes):
            after = 0
            while True:
                statement = select(table).where(
                    table.c.import_job_pk == pk, table.c.outcome == outcome.value, table.c.line > after
                )
                with self._database.read() as connection:
                    rows = connection.execute(statement.order_by(table.c.line).limit(_PAGE)).mappings().all()
                if not rows:
                    break
                for row in rows:
                    copied: dict[str, Any] = {
                        name: row[name] for name in ImportedFile.__dataclass_fields__ if name != "outcome"
                    }
                    yield ImportedFile(outcome=outcome, **copied)
                after = rows[-1]["line"]

    def last_line(self, pk: int, outcome: FileOutcome) -> int:
        """How far a report has been read."""
        table = self._files
        statement = select(func.max(table.c.line)).where(table.c.import_job_pk == pk, table.c.outcome == outcome.value)
        with self._database.read() as connection:
            return connection.execute(statement).scalar() or 0

    def record(self, pk: int, owner: str, files: Sequence[ImportedFile]) -> None:
        """Adds lines of a report to a job that is ours. Raises ClaimLost."""
        rows = [
            {
                "import_job_pk": pk,
                **{name: getattr(file, name) for name in ImportedFile.__dataclass_fields__},
                "outcome": file.outcome.value,
            }
            for file in files
        ]

        def insert_files(connection: Connection, _row: RowMapping) -> list[AuditEvent]:
            connection.execute(insert(self._files), rows)
            return []

        self.work.change(pk, owner, {}, insert_files)

    def image_sets(self, pk: int, after: str | None, limit: int) -> list[str]:
        """The next IDs of image sets that files of a job went into, in ascending order."""
        table = self._files
        statement = select(table.c.image_set_id).distinct()
        statement = statement.where(table.c.import_job_pk == pk, table.c.image_set_id > (after or ""))
        with self._database.read() as connection:
            return list(connection.execute(statement.order_by(table.c.image_set_id).limit(limit)).scalars())

    def counts(self, pk: int) -> dict[str, int]:
        """What the reports come to, as columns of the job."""
        table = self._files
        by_outcome = select(table.c.outcome, func.count()).where(table.c.import_job_pk == pk).group_by(table.c.outcome)
        image_sets = select(func.count(table.c.image_set_id.distinct())).where(table.c.import_job_pk == pk)
        with self._database.read() as connection:
            numbers = {outcome: number for outcome, number in connection.execute(by_outcome).all()}  # noqa: C416  # typed rows
            return {
                "number_of_imported_files": numbers.get(FileOutcome.IMPORTED.value, 0),
                "number_of_failed_files": numbers.get(FileOutcome.FAILED.value, 0),
                "number_of_image_sets": connection.execute(image_sets).scalar() or 0,
            }

    # -- inside --------------------------------------------------------------------------------------------

    @staticmethod
    def event(row: RowMapping, actor: Actor) -> AuditEvent:
        """What the audit log has of a job in the state that it has come to (PS3.15 A.5.3.9: Import)."""
        state = JobState(row["state"])
        detail: dict[str, str | int] = {
            "import_job": row["pk"],
            "state": state.value,
            "datastore": row["datastore_id"],
            "input": row["input_s3_uri"],
            "output": row["output_s3_uri"],
        }
        optional = ("job_id", "number_of_imported_files", "number_of_failed_files")
        detail |= {name: row[name] for name in optional if row[name] is not None}
        failed = state is JobState.FAILED
        return AuditEvent(
            EventId.IMPORT,
            Action.CREATE,
            actor,
            AuditOutcome.SERIOUS_FAILURE if failed else AuditOutcome.SUCCESS,
            detail=detail,
        )

    def _row(self, connection: Connection, pk: int) -> RowMapping:
        row = connection.execute(select(self._table).where(self._table.c.pk == pk)).mappings().first()
        if row is None:
            raise ImportJobNotFound(f"there is no import job {pk}; `fileroom healthimaging job list --all` shows them")
        return row
