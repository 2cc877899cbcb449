"""`fileroom healthimaging conflicts list | resolve`."""

import sys
from typing import TYPE_CHECKING, Any

import click

from fileroom_server.plugin import (
    command_actor,
    is_terminal,
    with_plugin,
    write_json,
    write_line,
    write_notice,
    write_table,
)

from .image_set_conflicts import Conflict, ConflictState, Resolution

if TYPE_CHECKING:
    from fileroom_storage.plugin import PluginContext


@click.group("conflicts")
def conflicts() -> None:
    """List and resolve conflicts: series that more than one image set of AWS HealthImaging has.

    Both can be searched and seen meanwhile; instances that both have are those of the primary one.
    """


@conflicts.command("list", epilog="Example: fileroom healthimaging conflicts list --all --json")
@click.option("--all", "with_ended", is_flag=True, help="List those that are resolved or gone too.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, with the differing values, which are patient data.")
@with_plugin("healthimaging")
def list_conflicts(context: "PluginContext", with_ended: bool, as_json: bool) -> None:
    """List the open conflicts, a pair of image sets each."""
    from .image_set_index import ImageSetIndex

    found = ImageSetIndex(context).conflicts(None if with_ended else ConflictState.OPEN)
    if as_json:
        write_json([_document(one) for one in found])
    elif not found and is_terminal(sys.stdout):
        write_notice("There are no conflicts." if with_ended else "There are no open conflicts.")
    else:
        headings = ("ID", "State", "Type", "Series Instance UID", "First image set", "Second image set", "Differs in")
        write_table(headings, [_row(one) for one in found])


@conflicts.command("resolve", epilog="Example: fileroom healthimaging conflicts resolve 7 discard 1234…cdef")
@click.argument("pk", metavar="ID", type=int)
@click.argument("resolution", type=click.Choice([one.value for one in Resolution]))
@click.argument("image_set_id", metavar="IMAGESET")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_plugin("healthimaging")
def resolve(context: "PluginContext", pk: int, resolution: str, image_set_id: str, as_json: bool) -> None:
    """End a conflict in the service: what is done with one of its two image sets.

    `promote` makes IMAGESET primary, or adds it to the primary one; `copy` adds it to the other; `discard` deletes it
    from the service, for good. What is promoted or copied stays as well, until it is discarded.
    """
    from .wiring import parts

    with parts(context) as of_it:
        of_it.clients.check()
        from .conflict_resolution import ConflictResolver  # with botocore

        resolver = ConflictResolver(of_it.clients.medical_imaging, of_it.index, of_it.intake.take, command_actor())
        result = resolver.resolve(pk, Resolution(resolution), image_set_id)
    if as_json:
        write_json({"id": pk, "resolution": resolution, "image_set": str(result)})
    else:
        left = "is left" if resolution == Resolution.DISCARD else "has the series"
        write_line(f"Conflict {pk} is resolved: image set {result} {left}.")


def _row(conflict: Conflict) -> tuple[object, ...]:
    state = f"{conflict.state.value} ({conflict.resolution.value})" if conflict.resolution else conflict.state.value
    differs = ", ".join(conflict.differing_attributes)
    names = (conflict.first, conflict.second)
    return conflict.pk, state, conflict.type.value, conflict.series_instance_uid, *names, differs


def _document(conflict: Conflict) -> dict[str, Any]:
    return {
        "id": conflict.pk,
        "state": conflict.state.value,
        "type": conflict.type.value,
        "resolution": conflict.resolution.value if conflict.resolution else None,
        "series_instance_uid": conflict.series_instance_uid,
        "image_sets": [str(conflict.first), str(conflict.second)],
        "differing_attributes": conflict.differing_attributes,
        "opened_at": conflict.opened_at,
        "closed_at": conflict.closed_at,
    }
