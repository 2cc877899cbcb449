"""`fileroom config check` and `fileroom config show`."""

import sys
from pathlib import Path
from typing import Any

import click
import orjson
from pydantic import BaseModel, SecretStr

from fileroom_server.config import Configuration, masked_url
from fileroom_server.config_errors import ConfigurationError
from fileroom_server.config_options import KEYS, UnusableConfiguration, place_options
from fileroom_server.config_sources import PLUGINS, LoadedConfiguration, load_configuration
from fileroom_server.output import write_json, write_table
from fileroom_server.plugins import shown_sections
from fileroom_server.tls import tls_problems

MASK = "***"


@click.group("config")
def config() -> None:
    """Check the configuration, or show what it comes to."""


@config.command("check", epilog="Example: fileroom config check --config fileroom.toml")
@place_options
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def check(config_file: Path | None, data: str | None, database: str | None, as_json: bool) -> None:
    """Say everything that is wrong with the configuration; exit with 1 if something is."""
    try:
        loaded = load_configuration(config_file, {KEYS["data"]: data, KEYS["database"]: database})
        if unusable := list(tls_problems(loaded.configuration)):
            raise ConfigurationError(unusable)
    except ConfigurationError as error:
        if as_json:
            problems = [vars(problem) for problem in error.problems]
            write_json({"good": False, "problems": problems})
        else:
            write_table(("Where", "Key", "Problem"), [(p.source, p.key, p.message) for p in error.problems])
        sys.exit(1)
    if as_json:
        write_json({"good": True, "problems": []})
    else:
        click.echo(f"The configuration is good ({loaded.file or 'no file'}, {_changed(loaded)}).")


@config.command("show", epilog="Example: fileroom config show --json")
@place_options
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def show(config_file: Path | None, data: str | None, database: str | None, as_json: bool) -> None:
    """Show every key, its value and where it comes from; secrets are masked."""
    try:
        loaded = load_configuration(config_file, {KEYS["data"]: data, KEYS["database"]: database})
    except ConfigurationError as error:
        raise UnusableConfiguration(error) from None
    values = {key: shown(loaded.configuration, key) for key in loaded.sources}
    if as_json:
        write_json({key: {"value": value, "source": loaded.sources[key]} for key, value in values.items()})
    else:
        rows = [(key, orjson.dumps(value).decode(), loaded.sources[key]) for key, value in values.items()]
        write_table(("Key", "Value", "From"), rows)


def shown(configuration: Configuration, key: str) -> Any:
    """The value of a dotted key as plain data, without secrets."""
    value: Any = configuration
    for name in key.split("."):
        value = getattr(value, name)
    if key == PLUGINS:
        return shown_sections(configuration)
    if key == "database.url":
        return masked_url(value.get_secret_value())
    if isinstance(value, tuple) and all(isinstance(one, BaseModel) for one in value):
        return [one.model_dump() for one in value]
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    return str(value) if isinstance(value, Path) else value


def _changed(loaded: LoadedConfiguration) -> str:
    changed = sum(source != "default" for source in loaded.sources.values())
    return "all keys at their defaults" if not changed else f"{changed} of {len(loaded.sources)} keys set"
