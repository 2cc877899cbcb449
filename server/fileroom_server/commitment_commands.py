"""`fileroom commitments list | show | retry`: what peers want to know to be stored, and whether they have been told."""

import datetime as dt
import sys
from typing import TYPE_CHECKING, Any

import click

from fileroom_server.config import Configuration
from fileroom_server.config_options import with_configuration
from fileroom_server.output import is_terminal, write_json, write_line, write_notice, write_table

if TYPE_CHECKING:
    from fileroom_storage.storage import StorageCommitment


@click.group("commitments")
def commitments() -> None:
    """List, show and retry storage commitments.

    A peer asks whether fileroom has what it sent, and may delete it once it is told so. A report that cannot be
    delivered is tried again for [storage_commitment] give_up_after.
    """


@commitments.command("list", epilog="Example: fileroom commitments list --json")
@click.option("--all", "with_reported", is_flag=True, help="List those that were reported too.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_configuration
def list_commitments(configuration: Configuration, with_reported: bool, as_json: bool) -> None:
    """List those that wait or were given up, newest first."""
    from fileroom_server.wiring import existing_storage
    from fileroom_storage.storage import CommitmentState

    states = set(CommitmentState) if with_reported else {CommitmentState.PENDING, CommitmentState.GIVEN_UP}
    with existing_storage(configuration) as storage:
        found = list(storage.commitments.all(states))
    if as_json:
        write_json([_document(commitment) for commitment in found])
        return
    if not found and is_terminal(sys.stdout):
        write_notice("There are no storage commitments." if with_reported else "No storage commitment waits.")
        return
    headings = ("Transaction UID", "Peer", "State", "Asked", "Instances", "Failed", "Attempts", "Next attempt", "Why")
    rows = [
        (
            commitment.transaction_uid,
            commitment.calling_ae_title,
            commitment.state.value,
            _moment(commitment.requested_at),
            commitment.number_of_references,
            commitment.number_of_failures,
            commitment.attempts,
            _moment(commitment.due_at) if commitment.state is CommitmentState.PENDING else "",
            commitment.last_error,
        )
        for commitment in found
    ]
    write_table(headings, rows)


@commitments.command("show", epilog="Example: fileroom commitments show 1.2.826.0.1.3680043.8.498.7")
@click.argument("uid", metavar="UID")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_configuration
def show(configuration: Configuration, uid: str, as_json: bool) -> None:
    """Show one, by its Transaction UID, and which instances were reported as failed."""
    from fileroom_server.status import FAILURE_MEANINGS
    from fileroom_server.wiring import existing_storage

    with existing_storage(configuration) as storage:
        commitment = storage.commitments.read(uid)
        failures = storage.commitments.failures(commitment.pk)
    if as_json:
        failed = [
            {
                "sop_class_uid": reference.sop_class_uid,
                "sop_instance_uid": reference.sop_instance_uid,
                "failure_reason": reason,
            }
            for reference, reason in failures
        ]
        write_json({**_document(commitment), "failed_instances": failed})
        return
    facts = {
        "Transaction UID": commitment.transaction_uid,
        "Peer": commitment.calling_ae_title,
        "Address": commitment.remote_address,
        "State": commitment.state.value,
        "Asked": _moment(commitment.requested_at),
        "Instances": commitment.number_of_references,
        "Failed": commitment.number_of_failures,
        "Attempts": commitment.attempts,
        "Last error": commitment.last_error,
        "Settled": _moment(commitment.settled_at) if commitment.settled_at else "",
    }
    write_table(("", ""), list(facts.items()))
    if failures:
        rows = [
            (reference.sop_instance_uid, f"0x{reason:04X}", FAILURE_MEANINGS.get(reason, ""))
            for reference, reason in failures
        ]
        write_table(("SOP Instance UID", "Failure Reason", "Meaning"), rows)


@commitments.command("retry", epilog="Example: fileroom commitments retry 1.2.826.0.1.3680043.8.498.7")
@click.argument("uid", metavar="UID")
@with_configuration
def retry(configuration: Configuration, uid: str) -> None:
    """Have a running server report one now, by its Transaction UID: one that waits, or one that was given up."""
    from fileroom_server.wiring import existing_storage

    patience = dt.timedelta(seconds=configuration.storage_commitment.give_up_after)
    with existing_storage(configuration) as storage:
        commitment = storage.commitments.retry(uid, patience)
    write_line(f"The server reports to {commitment.calling_ae_title} within a few seconds.")


def _document(commitment: "StorageCommitment") -> dict[str, Any]:
    from fileroom_storage.storage import CommitmentState

    return {
        "transaction_uid": commitment.transaction_uid,
        "calling_ae_title": commitment.calling_ae_title,
        "called_ae_title": commitment.called_ae_title,
        "remote_address": commitment.remote_address,
        "state": commitment.state.value,
        "instances": commitment.number_of_references,
        "failed": commitment.number_of_failures,
        "attempts": commitment.attempts,
        "last_error": commitment.last_error,
        "requested_at": commitment.requested_at,
        "due_at": commitment.due_at if commitment.state is CommitmentState.PENDING else None,
        "settled_at": commitment.settled_at,
    }


def _moment(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"
