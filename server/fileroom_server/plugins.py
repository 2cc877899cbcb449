"""The plugins that are installed, and those that the configuration enables."""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from fileroom_server.config import Configuration
from fileroom_server.config_errors import Problem, did_you_mean, wording
from fileroom_storage.errors import PluginUnusable

if TYPE_CHECKING:
    from fileroom_storage.plugin import EnabledPlugin, Plugin

_ENTRY_POINTS = "fileroom.plugins"


@cache
def installed_plugins() -> Mapping[str, EntryPoint]:
    """By name; none of them is loaded."""
    return {point.name: point for point in sorted(entry_points(group=_ENTRY_POINTS), key=lambda point: point.name)}


def plugin_packages() -> set[str]:
    """The top packages of those that are installed."""
    return {point.module.partition(".")[0] for point in installed_plugins().values()}


@cache
def load_plugin(name: str) -> "Plugin":
    """Raises PluginUnusable."""
    from fileroom_storage.plugin import Plugin

    point = installed_plugins().get(name)
    if point is None:
        raise PluginUnusable(f"plugin {name} is not installed; {_installed_text()}")
    try:
        plugin = point.load()
    except Exception as error:
        reason = str(error) if isinstance(error, ImportError | ValueError) else type(error).__name__
        raise PluginUnusable(f"plugin {name} cannot be loaded: {reason}; install it again, or disable it") from error
    if not isinstance(plugin, Plugin) or plugin.name != name:
        raise PluginUnusable(f"the entry point {name} ({point.value}) is not the Plugin of this name")
    return plugin


def enabled_plugins(configuration: Configuration) -> "tuple[EnabledPlugin, ...]":
    """Those that have a section, which has been found good when the configuration was loaded."""
    if not configuration.plugins:
        return ()
    from fileroom_storage.plugin import EnabledPlugin

    plugins = ((load_plugin(name), section) for name, section in sorted(configuration.plugins.items()))
    return tuple(EnabledPlugin(plugin, plugin.section(**section)) for plugin, section in plugins)


def plugin_problems(configuration: Configuration) -> Iterator[Problem]:
    """What is wrong with the sections of plugins."""
    for name, section in configuration.plugins.items():
        if name not in installed_plugins():
            hint = did_you_mean(name, installed_plugins())
            yield Problem("configuration", f"plugins.{name}", f"no such plugin is installed{hint}; {_installed_text()}")
            continue
        try:
            load_plugin(name).section(**section)
        except PluginUnusable as error:
            yield Problem("configuration", f"plugins.{name}", str(error))
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_input=False):
                key = ".".join(map(str, (f"plugins.{name}", *detail["loc"])))
                if detail["type"] == "extra_forbidden":
                    known = load_plugin(name).section.model_fields
                    message = f"unknown key{did_you_mean(str(detail['loc'][-1]), known)}"
                else:
                    message = wording(detail["type"], detail["msg"], detail.get("ctx", {}))
                yield Problem("configuration", key, message)


def shown_sections(configuration: Configuration) -> dict[str, Any]:
    """What the sections come to, as plain data; pydantic masks what is a secret."""
    return {one.plugin.name: one.section.model_dump(mode="json") for one in enabled_plugins(configuration)}


def _installed_text() -> str:
    names = ", ".join(installed_plugins())
    return f"installed are {names}" if names else "none is installed"
