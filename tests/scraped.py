"""What /metrics of a running server tells, as Prometheus reads it."""

import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.served import Served

Metrics = dict[str, dict[tuple[tuple[str, str], ...], float]]


class Scrape:
    """Numbers by the name of their sample and their labels."""

    def __init__(self, served: Served) -> None:
        answer = requests.get(f"{served.url}/metrics", headers={"Accept-Encoding": "identity"}, timeout=30)
        answer.raise_for_status()
        self.text = answer.text
        self.samples: Metrics = {}
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                self.samples.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples that have these labels; 0 where there is none."""
        wanted = labels.items()
        return sum(value for found, value in self.samples.get(name, {}).items() if wanted <= dict(found).items())

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """What is not 0, by the values of a label."""
        wanted = labels.items()
        sums: dict[str, float] = {}
        for found, value in self.samples.get(name, {}).items():
            if value and wanted <= dict(found).items():
                sums[dict(found)[label]] = sums.get(dict(found)[label], 0.0) + value
        return sums
