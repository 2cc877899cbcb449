"""The options that every command takes, and the configuration that they lead to."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from fileroom_server.config_errors import ConfigurationError
from fileroom_server.config_sources import load_configuration

Command = TypeVar("Command", bound=Callable[..., Any])

# The dotted key that an option of this name overrides, on whichever command it stands.
KEYS = {"data": "data", "database": "database.url", "dicom_port": "dicom.port", "http_port": "http.port"}


class UnusableConfiguration(click.ClickException):
    """Ends a command with everything that is wrong with its configuration, one problem a line."""

    exit_code = 2

    def __init__(self, error: ConfigurationError) -> None:
        problems = "\n".join(f"  {problem}" for problem in error.problems)
        super().__init__(f"the configuration cannot be used:\n{problems}\nconf/fileroom.toml explains every key.")


def place_options(command: Command) -> Command:
    """Add --config, --data and --database to a command, which gets them as arguments of these names."""
    for option in (
        click.option(
            "--database",
            metavar="URL",
            help="The index elsewhere: mariadb://user@host/name or postgresql://user@host/name.  [default: SQLite]",
        ),
        click.option(
            "--data",
            type=click.Path(),  # text: Path("") would be the current folder
            metavar="DIR",
            help="The folder of the object store and of the SQLite index.  [default: fileroom-data]",
        ),
        click.option(
            "--config",
            "config_file",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="The configuration in TOML, also by FILEROOM_CONFIG; conf/fileroom.toml explains every key.",
        ),
    ):
        command = option(command)
    return command


def with_configuration(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the three options to a command and give it `configuration` for them and for its options named in KEYS."""

    @place_options
    @wraps(command)
    def configured(config_file: Path | None, **options: Any) -> Any:
        overrides = {KEYS[name]: options.pop(name) for name in KEYS if name in options}
        try:
            loaded = load_configuration(config_file, overrides)
        except ConfigurationError as error:
            raise UnusableConfiguration(error) from None
        return command(configuration=loaded.configuration, **options)

    return configured
