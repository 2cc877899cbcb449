"""`fileroom healthimaging tag request | list | run | retry`: attributes that image sets are to have."""

import sys
from typing import Any

import click

from fileroom_server.plugin import count, is_terminal, write_json, write_line, write_notice, write_table

from .tag_and_job_commands import TagsAndJobs, ended_by_signals, moment, with_tags_and_jobs, worked_through
from .tags import PENDING, Tag, TagLevel, TagRequest, TagState

_NOT_APPLIED = (TagState.REQUESTED, TagState.UPDATING, TagState.FAILED)


@click.group("tag")
def tag() -> None:
    """Give image sets of AWS HealthImaging attributes, and see whether they have them.

    A tag is an attribute that the image set of a series is to have. It is asked for once, and applied by `run`, which
    may be stopped and started again at any time. The audit log keeps who asked for what, without the values.
    """


@tag.command(
    "request",
    epilog="Example: fileroom healthimaging tag request --datastore 1234…cdef --level study 1.2.840.1 StudyDescription "
    "'CT thorax'",
)
@click.argument("series_instance_uid", metavar="SERIES")
@click.argument("keyword")
@click.argument("value")
@click.option("--datastore", "datastore_id", required=True, metavar="ID", help="The data store of the image set.")
@click.option(
    "--level",
    type=click.Choice([level.value for level in TagLevel]),
    default=TagLevel.SERIES.value,
    show_default=True,
    help="Where the image set's metadata have the attribute.",
)
@click.option("--instance", "sop_instance_uid", metavar="UID", help="The instance, for --level instance.")
@click.option("--image-set", "image_set_id", metavar="ID", help="The image set.  [default: the primary one]")
@click.option("--force", "forced", is_flag=True, help="Update what the service updates by force alone.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_tags_and_jobs
def request(work: TagsAndJobs, level: str, as_json: bool, **asked: Any) -> None:
    """Ask for an attribute of a series, by its keyword, as StudyDescription or AccessionNumber."""
    requested = work.tags.request(TagRequest(level=TagLevel(level), **asked), work.actor)
    if as_json:
        write_json(_document(requested))
    else:
        write_line(f"Tag {requested.pk} is asked for; `fileroom healthimaging tag run` applies it.")


@tag.command("list", epilog="Example: fileroom healthimaging tag list --all --json")
@click.option("--all", "with_applied", is_flag=True, help="List those that are applied too.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_tags_and_jobs
def list_tags(work: TagsAndJobs, with_applied: bool, as_json: bool) -> None:
    """List those that wait or have failed, newest first. Values are patient data; they are in the JSON alone."""
    found = list(work.tags.all(tuple(TagState) if with_applied else _NOT_APPLIED))
    if as_json:
        write_json([_document(one) for one in found])
        return
    if not found and is_terminal(sys.stdout):
        write_notice("There are no tags." if with_applied else "No tag waits or has failed.")
        return
    headings = ("ID", "State", "Asked", "Series Instance UID", "Level", "Keyword", "Image set", "Version", "Why")
    rows = [
        (
            one.pk,
            one.state.value,
            moment(one.requested_at),
            one.request.series_instance_uid,
            one.request.level.value,
            one.request.keyword,
            one.image_set_id,
            one.version,
            one.last_error,
        )
        for one in found
    ]
    write_table(headings, rows)


@tag.command("run", epilog="Example: fileroom healthimaging tag run --wait")
@click.option("--wait", is_flag=True, help="Go on until all are applied or have failed.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_tags_and_jobs
def run(work: TagsAndJobs, wait: bool, as_json: bool) -> None:
    """Apply the tags that are due; several may run at once.

    What waits for the service is tried again later, for a day. Exit code 1: some have failed.
    """
    client = work.clients.medical_imaging  # first: it says what to do where boto3 is not installed
    from .tagged_image_sets import TaggedImageSets
    from .tags_applying import TagUpdates

    updates = TagUpdates(work.tags, TaggedImageSets(client), work.actor, work.take)
    done: dict[int, Tag] = {}
    with ended_by_signals():
        for one in worked_through(updates.apply_next, work.tags.work.next_due, wait=wait):
            done[one.pk] = one
            if not as_json:
                write_line(f"Tag {one.pk} {_outcome(one)}")
    if as_json:
        write_json([_document(one) for one in done.values()])
    states = [one.state for one in done.values()]
    failed, waiting = states.count(TagState.FAILED), sum(state in PENDING for state in states)
    write_notice(f"{count(states.count(TagState.APPLIED), 'tag')} applied, {waiting} waiting, {failed} failed.")
    if failed:
        sys.exit(1)


@tag.command("retry", epilog="Example: fileroom healthimaging tag retry 7")
@click.argument("pk", metavar="ID", type=int)
@with_tags_and_jobs
def retry(work: TagsAndJobs, pk: int) -> None:
    """Have one that has failed, or waits, be due now."""
    work.tags.retry(pk, work.actor)
    write_line(f"Tag {pk} is due; `fileroom healthimaging tag run` applies it.")


def _outcome(one: Tag) -> str:
    if one.state is TagState.APPLIED:
        return f"is applied: image set {one.image_set_id} has it since version {one.version}."
    if one.state is TagState.FAILED:
        return f"has failed: {one.last_error}"
    return f"waits until {moment(one.due_at)}: {one.last_error or 'another process is at it'}"


def _document(one: Tag) -> dict[str, Any]:
    asked = one.request
    return {
        "id": one.pk,
        "state": one.state.value,
        "datastore_id": asked.datastore_id,
        "series_instance_uid": asked.series_instance_uid,
        "sop_instance_uid": asked.sop_instance_uid,
        "level": asked.level.value,
        "keyword": asked.keyword,
        "value": asked.value,
        "forced": asked.forced,
        "image_set_id": one.image_set_id or asked.image_set_id,
        "version": one.version,
        "attempts": one.attempts,
        "last_error": one.last_error,
        "requested_at": one.requested_at,
        "due_at": one.due_at if one.state in PENDING else None,
        "settled_at": one.settled_at,
    }
