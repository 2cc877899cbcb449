"""The metrics as Prometheus and OpenMetrics have them: what all processes have counted, and what is looked at now."""

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from fileroom_server.metrics.metric import Gauge, Histogram, Metric
from fileroom_server.metrics.of_plugins import all_metrics
from fileroom_server.metrics.shared_numbers import NUMBERS, KeptNumbers, SharedBlocks


class MetricsExposition:
    """Answers scrapes. `sampled` gives what is looked at for each of them."""

    def __init__(self, blocks: SharedBlocks, kept: KeptNumbers, sampled: Callable[[], Iterable[Family]]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(blocks, kept, sampled))

    def __call__(self, accept: str) -> tuple[bytes, str]:
        """The body in the form that Accept asks for, and its media type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class _Collector(Collector):
    def __init__(self, blocks: SharedBlocks, kept: KeptNumbers, sampled: Callable[[], Iterable[Family]]) -> None:
        self._blocks = blocks
        self._kept = kept
        self._sampled = sampled

    def collect(self) -> Iterator[Family]:
        counted = np.zeros(len(NUMBERS.values))
        living = np.zeros(len(NUMBERS.values))
        for lives, block in self._blocks:
            numbers = np.asarray(block)
            counted += numbers
            if lives:
                living += numbers
        for kept in self._kept.blocks():
            counted += kept
        for metric in all_metrics():
            yield _family(metric, (living if isinstance(metric, Gauge) else counted).tolist())
        yield from self._sampled()


def _family(metric: Metric, numbers: list[float]) -> Family:
    names = tuple(metric.labels)
    if isinstance(metric, Histogram):
        histogram = HistogramMetricFamily(metric.name, metric.text, labels=names)
        for sample in metric.samples():
            buckets = list(accumulate(numbers[sample.place : sample.place + len(metric.bounds) + 1]))
            if buckets[-1] or not metric.sparse:
                bounds = [*map(str, metric.bounds), "+Inf"]
                total = numbers[sample.place + len(metric.bounds) + 1]
                histogram.add_metric(sample.labels, list(zip(bounds, buckets, strict=True)), total)
        return histogram
    family = (GaugeMetricFamily if isinstance(metric, Gauge) else CounterMetricFamily)(
        metric.name, metric.text, labels=names
    )
    for sample in metric.samples():
        if numbers[sample.place] or not metric.sparse:
            family.add_metric(sample.labels, numbers[sample.place])
    return family
