"""The dashboard, as far as it can be judged without Grafana."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from tests.deploy.files import DEPLOY, dashboard, queries, read_yaml
from tests.promtool import needs_promtool, promtool

PANELS = dashboard()["panels"]
PROVISIONING = DEPLOY / "grafana" / "provisioning"


@needs_promtool
def test_every_query_is_promql(tmp_path: Path) -> None:
    # promtool knows rules; a query becomes one by being given a name.
    named = [{"record": f"query:{n}", "expr": expr} for n, (_, expr) in enumerate(queries())]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": named}]}))
    status, said = promtool("check", "rules", str(file))
    assert status == 0, said
    assert len(named) > 20


def test_every_panel_says_what_it_shows_in_which_unit() -> None:
    shown = [panel for panel in PANELS if panel["type"] != "row"]
    assert all(panel["title"] and panel["description"].endswith(".") for panel in shown)
    assert all(panel["fieldConfig"]["defaults"]["unit"] for panel in shown)
    assert len({panel["title"] for panel in shown}) == len(shown)
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_every_line_has_a_name() -> None:
    lines = [t for panel in PANELS if panel["type"] == "timeseries" for t in panel["targets"]]
    assert lines
    assert all(target["legendFormat"] for target in lines)


def test_panels_do_not_overlap() -> None:
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in PANELS)
        for x, y in itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        )
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23


def test_the_data_source_it_begins_with_is_the_provisioned_one() -> None:
    (source,) = read_yaml(PROVISIONING / "datasources" / "prometheus.yml")["datasources"]
    variables = {each["name"]: each for each in dashboard()["templating"]["list"]}
    assert variables["datasource"]["current"]["value"] == source["uid"]
    used = {panel["datasource"]["uid"] for panel in PANELS if panel["type"] != "row"}
    assert used == {"${datasource}"}


def test_the_rate_interval_is_the_scrape_interval_s() -> None:
    (source,) = read_yaml(PROVISIONING / "datasources" / "prometheus.yml")["datasources"]
    prometheus = read_yaml(DEPLOY / "prometheus" / "prometheus.yml")
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]
