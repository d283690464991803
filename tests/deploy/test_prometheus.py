"""Prometheus' configuration, its rules, and the tests of its alerts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.files import COMPOSE, PROMETHEUS, ROOT, alerts, read_yaml
from tests.promtool import needs_promtool, promtool

ALERTS = alerts()
ALERT_TESTS = PROMETHEUS / "tests" / "alerts_test.yml"


@needs_promtool
def test_promtool_accepts_the_configuration_and_its_rules() -> None:
    status, said = promtool("check", "config", "--lint=all", str(PROMETHEUS / "prometheus.yml"))
    assert status == 0, said
    assert "SUCCESS: 2 rule files found" in said


@needs_promtool
def test_the_configuration_takes_a_key_where_it_says_so(tmp_path: Path) -> None:
    text, changes = re.subn(
        "# (authorization:)", r"\1", (PROMETHEUS / "prometheus.yml").read_text()
    )
    assert changes == 1
    file = tmp_path / "prometheus.yml"
    file.write_text(text)
    status, said = promtool("check", "config", "--syntax-only", str(file))
    assert status == 0, said
    [job] = [one for one in read_yaml(file)["scrape_configs"] if one["job_name"] == "afterwards"]
    token = Path(job["authorization"]["credentials_file"])
    # The folder is mounted there; a token in it is nothing to commit.
    volumes = read_yaml(COMPOSE)["services"]["prometheus"]["volumes"]
    assert f"./prometheus:{token.parent}:ro" in volumes
    assert f"/deploy/prometheus/{token.name}" in (ROOT / ".gitignore").read_text().splitlines()


@needs_promtool
def test_every_alert_does_what_its_tests_say() -> None:
    status, said = promtool("test", "rules", str(ALERT_TESTS))
    assert status == 0, said


def expected(name: str) -> list[list[Any]]:
    """The expectation of each test of an alert: the alerts that fire."""
    return [
        case["exp_alerts"]
        for test in read_yaml(ALERT_TESTS)["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == name
    ]


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_a_test_that_fires_it_and_one_that_does_not(name: str) -> None:
    assert any(expected(name))
    assert [] in expected(name)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_it_is_and_where_it_is_explained(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ("critical", "warning")
    annotations = rule["annotations"]
    assert annotations["summary"]
    assert annotations["description"].endswith(".")
    page, _, anchor = annotations["runbook_url"].partition("#")
    headings = re.findall(r"^## (\w+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor == name.lower()
    assert anchor in [heading.lower() for heading in headings]


def test_the_runbook_explains_no_alert_that_is_not_there() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    assert set(re.findall(r"^## (Afterwards\w+)$", runbook, re.MULTILINE)) == set(ALERTS)
