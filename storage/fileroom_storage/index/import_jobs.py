"""What imports have done, file by file, so that one that was interrupted goes on where it was."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, Engine, delete, insert, select, update

from .engine import unavailable_errors, write_transaction
from .retrying import retried
from .tables import Tables
from .types import TEXT_LENGTH
from .writer import utc_now

_PAGE = 500


class ImportState(StrEnum):
    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"


class ImportOutcome(StrEnum):
    STORED = "stored"
    ALREADY_STORED = "already stored"
    REFUSED = "refused"  # what it is cannot be stored
    FAILED = "failed"  # it could have been stored


@dataclass(frozen=True, slots=True)
class ImportJob:
    """One run over a source. `earlier` are the runs over the same source before it."""

    pk: int
    earlier: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """What became of one file. `digest` names the file as it was: its path, size and time of modification."""

    digest: str
    path: str
    outcome: ImportOutcome
    reason: str | None = None
    sop_instance_uid: str | None = None


def file_digest(path: str, size: int, modified_ns: int) -> str:
    return hashlib.sha256(f"{path}\0{size}\0{modified_ns}".encode("utf-8", "surrogateescape")).hexdigest()


class ImportJobs:
    """Each method is a transaction of its own. All raise StorageUnavailable."""

    def __init__(self, engine: Engine, tables: Tables) -> None:
        self._engine = engine
        self._tables = tables

    def start(self, source: str) -> ImportJob:
        """Begins a run over `source`, which names what is imported."""
        with unavailable_errors():
            return retried(lambda: self._start(source))

    def succeeded(self, job: ImportJob, digests: Iterable[str]) -> dict[str, str]:
        """Those files that an earlier run has stored and the index still has: digest → SOP Instance UID."""
        wanted = list(digests) if job.earlier else []
        found: dict[str, str] = {}
        with unavailable_errors(), self._engine.connect() as connection:
            for start in range(0, len(wanted), _PAGE):
                found |= self._succeeded(connection, job, wanted[start : start + _PAGE])
        return found

    def record(self, job: ImportJob, files: Sequence[ImportedFile]) -> None:
        if files:
            with unavailable_errors():
                retried(lambda: self._record(job, files))

    def finish(self, job: ImportJob, state: ImportState) -> None:
        """Ends a run. Of the runs before a finished one, only the counts are kept."""
        with unavailable_errors():
            retried(lambda: self._finish(job, state))

    def _start(self, source: str) -> ImportJob:
        table, now = self._tables.import_job, utc_now()
        digest = hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest()
        with write_transaction(self._engine) as connection:
            earlier = connection.execute(select(table.c.pk).where(table.c.source_digest == digest)).scalars().all()
            values = {
                "state": ImportState.RUNNING.value,
                "source": source.encode("utf-8", "backslashreplace").decode(),
                "source_digest": digest,
                "started_at": now,
                "updated_at": now,
                **dict.fromkeys(_COUNTS.values(), 0),
            }
            key = connection.execute(insert(table), values).inserted_primary_key
        if key is None:
            raise RuntimeError("the database gave the new import job no key")
        return ImportJob(int(key[0]), tuple(earlier))

    def _succeeded(self, connection: Connection, job: ImportJob, digests: Sequence[str]) -> dict[str, str]:
        table, instance = self._tables.import_file, self._tables.instance
        rows = connection.execute(
            select(table.c.file_digest, table.c.sop_instance_uid).where(
                table.c.import_job_pk.in_(job.earlier),
                table.c.file_digest.in_(digests),
                table.c.outcome.in_([ImportOutcome.STORED.value, ImportOutcome.ALREADY_STORED.value]),
                table.c.sop_instance_uid.is_not(None),
            )
        )
        uids: dict[str, str] = {row.file_digest: row.sop_instance_uid for row in rows}
        # by a list of values, not by a join: MariaDB cannot use the index across two character sets
        present = set(
            connection.execute(
                select(instance.c.sop_instance_uid).where(instance.c.sop_instance_uid.in_(set(uids.values())))
            ).scalars()
        )
        return {digest: uid for digest, uid in uids.items() if uid in present}

    def _record(self, job: ImportJob, files: Sequence[ImportedFile]) -> None:
        table, jobs = self._tables.import_file, self._tables.import_job
        latest = {file.digest: file for file in files}
        rows = [
            {
                "import_job_pk": job.pk,
                "file_digest": file.digest,
                "path": file.path.encode("utf-8", "backslashreplace").decode(),
                "outcome": file.outcome.value,
                "reason": file.reason,
                "sop_instance_uid": file.sop_instance_uid[:TEXT_LENGTH] if file.sop_instance_uid else None,
            }
            for file in latest.values()
        ]
        counts = Counter(_COUNTS[file.outcome] for file in files)
        with write_transaction(self._engine) as connection:
            # a file that is reached by two ways is met twice
            connection.execute(delete(table).where(table.c.import_job_pk == job.pk, table.c.file_digest.in_(latest)))
            connection.execute(insert(table), rows)
            connection.execute(
                update(jobs)
                .where(jobs.c.pk == job.pk)
                .values({name: jobs.c[name] + number for name, number in counts.items()} | {"updated_at": utc_now()})
            )

    def _finish(self, job: ImportJob, state: ImportState) -> None:
        table, jobs = self._tables.import_file, self._tables.import_job
        with write_transaction(self._engine) as connection:
            connection.execute(update(jobs).where(jobs.c.pk == job.pk).values(state=state.value, updated_at=utc_now()))
            if state is ImportState.FINISHED and job.earlier:
                connection.execute(delete(table).where(table.c.import_job_pk.in_(job.earlier)))


_COUNTS = {
    ImportOutcome.STORED: "stored",
    ImportOutcome.ALREADY_STORED: "already_stored",
    ImportOutcome.REFUSED: "refused",
    ImportOutcome.FAILED: "failed",
}
