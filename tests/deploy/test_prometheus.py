"""Prometheus' configuration, its rules, and the tests of its alerts."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.files import PROMETHEUS, ROOT, alerts, read_yaml
from tests.promtool import needs_promtool, promtool

ALERTS = alerts()
ALERT_TESTS = PROMETHEUS / "tests" / "alerts_test.yml"


@needs_promtool
def test_promtool_accepts_the_configuration_and_its_rules() -> None:
    status, said = promtool("check", "config", "--lint=all", str(PROMETHEUS / "prometheus.yml"))
    assert status == 0, said
    assert "SUCCESS: 2 rule files found" in said


def test_the_configuration_with_a_key_differs_by_that_alone() -> None:
    without = read_yaml(PROMETHEUS / "prometheus.yml")
    with_key = read_yaml(PROMETHEUS / "prometheus.keys.yml")
    [ours] = [job for job in with_key["scrape_configs"] if job["job_name"] == "afterwards"]
    assert ours.pop("authorization") == {"credentials_file": "key"}
    assert with_key == without


@needs_promtool
def test_promtool_accepts_the_configuration_with_a_key(tmp_path: Path) -> None:
    shutil.copytree(PROMETHEUS, tmp_path, dirs_exist_ok=True)
    (tmp_path / "key").write_text("aw_")
    status, said = promtool("check", "config", str(tmp_path / "prometheus.keys.yml"))
    assert status == 0, said


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
