"""What the commands of plugins count: kept in the data folder, where a server finds it and tells it with its own."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fileroom_server.config import Configuration
from fileroom_server.metrics.blocks import kept_numbers
from fileroom_server.metrics.of_plugins import declare_metrics
from fileroom_server.metrics.shared_numbers import KeptNumbers
from fileroom_server.plugins import enabled_plugins
from fileroom_server.storage_monitor import CountingMonitor
from fileroom_storage.monitor import UNWATCHED, Monitor

_KEEP_SECONDS = 5.0


@contextmanager
def counted_command(configuration: Configuration) -> Iterator[Monitor]:
    """For the storage of a command that runs once in this process."""
    if not configuration.metrics.enabled:
        yield UNWATCHED
        return
    declare_metrics(enabled_plugins(configuration))
    kept, ended = kept_numbers(configuration.data.absolute()), threading.Event()
    kept.begin()
    keeping = threading.Thread(target=_keep, args=(kept, ended), name="fileroom-metrics", daemon=True)
    keeping.start()
    try:
        yield CountingMonitor()
    finally:
        ended.set()
        keeping.join()
        kept.end()


def _keep(kept: KeptNumbers, ended: threading.Event) -> None:
    while not ended.wait(_KEEP_SECONDS):
        kept.keep()
