"""The door for plugins: what one declares, and what it is given (docs/plugins.md). They import nothing else of storage.

A plugin is an object of the class Plugin that a distribution names in the entry point group `fileroom.plugins`; it is
enabled by its section `[plugins.NAME]` of the configuration.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from .errors import PixelsUnavailable, PluginUnusable, StorageError, StorageUnavailable
from .events import Event, InstanceDeleted, InstanceStored
from .external_change import (
    ExternalChange,
    ExternalInstance,
    ExternalOutcome,
    ExternalOutcomes,
    ExternalSeries,
    ExternalStatus,
)
from .frame_source import FrameSource
from .index.arrival import ExtractedRows
from .index.audit.event import Action, Actor, AuditEvent, EventId
from .index.audit.event import Outcome as AuditOutcome
from .index.external import Companion
from .index.plugin_connections import PluginConnections
from .index.plugin_database import (
    PluginDatabase,
    ViewSelect,
    instance_key,
    plugin_metadata,
    plugin_table,
)
from .index.plugin_tables import PLUGIN_NAME_LENGTH
from .index.tables import TABLE_OPTIONS
from .index.types import ExactText, LongText, Uid, binary, microsecond_datetime, surrogate_key
from .index.writer import utc_now
from .parse.header import Header
from .plugin_metrics import PluginCounter, PluginGauge, PluginHistogram, PluginMetric, check_metrics
from .query.locate import StoredInstance

if TYPE_CHECKING:
    from .storage import Storage

ENTRY_POINTS = "fileroom.plugins"

_NAME = re.compile(rf"[a-z][a-z0-9]{{0,{PLUGIN_NAME_LENGTH - 1}}}")
_OBJECT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class PluginSection(BaseModel):
    """What `[plugins.NAME]` may have: derive from it. Errors in it never quote a value, which may be a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


@dataclass(frozen=True)
class PluginContext:
    """What a plugin works with in a process that has it enabled."""

    name: str
    section: Any  # an instance of the plugin's own class of section
    storage: "Storage"
    database: PluginConnections

    def count(self, counter: PluginCounter, *labels: str, by: float = 1.0) -> None:
        """Any thread, at any time; seen in a server with metrics, and in a command beside it."""
        self.storage.monitor.counted(counter.name, labels, by)

    def observe(self, histogram: PluginHistogram, value: float, *labels: str) -> None:
        """As `count`."""
        self.storage.monitor.observed(histogram.name, labels, value)


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """What a plugin brings; all but the name may be left out. `"module:object"` is imported when it is needed.

    `extract` is called with the header of each object of `sop_classes` (None is all) that comes in, in any thread, and
    returns rows by table name; they are written in the transaction of the instance. `observe` hears of changes that are
    durable, in the thread that made them. `start` is called in each process that opens the storage, before it works.
    `commands` are click commands by name, below `fileroom NAME`; `blueprint` makes a Flask blueprint of a context; it
    is served under /api/NAME. `metrics` are what its code counts by the context, and what is looked at for a scrape.
    Raises ValueError for what cannot work.
    """

    name: str
    section: type[PluginSection] = PluginSection
    database: PluginDatabase | None = None
    sop_classes: Collection[str] | None = None
    extract: Callable[[Header], ExtractedRows] | None = None
    observe: Callable[[PluginContext, Event], None] | None = None
    start: Callable[[PluginContext], None] | None = None
    commands: Mapping[str, str] = field(default_factory=dict)
    blueprint: str | None = None
    metrics: Sequence[PluginMetric] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"the name of a plugin is {_NAME.pattern}")
        tables = self.database.metadata.tables if self.database is not None else {}
        if foreign := [name for name in tables if not name.startswith(f"{self.name}_")]:
            raise ValueError(f"the tables of plugin {self.name} begin with {self.name}_; {foreign[0]} does not")
        for reference in (*self.commands.values(), *filter(None, [self.blueprint])):
            if not _OBJECT.fullmatch(reference):
                raise ValueError(f'"{reference}" is not like "module:object"')
        check_metrics(self.name, self.metrics)


@dataclass(frozen=True)
class EnabledPlugin:
    """A plugin with what its section says."""

    plugin: Plugin
    section: PluginSection

    def context(self, storage: "Storage", connections: PluginConnections) -> PluginContext:
        return PluginContext(self.plugin.name, self.section, storage, connections)


def load_object(reference: str) -> Any:
    """What `"module:object"` names. Raises PluginUnusable."""
    module, _, name = reference.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise PluginUnusable(f"{reference} cannot be had ({error}); install the plugin again") from error


__all__ = [
    "ENTRY_POINTS",
    "TABLE_OPTIONS",
    "Action",
    "Actor",
    "AuditEvent",
    "AuditOutcome",
    "Companion",
    "EnabledPlugin",
    "Event",
    "EventId",
    "ExactText",
    "ExternalChange",
    "ExternalInstance",
    "ExternalOutcome",
    "ExternalOutcomes",
    "ExternalSeries",
    "ExternalStatus",
    "ExtractedRows",
    "FrameSource",
    "Header",
    "InstanceDeleted",
    "InstanceStored",
    "LongText",
    "PixelsUnavailable",
    "Plugin",
    "PluginConnections",
    "PluginContext",
    "PluginCounter",
    "PluginDatabase",
    "PluginGauge",
    "PluginHistogram",
    "PluginMetric",
    "PluginSection",
    "PluginUnusable",
    "StorageError",
    "StorageUnavailable",
    "StoredInstance",
    "Uid",
    "ViewSelect",
    "binary",
    "instance_key",
    "load_object",
    "microsecond_datetime",
    "plugin_metadata",
    "plugin_table",
    "surrogate_key",
    "utc_now",
]
