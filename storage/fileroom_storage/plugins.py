"""The plugins that a process has enabled: what each works with, and filling its tables from what is stored."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from .errors import PluginUnusable, StorageError, StorageUnavailable
from .extraction import Extraction, Extractor
from .index.arrival import Extracted
from .index.plugin_backfill import BackfillIndex, Pending, PluginProgress
from .index.plugin_connections import PluginConnections
from .index.plugin_database import PluginDatabase, extracted_tables
from .plugin_metrics import PluginGauge

if TYPE_CHECKING:
    from .plugin import EnabledPlugin, Plugin, PluginContext
    from .storage import Storage


@dataclass(slots=True)
class Backfilled:
    """What a backfill has done: instances looked at, and those of them that the plugin could not take."""

    instances: int = 0
    failures: int = 0


class Plugins:
    """Of one `Storage`."""

    def __init__(self, storage: "Storage", enabled: Sequence["EnabledPlugin"], connections: PluginConnections) -> None:
        self._storage = storage
        self._connections = connections
        self._contexts: dict[str, tuple[Plugin, PluginContext]] = {
            one.plugin.name: (one.plugin, one.context(storage, connections)) for one in enabled
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._contexts)

    def start(self) -> None:
        """Raises PluginUnusable where one cannot be started."""
        for name, (plugin, context) in self._contexts.items():
            if plugin.start is not None:
                try:
                    plugin.start(context)
                except StorageError:
                    raise
                except Exception as error:
                    raise PluginUnusable(f"plugin {name} could not be started: {type(error).__name__}") from error
            if plugin.observe is not None:
                self._storage.observe(partial(plugin.observe, context))

    def blueprints(self) -> dict[str, Any]:
        """Those of Flask that plugins bring, made anew. Raises PluginUnusable."""
        made = {}
        for name, (plugin, context) in self._contexts.items():
            if plugin.blueprint is not None:
                from .plugin import load_object

                made[name] = load_object(plugin.blueprint)(context)
        return made

    def gauges(self) -> "Iterator[tuple[PluginGauge, PluginContext]]":
        """What is to be looked at for a scrape."""
        for plugin, context in self._contexts.values():
            for metric in plugin.metrics:
                if isinstance(metric, PluginGauge):
                    yield metric, context

    def failures(self) -> dict[str, int]:
        """How many instances each plugin that looks at them could not take. Raises StorageUnavailable."""
        extracting = [name for name, (plugin, _) in self._contexts.items() if plugin.extract is not None]
        return {name: self._index(name).progress().failures for name in extracting}

    def context(self, name: str) -> "PluginContext":
        """Raises PluginUnusable where it is not enabled."""
        if name not in self._contexts:
            raise PluginUnusable(f"plugin {name} is not enabled; write a section [plugins.{name}] in the configuration")
        return self._contexts[name][1]

    def progress(self, name: str) -> PluginProgress:
        return self._index(name).progress()

    def pending(self, name: str) -> int:
        """How many instances a backfill would look at, failures aside."""
        extractor = self._storage.extraction.of_plugin(name)
        return 0 if extractor is None else self._index(name).number_pending(extractor.sop_classes)

    def backfill(
        self, name: str, *, again: bool = False, progress: Callable[[int, int], None] | None = None
    ) -> Backfilled:
        """Has a plugin look at all that it has not seen, then at what it has failed on; `again` at everything.

        Each page is durable before the next, and where it stopped it goes on. `progress` is told of instances done, and
        of how many there were to be done. What comes in meanwhile is there once all the same.
        Raises PluginUnusable, StorageUnavailable.
        """
        self.context(name)
        extractor = self._storage.extraction.of_plugin(name)
        if extractor is None:
            return Backfilled()
        index = self._index(name)
        if again:
            index.restart()
        done = Backfilled()
        total = index.number_pending(extractor.sop_classes)
        for page, last in index.pages(extractor.sop_classes):
            extracted = [(one.pk, self._extracted(extractor, one)) for one in page]
            index.replace([(pk, found) for pk, found in extracted if found is not None], last)
            if last is not None:
                done.instances += len(page)
                if progress is not None:
                    progress(done.instances, max(total, done.instances))
        done.failures = index.progress().failures
        return done

    def _index(self, name: str) -> BackfillIndex:
        return BackfillIndex(self._connections.engine, self._connections.tables, name)

    def _extracted(self, extractor: Extractor, pending: Pending) -> Extracted | None:
        """None where the instance is gone."""
        instance = next(self._storage.locate({"SOPInstanceUID": pending.sop_instance_uid}), None)
        if instance is None or instance.pk != pending.pk:
            return None
        try:
            return extractor(self._storage.header(instance))
        except StorageUnavailable:
            raise
        except StorageError as error:
            return Extracted(extractor.plugin, None, type(error).__name__)


def extraction_of(enabled: Sequence["EnabledPlugin"]) -> Extraction:
    return Extraction(
        [
            Extractor(
                one.plugin.name,
                None if one.plugin.sop_classes is None else frozenset(one.plugin.sop_classes),
                () if one.plugin.database is None else extracted_tables(one.plugin.database),
                one.plugin.extract,
            )
            for one in enabled
            if one.plugin.extract is not None
        ]
    )


def plugin_databases(enabled: Sequence["EnabledPlugin"]) -> dict[str, PluginDatabase]:
    return {one.plugin.name: one.plugin.database for one in enabled if one.plugin.database is not None}
