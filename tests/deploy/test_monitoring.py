"""The dashboard and the alert rules name what there is, and the run book knows every alert.

tests/e2e/test_metrics.py asks a real Prometheus all of it.
"""

import json
import re
import subprocess

import pytest

from gateways.metrics import LabelledCounter, Metric
from tests.deploy import monitoring
from tests.e2e.gateways import ROOT
from tests.prometheus import PROMTOOL, SHIPPED

METRICS = {metric.name: metric for metric in Metric.all}
EXPRESSIONS = [*monitoring.panels(), *monitoring.alerts()]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_exists(expression: str) -> None:
    named = monitoring.names(expression)
    assert named <= set(METRICS)
    assert named or expression == 'up{job="scarfall"} == 0'


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_label_exists(expression: str) -> None:
    named = [METRICS[name] for name in monitoring.names(expression)]
    labels = {"instance", "process", "gateway", "le", "job"} | {metric.label for metric in named}
    by = [
        label for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")
    ]
    selected = re.findall(r"(\w+)(?:=|!~|=~)\"", expression)
    assert {label.strip() for label in by} | set(selected) <= labels
    for metric in named:
        for value in re.findall(rf'{metric.name}{{[^}}]*{metric.label}="(\w+)"', expression):
            assert isinstance(metric, LabelledCounter)
            assert value in metric.value()


def test_the_dashboard_shows_every_metric() -> None:
    shown = set().union(*map(monitoring.names, monitoring.panels()))
    assert shown == set(METRICS)


def test_no_two_panels_overlap() -> None:
    panels = json.loads(monitoring.DASHBOARD.read_text())["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_the_run_book_knows_every_alert() -> None:
    book = (ROOT / "docs" / "operations.md").read_text()
    explained = re.findall(r"^\| `(Scarfall\w+)`", book, re.MULTILINE)
    assert explained == [rule["alert"] for rule in monitoring.rules()]


def test_promtool_accepts_the_rules() -> None:
    if PROMTOOL is None:
        pytest.skip("promtool is missing: apt-get install prometheus")
    subprocess.run([PROMTOOL, "check", "rules", monitoring.ALERTS], check=True)
    subprocess.run(
        [PROMTOOL, "check", "config", "--syntax-only", SHIPPED / "prometheus.yml"], check=True
    )
