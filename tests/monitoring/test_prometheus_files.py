"""Alert rules and dashboard: Prometheus' own tool takes them, alerts fire when they should, what they name exists."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fileroom_healthimaging.plugin import plugin
from fileroom_healthimaging.section import HealthImagingSection
from fileroom_server.metrics.blocks import kept_numbers, shared_blocks
from fileroom_server.metrics.exposition import MetricsExposition
from fileroom_server.metrics.metric import Histogram
from fileroom_server.metrics.of_plugins import all_metrics, declare_metrics
from fileroom_server.metrics.sampled import Sampler
from fileroom_storage.plugin import EnabledPlugin
from fileroom_storage.storage import Storage, StorageSettings
from tests.databases import find_program

ROOT = Path(__file__).parents[2]
RULES = ROOT / "conf/prometheus/fileroom-alerts.yml"
UNIT_TESTS = Path(__file__).with_name("fileroom-alerts.test.yml")
DASHBOARD = ROOT / "conf/prometheus/grafana-dashboard.json"
DOCUMENT = ROOT / "docs/monitoring.md"
DOCUMENTS = (DOCUMENT, ROOT / "docs/healthimaging-metrics.md")
NAME = re.compile(r"fileroom_[a-z0-9_]+")
# what Grafana puts in
VARIABLES = {"$__rate_interval": "5m", "$instance": ".*"}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def promtool(*arguments: str | Path, text: str | None = None) -> None:
    program = find_program("promtool", "prometheus")
    done = subprocess.run([program, *arguments], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def told(tmp_path: Path) -> str:
    """What /metrics tells of a server with the plugin and a collector, to which nothing has happened."""
    plugins = (EnabledPlugin(plugin, HealthImagingSection()),)
    declare_metrics(plugins)
    with Storage.open(StorageSettings(tmp_path / "data", plugins=plugins)) as storage:
        storage.create_schema_if_empty()
        sampler = Sampler(storage, lambda: {"dicom": None}, lambda: 0, audit_is_sent=True)
        body, _ = MetricsExposition(shared_blocks(1), kept_numbers(tmp_path), sampler)("text/plain")
    return body.decode()


def names(told: str) -> dict[str, str]:
    """The kinds of families by their names."""
    return dict(line.split()[2:4] for line in told.splitlines() if line.startswith("# TYPE"))


def samples(told: str) -> set[str]:
    """Whatever an expression may name."""
    found = set()
    for name, kind in names(told).items():
        found |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"} if kind == "histogram" else {name}
    return found


def expressions() -> list[str]:
    dashboard = json.loads(DASHBOARD.read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]


def test_prometheus_takes_the_rules() -> None:
    promtool("check", "rules", RULES)


def test_alerts_fire_when_they_should() -> None:
    promtool("test", "rules", UNIT_TESTS)


def test_every_alert_is_tested_both_ways_and_documented() -> None:
    tests: list[Any] = [
        one for test in yaml.safe_load(UNIT_TESTS.read_text())["tests"] for one in test["alert_rule_test"]
    ]
    document = DOCUMENT.read_text()
    for rule in rules():
        outcomes = {bool(test["exp_alerts"]) for test in tests if test["alertname"] == rule["alert"]}
        assert outcomes == {True, False}, rule["alert"]
        assert f"| `{rule['alert']}` |" in document


def test_rules_name_metrics_that_exist(told: str) -> None:
    named = {name for rule in rules() for name in NAME.findall(rule["expr"])}
    assert len(named) > 12
    assert named <= samples(told)


def test_the_dashboard_names_metrics_that_exist(told: str) -> None:
    named = {name for expression in expressions() for name in NAME.findall(expression)}
    assert named <= samples(told)
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}
    assert {metric.name for metric in all_metrics()} <= families | {"fileroom_index_commit_objects"}


def test_prometheus_takes_the_expressions_of_the_dashboard(tmp_path: Path) -> None:
    found = expressions()
    assert len(found) > 30
    for variable, value in VARIABLES.items():
        found = [expression.replace(variable, value) for expression in found]
    recorded = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(found)]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    promtool("check", "rules", file)


def test_panels_of_the_dashboard_are_told_apart() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & places, panel["title"]
        places |= cells


def test_names_follow_the_conventions(told: str) -> None:
    promtool("check", "metrics", text=told)


def test_the_document_lists_every_metric(told: str) -> None:
    """The documents have a row for each, with its kind, labels and meaning as the code has them."""
    lines = [line for document in DOCUMENTS for line in document.read_text().splitlines()]
    rows = [line.strip("|").split("|") for line in lines if line.startswith("| `fileroom_")]
    documented = {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in rows}
    helps = dict(line[7:].split(" ", 1) for line in told.splitlines() if line.startswith("# HELP"))
    assert documented.keys() == helps.keys()
    kinds = names(told)
    for name, (kind, labels, meaning) in documented.items():
        assert kind == kinds[name], name
        assert meaning == helps[name], name
        declared = next((metric for metric in all_metrics() if metric.name == name), None)
        if declared is not None:
            assert labels == ", ".join(f"`{label}`" for label in declared.labels), name


def test_histograms_have_ascending_bounds() -> None:
    for metric in all_metrics():
        if isinstance(metric, Histogram):
            assert list(metric.bounds) == sorted(set(metric.bounds))
