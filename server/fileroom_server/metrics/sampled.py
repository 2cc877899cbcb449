"""What is looked at for each scrape rather than counted: the disk, open conflicts, readiness, open associations."""

import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from contextlib import suppress
from importlib.metadata import version

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric as Family

from fileroom_storage.errors import StorageError
from fileroom_storage.storage import Storage

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
        self._looking = ThreadPoolExecutor(1, thread_name_prefix="fileroom-sampler")
        self._look: Future[tuple[bool, int | None]] | None = None

    def __call__(self) -> Iterator[Family]:
        is_ready, conflicts = self._looked()
        yield self._build()
        yield GaugeMetricFamily(
            "fileroom_associations_open", "Associations that are open, of all processes.", float(self._associations())
        )
        ready = GaugeMetricFamily("fileroom_ready", "Whether a part of the server can do its work.", labels=("part",))
        ready.add_metric(("storage",), float(is_ready))
        for part, reason in self._parts().items():
            ready.add_metric((part,), float(reason is None))
        yield ready
        if conflicts is not None:
            yield GaugeMetricFamily("fileroom_conflicts_open", "Conflicts that wait for a person.", float(conflicts))
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

    def _looked(self) -> tuple[bool, int | None]:
        """Whether an object could be stored, and how many conflicts are open; None where the index does not tell."""
        if self._look is None or self._look.done():
            self._look = self._looking.submit(self._look_now)
        try:
            return self._look.result(_PATIENCE)
        except NotInTime:
            return False, None

    def _look_now(self) -> tuple[bool, int | None]:
        try:
            self._storage.check_ready()
            return True, self._storage.count_conflicts()
        except StorageError:
            return False, None
