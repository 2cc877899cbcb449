"""Room for the metrics that are declared: in memory that processes share, and in the data folder for commands."""

import hashlib
from pathlib import Path

from fileroom_server.metrics.of_plugins import all_metrics
from fileroom_server.metrics.shared_numbers import NUMBERS, KeptNumbers, SharedBlocks

_SPARE_BLOCKS = 8
_KEPT_FILE = "metrics-of-commands"


def shared_blocks(processes: int) -> SharedBlocks:
    """For so many processes, and for those that end while others begin."""
    return SharedBlocks(2 * processes + _SPARE_BLOCKS, len(NUMBERS.values))


def kept_numbers(data: Path) -> KeptNumbers:
    """What commands count into the data folder; another release, and other plugins, declare other metrics."""
    layout = [(metric.name, metric.labels, getattr(metric, "bounds", ())) for metric in all_metrics()]
    digest = hashlib.sha256(repr(layout).encode()).hexdigest()[:8]
    return KeptNumbers(data / f"{_KEPT_FILE}-{digest}", len(NUMBERS.values))
