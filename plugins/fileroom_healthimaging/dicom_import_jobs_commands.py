"""`fileroom healthimaging job start | list | follow | outcomes`: DICOM import jobs of the service."""

import sys
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import click
import orjson

from fileroom_server.plugin import count, is_terminal, write_json, write_line, write_notice, write_table

from .dicom_import_jobs import PENDING, FileOutcome, ImportedFile, ImportJob, ImportJobRequest, JobState
from .tag_and_job_commands import TagsAndJobs, ended_by_signals, moment, with_tags_and_jobs, worked_through

if TYPE_CHECKING:
    from .dicom_import_jobs_following import ImportJobFollower

_NOT_COMPLETED = (*PENDING, JobState.FAILED)


@click.group("job")
def job() -> None:
    """Have AWS HealthImaging import DICOM objects from S3, and see what became of each.

    Jobs are kept in the index from the moment they are asked for: whatever is stopped or killed, a job is started once,
    and `follow` goes on where it was.
    """


@job.command(
    "start",
    epilog="Example: fileroom healthimaging job start --datastore 1234…cdef "
    "--role arn:aws:iam::111122223333:role/Import --input s3://bucket/in/ --output s3://bucket/out/ --follow",
)
@click.option("--datastore", "datastore_id", required=True, metavar="ID", help="The data store to import into.")
@click.option(
    "--role",
    "data_access_role_arn",
    required=True,
    metavar="ARN",
    help="The role by which the service reads and writes S3.",
)
@click.option("--input", "input_s3_uri", required=True, metavar="S3-URI", help="All objects below this are imported.")
@click.option("--output", "output_s3_uri", required=True, metavar="S3-URI", help="The reports go below this.")
@click.option("--name", default="fileroom", show_default=True, help="Some of its client token is added.")
@click.option("--follow", "to_follow", is_flag=True, help="Follow it to its end.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_tags_and_jobs
def start(work: TagsAndJobs, to_follow: bool, as_json: bool, **asked: Any) -> None:
    """Start a job. Exit code 1: it has failed."""
    follower = _follower(work)  # first: nothing is kept where nothing can be started
    created = work.jobs.create(ImportJobRequest(**asked), work.actor)
    if not as_json:
        write_line(
            f"Import job {created.pk} is kept; `fileroom healthimaging job follow {created.pk}` goes on with it."
        )
    _follow(work, follower, [created.pk], wait=to_follow, as_json=as_json)


@job.command("list", epilog="Example: fileroom healthimaging job list --all --json")
@click.option("--all", "with_completed", is_flag=True, help="List those that are completed too.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_tags_and_jobs
def list_jobs(work: TagsAndJobs, with_completed: bool, as_json: bool) -> None:
    """List those that go on or have failed, newest first."""
    found = list(work.jobs.all(tuple(JobState) if with_completed else _NOT_COMPLETED))
    if as_json:
        write_json([_document(one) for one in found])
        return
    if not found and is_terminal(sys.stdout):
        write_notice("There are no import jobs." if with_completed else "No import job goes on or has failed.")
        return
    headings = ("ID", "State", "Asked", "Job", "Input", "Files", "Imported", "Failed", "Image sets", "Why")
    rows = [
        (
            one.pk,
            one.state.value,
            moment(one.requested_at),
            one.job_id,
            one.request.input_s3_uri,
            one.number_of_scanned_files,
            one.number_of_imported_files,
            one.number_of_failed_files,
            one.number_of_image_sets,
            one.message or one.last_error,
        )
        for one in found
    ]
    write_table(headings, rows)


@job.command("follow", epilog="Example: fileroom healthimaging job follow 7")
@click.argument("pks", metavar="[ID]...", type=int, nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_tags_and_jobs
def follow(work: TagsAndJobs, pks: tuple[int, ...], as_json: bool) -> None:
    """Follow jobs to their end, all that go on or those of these IDs; it may be stopped and started again at any time.

    Exit code 1: some have failed.
    """
    follower = _follower(work)
    for pk in pks:
        work.jobs.hasten(pk)
    _follow(work, follower, pks or None, wait=True, as_json=as_json)


@job.command("outcomes", epilog="Example: fileroom healthimaging job outcomes 7 --failed")
@click.argument("pk", metavar="ID", type=int)
@click.option("--failed", "failed_alone", is_flag=True, help="List the files that were not imported alone.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, an object on each line.")
@with_tags_and_jobs
def outcomes(work: TagsAndJobs, pk: int, failed_alone: bool, as_json: bool) -> None:
    """List what became of each file of a job, what failed first."""
    one = work.jobs.read(pk)
    if one.state in PENDING:
        write_notice(f"Import job {pk} is {one.state.value}; what is here is not all.")
    files = work.jobs.files(pk, [FileOutcome.FAILED] if failed_alone else tuple(FileOutcome))
    if as_json:
        for file in files:
            click.echo(orjson.dumps(_file(file)))
        return
    headings = ("File", "Outcome", "Image set", "Version", "Primary", "Why")
    rows = (
        (
            file.input_file,
            file.outcome.value,
            file.image_set_id,
            file.image_set_version,
            {True: "yes", False: "no"}.get(file.is_primary) if file.is_primary is not None else "",
            ": ".join(filter(None, (file.exception_type, file.reason))),
        )
        for file in files
    )
    write_table(headings, rows)


def _follower(work: TagsAndJobs) -> "ImportJobFollower":
    clients = work.clients.medical_imaging, work.clients.s3  # first: they say what to do where boto3 is not installed
    from .dicom_import_jobs_following import ImportJobFollower

    return ImportJobFollower(work.jobs, *clients, work.actor, work.take)


def _follow(
    work: TagsAndJobs, follower: "ImportJobFollower", pks: Collection[int] | None, *, wait: bool, as_json: bool
) -> None:
    """Takes jobs as far as they go, and says what each has come to."""
    done: dict[int, ImportJob] = {}
    with ended_by_signals():
        for one in worked_through(lambda: follower.advance_next(pks), lambda: work.jobs.work.next_due(pks), wait=wait):
            if not as_json and (one.pk not in done or done[one.pk].state is not one.state):
                write_line(f"Import job {one.pk} {_outcome(one)}")
            done[one.pk] = one
    if as_json:
        write_json([_document(one) for one in done.values()])
    if any(one.state is JobState.FAILED for one in done.values()):
        sys.exit(1)


def _outcome(one: ImportJob) -> str:
    if one.state is JobState.COMPLETED:
        counts = (
            f"{count(one.number_of_imported_files or 0, 'file')} imported into "
            f"{count(one.number_of_image_sets or 0, 'image set')}, {one.number_of_failed_files} failed"
        )
        return f"is completed: {counts}."
    if one.state is JobState.FAILED:
        return f"has failed: {one.message or one.last_error}"
    return f"is {one.state.value}{f': {one.last_error}' if one.last_error else '.'}"


def _document(one: ImportJob) -> dict[str, Any]:
    asked = one.request
    return {
        "id": one.pk,
        "state": one.state.value,
        "datastore_id": asked.datastore_id,
        "name": one.name_at_service,
        "job_id": one.job_id,
        "data_access_role_arn": asked.data_access_role_arn,
        "input_s3_uri": asked.input_s3_uri,
        "output_s3_uri": asked.output_s3_uri,
        "manifest_s3_uri": one.manifest_s3_uri,
        "scanned_files": one.number_of_scanned_files,
        "imported_files": one.number_of_imported_files,
        "failed_files": one.number_of_failed_files,
        "image_sets": one.number_of_image_sets,
        "message": one.message,
        "attempts": one.attempts,
        "last_error": one.last_error,
        "requested_at": one.requested_at,
        "ended_at": one.ended_at,
        "settled_at": one.settled_at,
    }


def _file(file: ImportedFile) -> dict[str, Any]:
    return {
        "input_file": file.input_file,
        "outcome": file.outcome.value,
        "image_set_id": file.image_set_id,
        "image_set_version": file.image_set_version,
        "is_primary": file.is_primary,
        "exception_type": file.exception_type,
        "reason": file.reason,
    }
