"""What makes a process of the server seen from outside: to be made before the fork, and begun after it."""

from collections.abc import Callable, Mapping

from fileroom_dicomweb.metrics import Exposition
from fileroom_server.config import Configuration
from fileroom_server.metrics.blocks import kept_numbers, shared_blocks
from fileroom_server.metrics.exposition import MetricsExposition
from fileroom_server.metrics.of_plugins import declare_metrics
from fileroom_server.metrics.sampled import Sampler
from fileroom_server.metrics.shared_numbers import NUMBERS
from fileroom_server.plugins import enabled_plugins
from fileroom_server.storage_monitor import CountingMonitor, TracingMonitor
from fileroom_server.tracing import start_tracing, stop_tracing, tracer
from fileroom_storage.monitor import UNWATCHED, Monitor
from fileroom_storage.storage import Storage


class Observability:
    """For all processes of a server. `associations` tells how many are open."""

    def __init__(self, configuration: Configuration, associations: Callable[[], int]) -> None:
        self._tracing = configuration.tracing
        self._data = configuration.data.absolute()
        self._associations = associations
        self._audit_is_sent = configuration.audit.enabled and bool(configuration.audit.syslog_host)
        declare_metrics(enabled_plugins(configuration))
        processes = configuration.dicom.processes + configuration.http.workers
        self._blocks = shared_blocks(processes) if configuration.metrics.enabled else None

    def begin(self) -> Monitor:
        """In a process that serves, before its storage is opened: what that tells of its work."""
        start_tracing(self._tracing)
        if self._blocks is not None and (block := self._blocks.claim()) is not None:
            NUMBERS.move(block)
        active = tracer()
        if active is not None:
            return TracingMonitor(active)
        return UNWATCHED if self._blocks is None else CountingMonitor()

    def end(self) -> None:
        stop_tracing()

    def exposition(self, storage: Storage, parts: Callable[[], Mapping[str, str | None]]) -> Exposition | None:
        """What /metrics answers in this process."""
        if self._blocks is None:
            return None
        sampler = Sampler(storage, parts, self._associations, audit_is_sent=self._audit_is_sent)
        return MetricsExposition(self._blocks, kept_numbers(self._data), sampler)
