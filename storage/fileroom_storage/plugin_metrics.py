"""What a plugin declares of its metrics (docs/plugins.md); whoever monitors storage counts into them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .plugin import PluginContext

_LABEL = re.compile(r"[a-z][a-z0-9_]*")
# what Prometheus has other uses for, and what the declarations of metrics do
_NOT_LABELS = frozenset({"bounds", "instance", "job", "le", "name", "sparse", "text"})
_MOST_COMBINATIONS = 2000


@dataclass(frozen=True, eq=False)
class PluginCounter:
    """A number that only grows. `labels` has the values of each label; any other is told as "other".

    `text` is one sentence about what is counted.
    """

    name: str
    text: str
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class PluginHistogram:
    """How often what was observed was at most so much; `bounds` are ascending. Times are in seconds."""

    name: str
    text: str
    bounds: Sequence[float]
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class PluginGauge:
    """What is looked at when somebody asks: `read` has two seconds for it, with all else that is looked at."""

    name: str
    text: str
    read: "Callable[[PluginContext], float]"


PluginMetric = PluginCounter | PluginHistogram | PluginGauge


def check_metrics(plugin: str, metrics: Sequence[PluginMetric]) -> None:
    """Raises ValueError for what Prometheus would not take, or would drown in."""
    seen: set[str] = set()
    for metric in metrics:
        name = metric.name
        if not re.fullmatch(rf"fileroom_{plugin}_[a-z0-9_]+", name):
            raise ValueError(f"the metrics of plugin {plugin} begin with fileroom_{plugin}_; {name} does not")
        if name in seen:
            raise ValueError(f"metric {name} is declared twice")
        seen.add(name)
        if isinstance(metric, PluginCounter) != name.endswith("_total"):
            raise ValueError(f"names of counters, and of nothing else, end in _total; look at {name}")
        if isinstance(metric, PluginGauge):
            continue
        for label in metric.labels:
            if not _LABEL.fullmatch(label) or label in _NOT_LABELS:
                raise ValueError(f"metric {name} cannot have a label {label}; give it another name")
        if prod(len(values) + 1 for values in metric.labels.values()) > _MOST_COMBINATIONS:
            raise ValueError(f"the labels of metric {name} have more than {_MOST_COMBINATIONS} combinations")
        if isinstance(metric, PluginHistogram) and (
            not metric.bounds or list(metric.bounds) != sorted({*metric.bounds})
        ):
            raise ValueError(f"the bounds of metric {name} do not ascend")
