"""`fileroom conflicts list | show | resolve`: what objects say otherwise than the index, and a person's answer."""

import sys
from typing import TYPE_CHECKING, Any

import click

from fileroom_server.config import Configuration
from fileroom_server.config_options import with_configuration
from fileroom_server.output import is_terminal, write_json, write_line, write_notice, write_table

if TYPE_CHECKING:
    from fileroom_storage.storage import Conflict

_ANSWERS = ("keep", "accept")


@click.group("conflicts")
def conflicts() -> None:
    """List, show and resolve conflicts.

    An object that contradicts the index (another patient for a known study, other bytes under a known SOP Instance UID)
    is stored all the same, and the contradiction waits here for a person's answer.
    """


@conflicts.command("list", epilog="Example: fileroom conflicts list --all --json")
@click.option("--all", "with_resolved", is_flag=True, help="List resolved conflicts too.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, with the differing values.")
@with_configuration
def list_conflicts(configuration: Configuration, with_resolved: bool, as_json: bool) -> None:
    """List the open conflicts."""
    from fileroom_server.wiring import existing_storage
    from fileroom_storage.storage import ConflictState

    with existing_storage(configuration) as storage:
        found = list(storage.conflicts(None if with_resolved else ConflictState.OPEN))
    if as_json:
        write_json([_document(conflict) for conflict in found])
        return
    headings = ("ID", "Type", "State", "Detected", "Times", "Differs in", "Study Instance UID", "SOP Instance UID")
    rows = [
        (
            conflict.pk,
            conflict.type.value,
            _state(conflict),
            _moment(conflict.detected_at),
            conflict.occurrences,
            _differs_in(conflict),
            conflict.study_instance_uid,
            conflict.sop_instance_uid,
        )
        for conflict in found
    ]
    if not rows and is_terminal(sys.stdout):
        write_notice("There are no conflicts." if with_resolved else "There are no open conflicts.")
        return
    write_table(headings, rows)


@conflicts.command("show", epilog="Example: fileroom conflicts show 7")
@click.argument("pk", metavar="ID", type=int)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_configuration
def show(configuration: Configuration, pk: int, as_json: bool) -> None:
    """Show what the index says and what the object says. This is patient data."""
    from fileroom_server.wiring import existing_storage

    with existing_storage(configuration) as storage:
        conflict = storage.conflict(pk)
        indexed = next(storage.locate({"SOPInstanceUID": conflict.sop_instance_uid}), None)
    if as_json:
        write_json(_document(conflict))
        return
    facts = {
        "Conflict": conflict.pk,
        "Type": conflict.type.value,
        "State": _state(conflict),
        "Detected": _moment(conflict.detected_at),
        "Times": conflict.occurrences,
        "Differs in": _differs_in(conflict),
        "Study Instance UID": conflict.study_instance_uid,
        "Series Instance UID": conflict.series_instance_uid,
        "SOP Instance UID": conflict.sop_instance_uid,
    }
    write_table(("", ""), list(facts.items()))
    differences = [(keyword, _plain(index), _plain(said)) for keyword, (index, said) in conflict.differences.items()]
    if conflict.location is not None and indexed is not None:
        # where all attributes are the same, these show that the bytes are not
        differences.append(("size in bytes", str(indexed.size), str(conflict.size)))
        differences.append(("SHA-256 of the data set", indexed.digest, str(conflict.digest)))
    if differences:
        write_table(("Attribute", "In the index", "In the object"), differences)


@conflicts.command("resolve", epilog="Example: fileroom conflicts resolve 7 keep")
@click.argument("pk", metavar="ID", type=int)
@click.argument("answer", type=click.Choice(_ANSWERS))
@with_configuration
def resolve(configuration: Configuration, pk: int, answer: str) -> None:
    """Answer a conflict: `keep` what the index says, or `accept` what the object says.

    Where two objects have the same SOP Instance UID, the one that is not taken is deleted. It can be restored like
    anything that was deleted, so nothing is asked: `fileroom deleted list` shows it.
    """
    from fileroom_server.command_actor import command_actor
    from fileroom_server.wiring import existing_storage
    from fileroom_storage.storage import Resolution

    with existing_storage(configuration) as storage:
        conflict = storage.conflict(pk)
        storage.resolve_conflict(pk, Resolution(answer), command_actor())
    said = "the index stays as it is" if answer == "keep" else "the index now says what the object says"
    write_line(f"Conflict {pk} is resolved: {said}.")
    if conflict.location is not None:
        gone = "The object that brought it" if answer == "keep" else "The object that was indexed before"
        write_line(f"{gone} is deleted; `fileroom deleted list` shows how long it can be restored.")


def _document(conflict: "Conflict") -> dict[str, Any]:
    return {
        "id": conflict.pk,
        "type": conflict.type.value,
        "state": conflict.state.value,
        "resolution": conflict.resolution.value if conflict.resolution else None,
        "detected_at": conflict.detected_at,
        "resolved_at": conflict.resolved_at,
        "occurrences": conflict.occurrences,
        "study_instance_uid": conflict.study_instance_uid,
        "series_instance_uid": conflict.series_instance_uid,
        "sop_instance_uid": conflict.sop_instance_uid,
        "differences": {
            keyword: {"index": index, "object": said} for keyword, (index, said) in conflict.differences.items()
        },
    }


def _differs_in(conflict: "Conflict") -> str:
    if conflict.differences:
        return ", ".join(conflict.differences)
    return "pixel data or attributes that are not indexed"


def _state(conflict: "Conflict") -> str:
    return f"{conflict.state.value} ({conflict.resolution.value})" if conflict.resolution else conflict.state.value


def _moment(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"


def _plain(value: Any) -> str:
    """A value of DICOM JSON as a person reads it."""
    if isinstance(value, dict):
        return "=".join(str(group) for group in value.values())
    if isinstance(value, list):
        return "\\".join(_plain(part) for part in value)
    return "" if value is None else str(value)
