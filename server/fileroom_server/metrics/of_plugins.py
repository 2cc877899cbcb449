"""The metrics that enabled plugins declare: made before the numbers of a process are shared with others, or kept."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from fileroom_server.metrics.metric import OTHER, Counter, Histogram, Metric
from fileroom_server.metrics.table import METRICS
from fileroom_storage.plugin_metrics import PluginCounter, PluginHistogram

if TYPE_CHECKING:
    from fileroom_storage.plugin import EnabledPlugin

_COUNTERS: dict[str, Counter] = {}
_HISTOGRAMS: dict[str, Histogram] = {}


def declare_metrics(plugins: Iterable["EnabledPlugin"]) -> None:
    """Once or again: a metric that has been declared stays as it is."""
    for declared in (metric for enabled in plugins for metric in enabled.plugin.metrics):
        match declared:
            case PluginCounter(name, text, labels) if name not in _COUNTERS:
                _COUNTERS[name] = Counter(name, text, sparse=bool(labels), **_with_other(labels))
            case PluginHistogram(name, text, bounds, labels) if name not in _HISTOGRAMS:
                _HISTOGRAMS[name] = Histogram(name, text, bounds, sparse=bool(labels), **_with_other(labels))


def all_metrics() -> Iterator[Metric]:
    """Those of the server, then those of plugins."""
    yield from METRICS
    yield from _COUNTERS.values()
    yield from _HISTOGRAMS.values()


def count(name: str, labels: Sequence[str], by: float) -> None:
    if (counter := _COUNTERS.get(name)) is not None:
        counter.inc(*labels, by=by)


def observe(name: str, labels: Sequence[str], value: float) -> None:
    if (histogram := _HISTOGRAMS.get(name)) is not None:
        histogram.observe(value, *labels)


def _with_other(labels: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    return {label: tuple(dict.fromkeys((*values, OTHER))) for label, values in labels.items()}
