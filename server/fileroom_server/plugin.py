"""The door for commands of plugins: the options of every command, storage, and ways to write (docs/plugins.md)."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from fileroom_server.command_actor import command_actor
from fileroom_server.config import Configuration
from fileroom_server.config_options import with_configuration
from fileroom_server.output import (
    count,
    is_terminal,
    printable,
    write_json,
    write_line,
    write_notice,
    write_table,
)


def with_plugin(name: str, *, keeps_running: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds --config, --data and --database to a command, and gives it `context`, the plugin's PluginContext.

    The plugin has to be enabled; its tables are made where there are none. The storage is closed after the command.
    What is logged goes where the configuration says; of a command that ends by itself only what is wrong is.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @with_configuration
        @wraps(command)
        def with_context(configuration: Configuration, **options: Any) -> Any:
            from fileroom_server.command_metrics import counted_command
            from fileroom_server.logs import start_logging
            from fileroom_server.wiring import command_logging, storage_of_plugin

            start_logging(configuration.logging if keeps_running else command_logging(configuration))
            with (
                counted_command(configuration) as monitor,
                storage_of_plugin(configuration, name, monitor) as storage,
            ):
                return command(context=storage.plugins.context(name), **options)

        return with_context

    return decorate


__all__ = [
    "command_actor",
    "count",
    "is_terminal",
    "printable",
    "with_plugin",
    "write_json",
    "write_line",
    "write_notice",
    "write_table",
]
