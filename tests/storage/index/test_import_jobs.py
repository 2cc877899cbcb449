"""The record of imports: what an earlier run has done, and what it has not."""

from fileroom_storage.storage import ImportedFile, ImportOutcome, ImportState, Storage, file_digest
from tests.made import made, uid
from tests.storage.stored import store


def file(name: str, outcome: ImportOutcome, sop_instance_uid: str | None = None) -> ImportedFile:
    return ImportedFile(file_digest(name, 1, 2), name, outcome, None, sop_instance_uid)


def test_a_later_run_knows_what_was_stored(storage: Storage) -> None:
    store(storage, made(SOPInstanceUID=uid(1, 1, 1)))
    jobs = storage.import_jobs
    first = jobs.start("source")
    files = [
        file("stored", ImportOutcome.STORED, uid(1, 1, 1)),
        file("deleted since", ImportOutcome.STORED, uid(1, 1, 2)),
        file("failed", ImportOutcome.FAILED),
    ]
    jobs.record(first, files)
    jobs.finish(first, ImportState.INTERRUPTED)
    digests = [file.digest for file in files]
    assert jobs.succeeded(first, digests) == {}  # it has no run before it
    assert jobs.succeeded(jobs.start("another source"), digests) == {}
    assert jobs.succeeded(jobs.start("source"), digests) == {files[0].digest: uid(1, 1, 1)}


def test_of_runs_before_a_finished_one_only_counts_are_kept(storage: Storage) -> None:
    store(storage, made(SOPInstanceUID=uid(1, 1, 1)))
    jobs = storage.import_jobs
    stored = file("stored", ImportOutcome.STORED, uid(1, 1, 1))
    first = jobs.start("source")
    jobs.record(first, [stored])
    jobs.finish(first, ImportState.FINISHED)
    second = jobs.start("source")
    jobs.finish(second, ImportState.FINISHED)
    assert jobs.succeeded(jobs.start("source"), [stored.digest]) == {}


def test_a_file_that_is_met_twice(storage: Storage) -> None:
    jobs = storage.import_jobs
    job = jobs.start("source")
    jobs.record(job, [file("a", ImportOutcome.FAILED), file("a", ImportOutcome.REFUSED)])
    jobs.record(job, [file("a", ImportOutcome.STORED, uid(1))])
    jobs.record(job, [])


def test_names_of_any_bytes_and_length(storage: Storage) -> None:
    jobs = storage.import_jobs
    name = "/" + "ü" * 4000 + b"\xff".decode("utf-8", "surrogateescape")
    jobs.record(jobs.start(name), [file(name, ImportOutcome.FAILED)])


def test_a_change_of_size_or_time_is_another_file() -> None:
    assert len({file_digest("a", 1, 2), file_digest("a", 2, 2), file_digest("a", 1, 3), file_digest("b", 1, 2)}) == 4
