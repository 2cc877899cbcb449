"""`fileroom delete` and `fileroom deleted list | restore | purge`: out of use at once, gone for good later."""

import datetime as dt
import sys
from typing import TYPE_CHECKING, Any

import click

from fileroom_server.config import Configuration
from fileroom_server.config_options import with_configuration
from fileroom_server.output import count, is_terminal, write_json, write_line, write_notice, write_table

if TYPE_CHECKING:
    from fileroom_storage.storage import Deletion

_KEYS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@click.command("delete", epilog="Example: fileroom delete 1.2.826.0.1.3680043.8.498.1")
@click.argument("study")
@click.argument("series", required=False)
@click.argument("instance", required=False)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_configuration
def delete(configuration: Configuration, study: str, series: str | None, instance: str | None, as_json: bool) -> None:
    """Delete a study, a series or an instance, named by UIDs. Nothing is asked: `fileroom deleted restore` undoes it.

    It is gone from all searches and retrievals at once. Its files are kept for the undo time, [storage] undo_time.
    """
    from fileroom_server.command_actor import command_actor
    from fileroom_server.wiring import existing_storage

    uids = zip(_KEYS, (study, series, instance), strict=True)
    with existing_storage(configuration) as storage:
        deletion = storage.delete({keyword: uid for keyword, uid in uids if uid is not None}, command_actor())
    if as_json:
        write_json(_document(deletion))
        return
    write_line(f"{count(deletion.number_of_objects, 'object')} deleted, {_size(deletion.size)}.")
    if configuration.storage.undo_time:
        until = f"Until {_moment(deletion.purge_at)}, " if deletion.purge_at else ""
        write_line(f"{until}`fileroom deleted restore {deletion.pk}` brings back what was deleted.")


@click.group("deleted")
def deleted() -> None:
    """List, restore and purge what was deleted, rejected, or not taken when a conflict was resolved."""


@deleted.command("list", epilog="Example: fileroom deleted list --json")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_configuration
def list_deleted(configuration: Configuration, as_json: bool) -> None:
    """List what can be restored, newest first."""
    from fileroom_server.wiring import existing_storage

    with existing_storage(configuration) as storage:
        found = list(storage.deletions())
    if as_json:
        write_json([_document(deletion) for deletion in found])
        return
    if not found and is_terminal(sys.stdout):
        write_notice("There is nothing to restore.")
        return
    headings = ("ID", "Deleted", "Why", "Objects", "Size", "Purged at", "Study", "Series", "Instance")
    rows = [
        (
            deletion.pk,
            _moment(deletion.at),
            _why(deletion),
            deletion.number_of_objects,
            _size(deletion.size),
            _moment(deletion.purge_at) if deletion.purge_at else "never",
            deletion.study_instance_uid,
            deletion.series_instance_uid,
            deletion.sop_instance_uid,
        )
        for deletion in found
    ]
    write_table(headings, rows)


@deleted.command("restore", epilog="Example: fileroom deleted restore 7")
@click.argument("pk", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_configuration
def restore(configuration: Configuration, pk: int, as_json: bool) -> None:
    """Undo a deletion, or revoke a rejection. ID is as `fileroom deleted list` has it.

    Exits with 1 if the object store has lost some of the objects. May be run again after it was cut short.
    """
    from fileroom_server.command_actor import command_actor
    from fileroom_server.wiring import existing_storage

    with existing_storage(configuration) as storage:
        restoration = storage.restore(pk, command_actor())
    outcomes = {
        "restored": restoration.restored,
        "already_stored": restoration.already_stored,
        "in_conflict": restoration.in_conflict,
        "lost": restoration.lost,
    }
    if as_json:
        write_json({"id": pk, **outcomes})
    else:
        write_line(f"{count(restoration.restored, 'object')} restored.")
        if restoration.already_stored:
            write_line(f"{count(restoration.already_stored, 'object')} had come in again meanwhile.")
        if restoration.in_conflict:
            write_line(f"{count(restoration.in_conflict, 'object')} in conflict: `fileroom conflicts list` shows more.")
        if restoration.lost:
            write_line(f"{count(restoration.lost, 'object')} cannot be read any more, see the messages above.")
    sys.exit(1 if restoration.lost else 0)


@deleted.command("purge", epilog="Example: fileroom deleted purge 7")
@click.argument("pk", metavar="[ID]", type=click.IntRange(1, 2**63 - 1), required=False)
@click.option("--all", "everything", is_flag=True, help="Purge all that `fileroom deleted list` shows.")
@click.option("--yes", is_flag=True, help="Do not ask. Nothing is asked in a pipe either.")
@with_configuration
def purge(configuration: Configuration, pk: int | None, everything: bool, yes: bool) -> None:
    """Remove deleted objects for good: those of one deletion, or --all. Without either, those whose undo time is over.

    A running server does the last by itself.
    """
    from fileroom_server.command_actor import command_actor
    from fileroom_server.wiring import existing_storage

    if pk is not None and everything:
        raise click.UsageError("name an ID or --all, not both")
    with existing_storage(configuration) as storage:
        chosen = [storage.deletion(pk)] if pk is not None else list(storage.deletions()) if everything else []
        objects = sum(deletion.number_of_objects for deletion in chosen)
        if objects and not yes and is_terminal(sys.stdin):
            click.confirm(f"Remove {count(objects, 'object')} for good?", abort=True)
        actor = command_actor()
        purged = sum(storage.purge(deletion.pk, actor) for deletion in chosen)
        if not chosen:
            purged = storage.purge_expired(actor)
    write_line(f"{count(purged, 'object')} purged.")


def _document(deletion: "Deletion") -> dict[str, Any]:
    return {
        "id": deletion.pk,
        "at": deletion.at,
        "reason": deletion.reason.value,
        "code": deletion.code,
        "rejection_note_uid": deletion.rejection_note_uid,
        "study_instance_uid": deletion.study_instance_uid,
        "series_instance_uid": deletion.series_instance_uid,
        "sop_instance_uid": deletion.sop_instance_uid,
        "objects": deletion.number_of_objects,
        "size": deletion.size,
        "purge_at": deletion.purge_at,
    }


def _why(deletion: "Deletion") -> str:
    from fileroom_storage.storage import REJECTION_MEANINGS

    if deletion.code is not None:
        return f"{deletion.code} {REJECTION_MEANINGS.get(deletion.code, '')}".rstrip()
    return deletion.reason.value


def _moment(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"


def _size(size: int) -> str:
    return f"{size / 1_000_000:,.1f} MB"
