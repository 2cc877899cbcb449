"""What is looked at for each scrape rather than counted: the disk, open conflicts, readiness, open associations."""

import logging
import platform
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import version

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric as Family

from fileroom_storage.storage import Storage

_log = logging.getLogger(__name__)

# an index that hangs must not keep all other metrics from being told
_PATIENCE = 2.0


class Sampler:
    """For one process that answers scrapes. `parts` tells what keeps parts of the server other than storage from
    being ready, `associations` how many there are.
    """

    def __init__(
        self, storage: Storage, parts: Callable[[], Mapping[str, str | None]], associations: Callable[[], int]
    ) -> None:
        self._storage = storage
        self._parts = parts
        self._associations = associations
        self._looking = threading.Lock()
        self._look: _Look | None = None

    def __call__(self) -> Iterator[Family]:
        look = self._looked()
        yield self._build()
        yield GaugeMetricFamily(
            "fileroom_associations_open", "Associations that are open, of all processes.", float(self._associations())
        )
        ready = GaugeMetricFamily("fileroom_ready", "Whether a part of the server can do its work.", labels=("part",))
        ready.add_metric(("storage",), float(look.is_ready))
        for part, reason in self._parts().items():
            ready.add_metric((part,), float(reason is None))
        yield ready
        if look.conflicts is not None:
            yield GaugeMetricFamily(
                "fileroom_conflicts_open", "Conflicts that wait for a person.", float(look.conflicts)
            )
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

    def _looked(self) -> "_Look":
        """A look that is over, or the one that takes too long."""
        with self._looking:
            if self._look is None or not self._look.is_alive():
                self._look = _Look(self._storage)
                self._look.start()
            look = self._look
        look.join(_PATIENCE)
        return look


class _Look(threading.Thread):
    """Asks the index in a thread of its own, which nobody need wait for."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(name="fileroom-sampler", daemon=True)
        self._storage = storage
        self.is_ready = False
        self.conflicts: int | None = None  # None where the index does not tell

    def run(self) -> None:
        try:
            self._storage.check_ready()
            self.conflicts = self._storage.count_conflicts()
            self.is_ready = True
        except Exception as error:  # noqa: BLE001  # whatever it is, the scrape tells that storage is not ready
            _log.debug("storage is not ready: %s", type(error).__name__)
