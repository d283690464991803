"""The files in `deploy/`, read as their users read them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "docker-compose.yml"
PROMETHEUS = DEPLOY / "prometheus"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "afterwards.json"

_SELECTOR = re.compile(r"(?<![\w:])((?:[a-z_]+:)?afterwards_[\w:]+|up)(?![\w:(])(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


class Panel(NamedTuple):
    """One query of a panel."""

    title: str
    expr: str


class Selector(NamedTuple):
    """Series that an expression asks for."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]
    """(label, operator, value)"""

    def matches(self, name: str, labels: dict[str, str]) -> bool:
        return name == self.name and all(
            _fits(operator, value, labels.get(label, ""))
            for label, operator, value in self.matchers
        )

    def alternatives(self) -> list[Selector]:
        """One selector for each of `a|b|c`; each is expected to exist."""
        found = [self]
        for at, (label, operator, value) in enumerate(self.matchers):
            if operator == "=~":
                found = [
                    Selector(
                        each.name, (*each.matchers[:at], (label, "=~", v), *each.matchers[at + 1 :])
                    )
                    for each in found
                    for v in value.split("|")
                ]
        return found


def _fits(operator: str, value: str, actual: str) -> bool:
    if operator in ("=", "!="):
        return (actual == value) is (operator == "=")
    return (re.fullmatch(value, actual) is not None) is (operator == "=~")


def selectors(expr: str) -> list[Selector]:
    """All selectors in an expression."""
    return [
        Selector(name, tuple(_MATCHER.findall(matchers)))
        for name, matchers in _SELECTOR.findall(expr)
    ]


def read_yaml(path: Path) -> Any:
    """A YAML file as Python's own types."""
    return YAML(typ="safe").load(path)


def rules() -> list[dict[str, Any]]:
    """All recording rules and alerts."""
    groups = [
        group
        for path in sorted((PROMETHEUS / "rules").glob("*.yml"))
        for group in read_yaml(path)["groups"]
    ]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def dashboard() -> dict[str, Any]:
    """The dashboard's JSON."""
    document: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return document


def queries() -> Iterator[Panel]:
    """All queries of the dashboard, with Grafana's variables filled in."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            expr = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
            yield Panel(panel["title"], expr)
