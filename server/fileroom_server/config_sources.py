"""Where configuration comes from: command line, then environment, then the TOML file, then the defaults."""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from fileroom_server.config import Configuration, Peer
from fileroom_server.config_errors import ConfigurationError, Problem, did_you_mean, wording
from fileroom_server.config_http_access import unreadable_files
from fileroom_server.config_values import is_loopback

PREFIX = "FILEROOM_"
DEFAULT = "default"
COMMAND_LINE = "command line"
PLUGINS = "plugins"  # what its sections may have, the plugins say
ENVIRONMENT = "environment"

# Variables with our prefix that configure something else: the file itself, where the tests find their corpus, and what
# `fileroom doctor` gets in by.
_NOT_SETTINGS = {"FILEROOM_CONFIG", "FILEROOM_CORPUS", "FILEROOM_TOKEN"}
# What Kubernetes and Docker links set beside a service that is called fileroom.
_SERVICE_LINK = re.compile(r"FILEROOM_(SERVICE_(HOST|PORT\w*)|PORT_\d+_\w+)")


class _Environment(Configuration, BaseSettings):
    """How variables are named: FILEROOM_DICOM__PORT. One that is set to nothing counts as not set."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", env_ignore_empty=True)


@dataclass(frozen=True)
class LoadedConfiguration:
    """A good configuration, and which source each key has its value from."""

    configuration: Configuration
    file: Path | None
    sources: Mapping[str, str]


def load_configuration(file: Path | None = None, overrides: Mapping[str, object] | None = None) -> LoadedConfiguration:
    """Read the file, the environment and `overrides`; raises ConfigurationError with everything that is wrong.

    `overrides` come from the command line by dotted key (`{"dicom.port": 104}`); those that are None were not given.
    Without `file`, FILEROOM_CONFIG may name one.
    """
    if file is None and os.environ.get("FILEROOM_CONFIG"):
        file = Path(os.environ["FILEROOM_CONFIG"])
    problems = list(_unknown_variables())
    given: dict[str, dict[str, Any]] = {COMMAND_LINE: _nested(overrides or {})}
    for source, read in ((ENVIRONMENT, _read_environment), (str(file), lambda: _read_file(file))):
        try:
            given[source] = read()
        except ConfigurationError as error:
            problems.extend(error.problems)
    merged: dict[str, Any] = {}
    for values in reversed(given.values()):
        merged = _merge(merged, values)
    try:
        configuration = Configuration(**merged)
    except ValidationError as error:
        problems.extend(_problems(error, given))
    else:
        problems.extend(_problems_together(configuration))
        if configuration.plugins:
            from fileroom_server.plugins import plugin_problems

            problems.extend(plugin_problems(configuration))
        if not problems:
            keys = [*known_keys(), *([PLUGINS] if configuration.plugins else [])]
            sources = {key: _source(tuple(key.split(".")), given) or DEFAULT for key in keys}
            return LoadedConfiguration(configuration, file, sources)
    raise ConfigurationError(problems)


def known_keys(model: type[BaseModel] = Configuration, prefix: str = "") -> Iterator[str]:
    """Every key by its dotted name; the keys of a peer and of a plugin are not among them."""
    for name, field in model.model_fields.items():
        if prefix + name == PLUGINS:
            continue
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from known_keys(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def variable(key: str) -> str:
    """The environment variable that sets a dotted key."""
    return PREFIX + key.upper().replace(".", "__")


def _read_environment() -> dict[str, Any]:
    try:
        return EnvSettingsSource(_Environment)()
    except SettingsError as error:
        field = re.search(r'"(\w+)"', str(error))
        key = variable(field[1]) if field else ""
        raise ConfigurationError(
            [Problem(ENVIRONMENT, key, "is not the JSON that a list or a section needs")]
        ) from None


def _read_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        problem = f"cannot be read: {error.strerror}; give the right file with --config"
    except UnicodeDecodeError:
        problem = "is not UTF-8, so it is no TOML file"
    except tomllib.TOMLDecodeError as error:
        problem = f"is not TOML: {error}"
    raise ConfigurationError([Problem(str(file), "", problem)])


def _unknown_variables() -> Iterator[Problem]:
    sections = set(Configuration.model_fields)
    for name, value in os.environ.items():
        upper = name.upper()
        is_link = _SERVICE_LINK.fullmatch(upper) or (upper == "FILEROOM_PORT" and "://" in value)
        if not upper.startswith(PREFIX) or upper in _NOT_SETTINGS or is_link:
            continue
        word = upper.removeprefix(PREFIX)
        if word.lower().split("__")[0] not in sections:
            hint = did_you_mean(word, [variable(key).removeprefix(PREFIX) for key in known_keys()])
            yield Problem(ENVIRONMENT, name, "is unknown" + hint.replace("mean ", f"mean {PREFIX}"))


def _nested(overrides: Mapping[str, object]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in overrides.items():
        if value is not None:
            *sections, name = key.split(".")
            inner = values
            for section in sections:
                inner = inner.setdefault(section, {})
            inner[name] = value
    return values


def _merge(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _source(location: tuple[int | str, ...], given: Mapping[str, dict[str, Any]]) -> str | None:
    """The strongest source that has something at this place."""
    for source, values in given.items():
        inner: Any = values
        for part in location:
            try:
                inner = inner[part]
            except (KeyError, IndexError, TypeError):
                break
        else:
            return source
    return None


def _problems(error: ValidationError, given: Mapping[str, dict[str, Any]]) -> Iterator[Problem]:
    for detail in error.errors(include_url=False, include_input=False):
        location, message = detail["loc"], wording(detail["type"], detail["msg"], detail.get("ctx", {}))
        if detail["type"] == "extra_forbidden":
            message = f"unknown key{_meant(location)}"
        place = location
        while (source := _source(place, given)) is None and place:  # what is missing is nowhere, but its section is
            place = place[:-1]
        key = ".".join(map(str, location))
        if source == ENVIRONMENT:
            key = _variable_of(location)
        yield Problem(source if place and source else "configuration", key, message)


def _variable_of(location: tuple[int | str, ...]) -> str:
    names = {name.upper(): name for name in os.environ}
    for length in range(len(location), 0, -1):
        name = variable(".".join(map(str, location[:length])))
        if name in names:  # a list or a whole section may stand in one variable as JSON
            return " ".join([names[name], *map(str, location[length:])])
    return variable(".".join(map(str, location)))


def _meant(location: tuple[int | str, ...]) -> str:
    """Ask for the nearest key of the same section, else for the section that has this key."""
    name = str(location[-1])
    if location[0] == "peers":
        return did_you_mean(name, Peer.model_fields)
    section = "".join(f"{part}." for part in location[:-1])
    here = [key.removeprefix(section) for key in known_keys() if key.startswith(section)]
    tops = {key.partition(".")[0] for key in here}
    elsewhere = [key for key in known_keys() if key.rpartition(".")[2] == name]
    return did_you_mean(name, tops) or (f"; did you mean {elsewhere[0]}?" if elsewhere else "")


def _problems_together(configuration: Configuration) -> Iterator[Problem]:
    """What no single key can tell. DESIGN 3.7: closed by default."""
    closed = not configuration.security.allow_open_network
    agree = "or write allow_open_network = true in [security] if everybody who reaches this address may use it"
    host = configuration.dicom.host
    tls = configuration.dicom.tls
    is_known = tls.required and tls.require_client_certificate
    if closed and not is_loopback(host) and not configuration.only_peers_may_call and not is_known:
        any_may_call = configuration.dicom.calling_ae_titles == "any"
        advice = 'write calling_ae_titles = "peers"' if any_may_call else "list those that may call under [[peers]]"
        message = f"{host} is open to the network and any AE title may call: {advice}, {agree}"
        yield Problem("configuration", "dicom.host", message)
    host = configuration.http.host
    if closed and not is_loopback(host) and configuration.http.is_open:
        advice = "write methods in [http.authentication], put a reverse proxy before 127.0.0.1"
        message = f"{host} is open to the network and HTTP has no authentication: {advice}"
        yield Problem("configuration", "http.host", f"{message}, {agree}")
    if configuration.dicom.calling_ae_titles == "peers" and not configuration.peers:
        message = 'is "peers", but there are none, so nobody could call: list them under [[peers]]'
        yield Problem("configuration", "dicom.calling_ae_titles", message)
    for number, peer in enumerate(configuration.peers):
        if peer.certificate and not tls.client_ca:
            message = "cannot be checked: clients show one only where dicom.tls.client_ca is set"
            yield Problem("configuration", f"peers.{number}.certificate", message)
    if configuration.dicom.port == configuration.http.port != 0 and configuration.dicom.host == configuration.http.host:
        yield Problem("configuration", "http.port", "is the port of DICOM too; give them different ones")
    for key, why in unreadable_files(configuration.http.authentication):
        yield Problem("configuration", key, f"cannot be read: {why}")
    try:
        configuration.database_url()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        yield Problem("configuration", "database.password_file", f"cannot be read: {reason}")
