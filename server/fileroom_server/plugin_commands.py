"""`fileroom plugins list | backfill`, and the commands that plugins bring."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from fileroom_server.config import Configuration
from fileroom_server.config_options import with_configuration
from fileroom_server.output import count, is_terminal, write_json, write_line, write_notice, write_table
from fileroom_server.plugins import installed_plugins, load_plugin

_HEADINGS = ("Plugin", "Distribution", "Enabled", "Schema", "To be filled in", "Failures")
_LINE_EVERY = 10_000


@click.group("plugins")
def plugins() -> None:
    """List plugins, and fill in what is stored already.

    A plugin is enabled by a section [plugins.NAME] in the configuration; its commands are those of `fileroom NAME`.
    """


@plugins.command("list", epilog="Example: fileroom plugins list --config fileroom.toml")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_configuration
def list_plugins(configuration: Configuration, as_json: bool) -> None:
    """List the plugins that are installed, and how far those are that are enabled."""
    found = [_described(configuration, name) for name in installed_plugins()]
    if as_json:
        write_json(found)
    elif not found and is_terminal(sys.stdout):
        write_notice("No plugin is installed.")
    else:
        write_table(_HEADINGS, [[_plain(value) for value in one.values()] for one in found])


@plugins.command("backfill", epilog="Example: fileroom plugins backfill exposure --config fileroom.toml")
@click.argument("name")
@click.option("--again", is_flag=True, help="Look at every instance again, not only at those not seen or failed.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_configuration
def backfill(configuration: Configuration, name: str, again: bool, as_json: bool) -> None:
    """Have a plugin look at what was stored before it was enabled, and at what it has failed on.

    Enable it and restart the server first; then what comes in meanwhile is not missed. It may be stopped at any time,
    and goes on from there. Exit code 1: some instances could not be taken; they are in the table plugin_failure.
    """
    from fileroom_server.wiring import storage_of_plugin

    with storage_of_plugin(configuration, name) as storage, _progress() as progress:
        done = storage.plugins.backfill(name, again=again, progress=progress)
    if as_json:
        write_json({"plugin": name, "instances": done.instances, "failures": done.failures})
    else:
        write_line(f"{name}: {count(done.instances, 'instance')} looked at, {count(done.failures, 'failure')} left.")
    if done.failures:
        sys.exit(1)


class PluginGroup(click.Group):
    """The commands of an installed plugin, which is loaded when one of them is asked for."""

    def __init__(self, name: str) -> None:
        super().__init__(name, help=f"Commands of the plugin {name}.")

    def list_commands(self, _context: click.Context) -> list[str]:
        return sorted(load_plugin(self.name or "").commands)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        from fileroom_storage.plugin import load_object

        reference = load_plugin(self.name or "").commands.get(name)
        if reference is None:
            return None
        command: click.Command = load_object(reference)
        return command


def _described(configuration: Configuration, name: str) -> dict[str, Any]:
    from fileroom_server.wiring import existing_index, existing_storage

    distribution = installed_plugins()[name].dist
    facts: dict[str, Any] = {
        "plugin": name,
        "distribution": f"{distribution.name} {distribution.version}" if distribution is not None else None,
        "enabled": name in configuration.plugins,
        "schema": None,
        "pending": None,
        "failures": None,
    }
    if not facts["enabled"] or (configuration.index_is_in_data and not configuration.data.is_dir()):
        return facts
    with existing_index(configuration) as index:
        if load_plugin(name).database is not None:
            facts["schema"] = index.revision(name)
        is_current = index.is_current()
    if is_current:
        with existing_storage(configuration) as storage:
            facts["pending"], facts["failures"] = storage.plugins.pending(name), storage.plugins.progress(name).failures
    return facts


def _plain(value: object) -> object:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, a line now and then elsewhere."""
    if not is_terminal(sys.stderr):
        told = 0

        def tell(done: int, total: int) -> None:
            nonlocal told
            if done - told >= _LINE_EVERY:
                told = done
                write_notice(f"{done:,} of {count(total, 'instance')}")

        yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
