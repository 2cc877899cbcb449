"""`fileroom healthimaging import SOURCE…`."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from fileroom_server.plugin import (
    count,
    is_terminal,
    printable,
    with_plugin,
    write_json,
    write_line,
    write_notice,
)

if TYPE_CHECKING:
    from fileroom_storage.plugin import PluginContext

_SECONDS_BETWEEN_LINES = 10.0


@click.command("import", epilog="Example: fileroom healthimaging import s3://bucket/metadata/ --config fileroom.toml")
@click.argument("sources", metavar="[SOURCE]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Write the outcome as JSON.")
@with_plugin("healthimaging")
def import_(context: "PluginContext", sources: tuple[str, ...], as_json: bool) -> None:
    """Take image sets into the index.

    SOURCE is a file of image set metadata or a folder with such files (.json, .json.gz, .gz); s3://bucket/prefix with
    such objects; datastore:ID for all image sets of a data store, or datastore:ID/IMAGESETID for one of them. Without
    any, all data stores of the configuration.

    What the index has already stays as it is, so an import that was interrupted is simply run again. Exits with 1 if
    something failed.
    """
    from .importing import Import, UnknownSource, checked_source
    from .stopping import stopped_by_signals
    from .wiring import parts

    begun = time.monotonic()
    with parts(context) as of_it, stopped_by_signals(of_it.stopping) as received, _progress() as advance:
        wanted = sources or tuple(f"datastore:{one}" for one in of_it.section.datastores)
        if not wanted:
            raise click.UsageError("name a source, or data stores in [plugins.healthimaging]; see --help")
        try:
            for source in wanted:
                checked_source(source)
        except UnknownSource as error:
            raise click.UsageError(str(error)) from None
        adapted = of_it.index.adapt()
        if adapted:
            write_notice(f"{count(adapted, 'image set')} brought to index_level {of_it.section.index_level}")
        run = Import(of_it.intake, of_it.reconciliation, of_it.s3, advance, of_it.stopping)
        for source in wanted:
            if not of_it.stopping.is_set():
                run.run(source)
    done = run.done
    if as_json:
        write_json({"image_sets": done.taken, "listed": done.listed, "failures": done.failures})
    else:
        for where, reason in done.failures.items():
            write_notice(f"{printable(where)}: {printable(reason)}")
        listed = f" of {done.listed:,} listed" if done.listed else ""
        write_line(f"{count(done.taken, 'image set')}{listed} taken, {count(len(done.failures), 'failure')}.")
    write_notice(f"in {time.monotonic() - begun:,.1f} s")
    if received:
        write_notice("interrupted; run the same command again to go on")
        sys.exit(128 + received[0])
    sys.exit(1 if done.failures else 0)


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """A count that goes on; how many there will be is not known. Always on standard error."""
    if is_terminal(sys.stderr):
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.completed:,} image sets"), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("image sets", total=None)
            yield lambda number: bar.update(task, advance=number)
        return
    done, told = 0, time.monotonic()

    def advance(number: int) -> None:
        nonlocal done, told
        done += number
        if time.monotonic() - told >= _SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            write_notice(count(done, "image set"))

    yield advance
