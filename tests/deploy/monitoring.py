"""What the shipped dashboard and alert rules ask of Prometheus."""

import json
import re
from typing import Any, Final

import yaml

from tests.e2e.gateways import ROOT

DASHBOARD: Final = ROOT / "deploy" / "grafana" / "scarfall.json"
ALERTS: Final = ROOT / "deploy" / "prometheus" / "alerts.yml"

#: Counted by label, of which none is known beforehand.
ONLY_LATER: Final = {"scarfall_closes_total", "scarfall_requests_total"}


def panels() -> list[str]:
    dashboard = json.loads(DASHBOARD.read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def alerts() -> list[str]:
    return [rule["expr"] for rule in rules()]


def for_prometheus(expression: str) -> str:
    """With Grafana's variables filled in."""
    return expression.replace("$__rate_interval", "1m").replace("$instance", ".*")


def names(expression: str) -> set[str]:
    """The metrics in it, a histogram's by the name of the whole."""
    return {
        re.sub(r"_(bucket|sum|count)$", "", name)
        for name in re.findall(r"\bscarfall_\w+", expression)
    }
