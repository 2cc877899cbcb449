"""`fileroom healthimaging follow`."""

import threading
from typing import TYPE_CHECKING

import click

from fileroom_server.plugin import count, with_plugin, write_json, write_line, write_notice

if TYPE_CHECKING:
    from fileroom_storage.plugin import PluginContext


@click.command("follow", epilog="Example: fileroom healthimaging follow --config fileroom.toml")
@click.option("--once", is_flag=True, help="End when a first reconciliation is done and the queue is empty.")
@click.option("--json", "as_json", is_flag=True, help="Write what was done, at the end, as JSON.")
@with_plugin("healthimaging", keeps_running=True)
def follow(context: "PluginContext", once: bool, as_json: bool) -> None:
    """Keep the index as the service is: by its events, and by its list of image sets now and then.

    Events come from the queue of the configuration (queue_url), which a rule of EventBridge fills; the data stores of
    the configuration are reconciled at the start and every `reconcile_every` seconds. It goes on until SIGINT or
    SIGTERM, through outages of the service, the queue and the database. Nothing is lost when it is killed.
    """
    from .event_queue import EventQueue
    from .following import Followed, Following, reconcile_repeatedly
    from .stopping import stopped_by_signals
    from .wiring import parts

    with parts(context) as of_it, stopped_by_signals(of_it.stopping):
        section, stopping = of_it.section, of_it.stopping
        reconciles = bool(section.reconcile_every and section.datastores)
        if section.queue_url is None and not reconciles:
            raise click.UsageError(
                "there is nothing to follow; set queue_url, or datastores, in [plugins.healthimaging]"
            )

        of_it.clients.check()
        of_it.index.adapt()

        def probe() -> None:
            context.storage.check_ready()
            for datastore_id in section.datastores[:1]:
                of_it.service.check_datastore(datastore_id)

        reconciling = threading.Thread(
            target=reconcile_repeatedly,
            args=(of_it.reconciliation, section.datastores, section.reconcile_every, stopping),
            kwargs={"once": once},
            name="healthimaging-reconcile",
        )
        if reconciles:
            reconciling.start()
        done = Followed()
        try:
            if section.queue_url is not None:
                queue = EventQueue(of_it.clients, section.queue_url)
                following = Following(queue, of_it.intake, section.datastores, stopping, probe, context)
                done = following.done
                write_notice("following the queue of events; Ctrl-C ends it")
                following.run(until_empty=once)
            elif not once:
                stopping.wait()
        except BaseException:
            stopping.set()
            raise
        finally:
            if reconciles:
                reconciling.join()
    if as_json:
        write_json(
            {
                "events": done.events,
                "image_sets": done.image_sets,
                "passed_over": done.passed_over,
                "unusable": done.unusable,
            }
        )
    else:
        write_line(f"{count(done.events, 'event')}, {count(done.image_sets, 'image set')} taken.")
