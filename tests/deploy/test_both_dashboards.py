"""Grafana's dashboard and the service's own say the same by the same names, units and colours."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import pytest

from afterwards.dashboard.assets import STATIC
from tests.deploy.files import dashboard, selectors

SERIES: Final = (STATIC / "ui/series.js").read_text()
PALETTE: Final = dict(
    # Grafana's pages are dark unless somebody changes that.
    re.findall(r"--(\w+): light-dark\(#\w+, (#\w+)\)", (STATIC / "styles/base.css").read_text())
)
PANELS: Final[dict[str, Any]] = {panel["title"]: panel for panel in dashboard()["panels"]}
UNITS: Final = {"rate": "ops", "duration": "s"}
"""Our charts' ways to write values, and Grafana's names of them."""


class Line(NamedTuple):
    metric: str | None
    state: str


def lines(table: str) -> dict[str, Line]:
    """The lines that a table of `series.js` has, by their labels."""
    _, _, rest = SERIES.partition(f"const {table} = [")
    found = {}
    for members in re.findall(r"\{(.*?)\}", rest.partition("];")[0], re.DOTALL):
        values = dict(re.findall(r'(\w+): "([^"]+)"', members))
        found[values["label"]] = Line(values.get("metric"), values["state"])
    return found


def charts() -> dict[str, tuple[str | None, str]]:
    """Metric and format of each of our charts, by its title; None: its lines have metrics."""
    found = re.findall(r'title="(\w+)" metric=("?[^ ]+"?) .*?format=\$\{(\w+)\}', SERIES)
    assert len(found) == SERIES.count("<${Chart}")
    return {
        title: (metric.strip('"') if metric.startswith('"') else None, unit)
        for title, metric, unit in found
    }


@pytest.mark.parametrize("title", charts())
def test_each_chart_has_a_panel_with_its_name_unit_lines_and_colours(title: str) -> None:
    metric, unit = charts()[title]
    mine = lines("QUANTILES" if metric else "THROUGHPUT")
    panel = PANELS[title]
    assert panel["fieldConfig"]["defaults"]["unit"] == UNITS[unit]
    asked = {
        target["legendFormat"]: {each.name for each in selectors(target["expr"])}
        for target in panel["targets"]
    }
    assert asked == {
        label: {f"{metric}_bucket" if metric else line.metric} for label, line in mine.items()
    }
    assert colours(panel) == {label: PALETTE[line.state] for label, line in mine.items()}


def colours(panel: dict[str, Any]) -> dict[str, str]:
    return {
        each["matcher"]["options"]: each["properties"][0]["value"]["fixedColor"]
        for each in panel["fieldConfig"]["overrides"]
    }


def test_states_have_one_colour_in_both() -> None:
    shown = colours(PANELS["Unfinished tasks"])
    assert shown == {state: PALETTE[state] for state in ("scheduled", "pending", "processing")}


def test_what_else_our_pages_name_is_asked_for_by_grafana_too() -> None:
    everything = "".join(path.read_text() for path in (STATIC / "pages").glob("*.js"))
    named = set(re.findall(r"\bafterwards_\w+", everything)) - {"afterwards_executors"}
    asked = {
        selector.name
        for panel in PANELS.values()
        for target in panel.get("targets", [])
        for selector in selectors(target["expr"])
    }
    assert {"afterwards_tasks", "afterwards_executor_slots"} <= named <= asked
