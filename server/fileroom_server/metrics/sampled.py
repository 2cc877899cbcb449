"""What is looked at for each scrape rather than counted: readiness, open associations, what waits, the disk."""

import logging
import platform
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import TypeVar

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric as Family

from fileroom_server.audit_delivery import DESTINATION
from fileroom_storage.plugin import PluginContext, PluginGauge
from fileroom_storage.storage import Storage

_log = logging.getLogger(__name__)

# an index that hangs must not keep all other metrics from being told
_PATIENCE = 2.0


class Sampler:
    """For one process that answers scrapes. `parts` tells what keeps parts of the server other than storage from
    being ready, `associations` how many there are; `audit_is_sent` whether a collector is sent the audit log.
    """

    def __init__(
        self,
        storage: Storage,
        parts: Callable[[], Mapping[str, str | None]],
        associations: Callable[[], int],
        *,
        audit_is_sent: bool = False,
    ) -> None:
        self._storage = storage
        self._audit_is_sent = audit_is_sent
        self._parts = parts
        self._associations = associations
        self._looking = threading.Lock()
        self._look: _LookAtIndex | None = None
        self._look_of_plugins: _LookOfPlugins | None = None

    def __call__(self) -> Iterator[Family]:
        with self._looking:
            self._look = look = _begun(self._look, _LookAtIndex(self._storage, audit_is_sent=self._audit_is_sent))
            self._look_of_plugins = of_plugins = _begun(self._look_of_plugins, _LookOfPlugins(self._storage))
        deadline = time.monotonic() + _PATIENCE
        for one in (look, of_plugins):
            one.join(max(0.0, deadline - time.monotonic()))
        yield self._build()
        yield GaugeMetricFamily(
            "fileroom_associations_open", "Associations that are open, of all processes.", float(self._associations())
        )
        ready = GaugeMetricFamily("fileroom_ready", "Whether a part of the server can do its work.", labels=("part",))
        ready.add_metric(("storage",), float(look.is_ready and not look.hangs))
        for part, reason in self._parts().items():
            ready.add_metric((part,), float(reason is None))
        yield ready
        yield from look.told()
        yield from of_plugins.told()
        with suppress(OSError):
            usage = shutil.disk_usage(self._storage.settings.data)
            yield GaugeMetricFamily(
                "fileroom_data_free_bytes", "Bytes that are free for objects in the data folder.", float(usage.free)
            )
            yield GaugeMetricFamily(
                "fileroom_data_size_bytes", "The size of the disk that the data folder is on.", float(usage.total)
            )

    def _build(self) -> Family:
        values = {
            "version": version("fileroom"),
            "python": platform.python_version(),
            "database": self._storage.settings.database_url.partition(":")[0].partition("+")[0],
        }
        return InfoMetricFamily("fileroom_build", "Which release this is, and what it runs on.", value=values)


class _Look(threading.Thread):
    """Asks in a thread of its own, which nobody need wait for."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(name="fileroom-sampler", daemon=True)
        self._storage = storage
        self._found: list[Family] = []
        self.is_late = False  # whether a scrape before this one has begun it

    @property
    def hangs(self) -> bool:
        return self.is_late and self.is_alive()

    def told(self) -> list[Family]:
        """What has been found until now, which of one that hangs is nothing."""
        return [] if self.hangs else list(self._found)

    def _tell(self, name: str, text: str, value: float) -> None:
        self._found.append(GaugeMetricFamily(name, text, float(value)))


class _LookAtIndex(_Look):
    def __init__(self, storage: Storage, *, audit_is_sent: bool) -> None:
        super().__init__(storage)
        self._audit_is_sent = audit_is_sent
        self.is_ready = False

    def run(self) -> None:
        self.is_ready = _attempted(self._look_at_readiness)
        if not self.is_ready:
            return
        _attempted(self._look_at_commitments)
        if self._audit_is_sent:
            _attempted(self._look_at_audit)
        _attempted(self._look_at_failures)

    def _look_at_readiness(self) -> None:
        self._storage.check_ready()
        conflicts = self._storage.count_conflicts()
        self._tell("fileroom_conflicts_open", "Conflicts that wait for a person.", conflicts)

    def _look_at_commitments(self) -> None:
        number, since = self._storage.commitments.backlog()
        self._tell("fileroom_commitments_pending", "Requests for storage commitment that have no report yet.", number)
        text = "How long the first of the requests for storage commitment has waited for its report."
        self._tell("fileroom_commitments_oldest_age_seconds", text, _age(since))

    def _look_at_audit(self) -> None:
        number, since = self._storage.audit.delivery(DESTINATION).backlog()
        self._tell("fileroom_audit_events_waiting", "Audit events that the collector does not have yet.", number)
        text = "How old the first of the audit events is that the collector does not have yet."
        self._tell("fileroom_audit_events_oldest_age_seconds", text, _age(since))

    def _look_at_failures(self) -> None:
        text = "Instances that a plugin could not take, until it is backfilled."
        failures = GaugeMetricFamily("fileroom_plugin_failures_open", text, labels=("plugin",))
        for name, number in self._storage.plugins.failures().items():
            failures.add_metric((name,), float(number))
        self._found.append(failures)


class _LookOfPlugins(_Look):
    """On its own: a plugin that hangs says nothing of the index."""

    def run(self) -> None:
        for gauge, context in self._storage.plugins.gauges():
            _attempted(partial(self._look_at, gauge, context))

    def _look_at(self, gauge: PluginGauge, context: PluginContext) -> None:
        self._tell(gauge.name, gauge.text, gauge.read(context))


_AnyLook = TypeVar("_AnyLook", bound=_Look)


def _begun(before: _AnyLook | None, new: _AnyLook) -> _AnyLook:
    """The new one, or the one before where that takes too long."""
    if before is not None and before.is_alive():
        before.is_late = True
        return before
    new.start()
    return new


def _attempted(look: Callable[[], None]) -> bool:
    try:
        look()
    except Exception as error:  # noqa: BLE001  # whatever it is, the scrape tells the rest
        _log.debug("something cannot be looked at for a scrape: %s", type(error).__name__)
        return False
    return True


def _age(since: datetime | None) -> float:
    """Of a moment of the index, which is UTC; 0 where there is none."""
    return 0.0 if since is None else max(0.0, (datetime.now(UTC).replace(tzinfo=None) - since).total_seconds())
