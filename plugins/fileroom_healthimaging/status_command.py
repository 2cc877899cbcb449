"""`fileroom healthimaging status`."""

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from fileroom_server.plugin import is_terminal, printable, with_plugin, write_json, write_line, write_table

if TYPE_CHECKING:
    from fileroom_storage.plugin import PluginContext


@click.command("status", epilog="Example: fileroom healthimaging status --json --config fileroom.toml")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_plugin("healthimaging")
def status(context: "PluginContext", as_json: bool) -> None:
    """Show the data stores with what the index has of each, the queue of events, and whether AWS answers.

    Exits with 1 if AWS does not answer.
    """
    from .event_queue import EventQueue
    from .wiring import parts

    with parts(context) as of_it:
        section = of_it.section
        stores = [
            {
                "datastore": one,
                "image_sets": len(of_it.index.known_versions(one)),
                "problem": _problem(partial(of_it.service.check_datastore, one)),
            }
            for one in section.datastores
        ]
        counts = of_it.index.status()
        queue: dict[str, Any] | None = None
        if section.queue_url is not None:
            waiting: list[int] = []
            events = EventQueue(of_it.clients, section.queue_url)
            problem = _problem(lambda: waiting.append(events.waiting()))
            queue = {"url": section.queue_url, "waiting": waiting[0] if waiting else None, "problem": problem}
    if as_json:
        write_json({"index_level": section.index_level, "index": counts, "datastores": stores, "queue": queue})
    else:
        write_table(
            ("Data store", "Image sets in the index", "Service"),
            [(one["datastore"], one["image_sets"], one["problem"] or "answers") for one in stores],
        )
        write_line(
            f"Index at level {section.index_level}: "
            + ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in counts.items())
        )
        if queue is not None:
            said = queue["problem"] or f"about {queue['waiting']:,} events wait"
            write_line(f"Queue: {printable(said)}")
        elif is_terminal(sys.stdout):
            write_line("No queue of events is followed; set queue_url in [plugins.healthimaging].")
    if any(one["problem"] for one in (*stores, queue or {"problem": None})):
        sys.exit(1)


def _problem(ask: Callable[[], object]) -> str | None:
    from fileroom_storage.plugin import StorageError

    try:
        ask()
    except StorageError as error:
        return str(error)
    return None
