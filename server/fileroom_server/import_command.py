"""`fileroom import PATH…`."""

import os
import sys
import time
from pathlib import Path

import click
import orjson

from fileroom_server.config import Configuration
from fileroom_server.config_options import with_configuration
from fileroom_server.output import count, write_notice

_JOBS_ON_SQLITE = 4


@click.command("import", epilog="Example: fileroom import /media/cdrom ct-study.zip --report import.jsonl")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--jobs", type=click.IntRange(1, 256), help="Processes.  [default: one a core; on SQLite 4 at most]")
@click.option(
    "--report",
    "report_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write one line of JSON for each file.",
)
@click.option("--again", is_flag=True, help="Read those files too that an earlier import of the same paths has stored.")
@click.option(
    "--zip-ratio",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Refuse what unpacks to more than so many times its size.",
)
@click.option(
    "--zip-member-size",
    type=click.IntRange(1),
    default=4096,
    show_default=True,
    metavar="MIB",
    help="Refuse members of zip archives that are larger.",
)
@click.option("--json", "as_json", is_flag=True, help="Write the outcomes as JSON.")
@with_configuration
def import_(
    configuration: Configuration,
    paths: tuple[Path, ...],
    jobs: int | None,
    report_file: Path | None,
    again: bool,
    zip_ratio: int,
    zip_member_size: int,
    as_json: bool,
) -> None:
    """Store files, folders with all below them, zip archives, and what a DICOMDIR names.

    What is stored already stays as it is, so an import that was interrupted is simply run again. It may run beside a
    running server. Exits with 1 only if something failed that could have been stored.
    """
    from fileroom_server.import_archives import ArchiveLimits
    from fileroom_server.import_outcomes import Outcomes, opened_report
    from fileroom_server.import_processes import ImportProcesses, stopped_by_signals
    from fileroom_server.import_progress import rate, shown_progress
    from fileroom_server.import_run import ImportRun
    from fileroom_server.import_sources import Sources
    from fileroom_server.logs import start_logging
    from fileroom_server.wiring import command_logging, new_or_existing_storage, storage_settings
    from fileroom_storage.storage import Storage

    logging = command_logging(configuration)
    start_logging(logging)
    settings = storage_settings(configuration)
    with new_or_existing_storage(configuration):
        pass  # before the processes, which want it to be there
    sources = Sources(paths, excluded=(configuration.data,), limits=ArchiveLimits(zip_member_size * 2**20, zip_ratio))
    source = orjson.dumps([os.fspath(path.absolute()).encode("utf-8", "backslashreplace").decode() for path in paths])
    outcomes, begun = Outcomes(), time.monotonic()
    with (
        opened_report(report_file) as report,
        ImportProcesses(jobs or _jobs(configuration), settings, logging, configuration.metrics) as processes,
        stopped_by_signals(processes) as stopping,
        Storage.open(settings) as storage,
    ):
        run = ImportRun(source.decode(), storage.import_jobs, processes, outcomes, report, again=again)
        with shown_progress(sources) as advance:
            run.run(sources, advance)
    outcomes.write(as_json=as_json)
    seconds = max(time.monotonic() - begun, 1e-3)
    write_notice(f"{count(outcomes.files, 'file')} in {seconds:,.1f} s, {rate(outcomes.files, outcomes.size, seconds)}")
    if stopping.signal is not None:
        write_notice("interrupted; run the same command again to go on")
        sys.exit(128 + stopping.signal)
    if run.gave_up is not None:
        raise click.ClickException(f"the import stopped: {run.gave_up}; run the same command again to go on")
    sys.exit(1 if outcomes.failed else 0)


def _jobs(configuration: Configuration) -> int:
    """One process a core; on SQLite a few, because one at a time may write and the others only wait."""
    cores = len(os.sched_getaffinity(0))
    return min(cores, _JOBS_ON_SQLITE) if configuration.database_url().startswith("sqlite") else cores
