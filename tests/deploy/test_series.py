"""Rules and panels ask for series that a service with a past shows."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.files import Selector, queries, rules, selectors
from tests.integration.conftest import Service, wait_for

NOTIFICATION = {"email": "johndoe@example.com", "message": "x"}
EMAIL = {"email": "johndoe@example.com", "subject": "s", "body": "b"}

RECORDED = {rule["record"] for rule in rules() if "record" in rule}
EXPRESSIONS = [*(rule["expr"] for rule in rules()), *(query.expr for query in queries())]
ASKED_FOR = sorted({selector for expr in EXPRESSIONS for selector in selectors(expr)})
OF_PROMETHEUS = {"up"}

Samples = list[tuple[str, dict[str, str]]]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samples]:
    """All series of a service with successes, failures, retries, refusals and lost attempts."""
    directory = tmp_path_factory.mktemp("service")
    service = Service(directory, email_delay_seconds="600", max_pending="2", grace_seconds="0")
    service.start()
    try:
        for email in ("success", "bounce", "flaky"):
            body = {**NOTIFICATION, "email": f"{email}@simulator.example"}
            service.finished(service.submit("/notify/", body))
        for _ in range(2):
            service.submit("/send-email", EMAIL)
        assert service.post("/notify/", NOTIFICATION).status_code == 503
        wait_for(lambda: 'status="503"' in service.get("/metrics").text, "refusals counted")
        for pid in service.worker_pids():
            os.kill(pid, signal.SIGKILL)
        yield read_samples(service)
    finally:
        service.kill_everything()


def read_samples(service: Service) -> Samples:
    def look() -> str | None:
        # Between the death of the workers and the start of others nobody answers.
        if not service.is_ready():
            return None
        text = service.get("/metrics").text
        return text if 'outcome="lost"' in text else None

    families = text_string_to_metric_families(wait_for(look, "lost attempts counted"))
    return [(sample.name, sample.labels) for family in families for sample in family.samples]


def test_there_is_something_to_look_for() -> None:
    names = {selector.name for selector in ASKED_FOR}
    assert len(names) > 15
    assert {"afterwards_journal_commit_seconds_bucket", "up"} <= names


@pytest.mark.parametrize(
    "selector", [s for s in ASKED_FOR if s.name not in RECORDED | OF_PROMETHEUS], ids=str
)
def test_a_series_that_is_asked_for_exists(selector: Selector, samples: Samples) -> None:
    # Prometheus adds these two when it scrapes.
    there = [(name, {**labels, "job": "afterwards", "instance": "a:1"}) for name, labels in samples]
    for alternative in selector.alternatives():
        assert any(alternative.matches(*sample) for sample in there), alternative


def test_every_recorded_series_is_used_and_every_used_one_is_recorded() -> None:
    assert {selector.name for selector in ASKED_FOR if ":" in selector.name} == RECORDED


def test_a_label_that_is_grouped_by_exists(samples: Samples) -> None:
    grouped = {
        label.strip()
        for expr in EXPRESSIONS
        for labels in re.findall(r"\bby \(([^)]*)\)", expr)
        for label in labels.split(",")
    }
    there = {label for _, labels in samples for label in labels} | {"job", "instance"}
    assert {"le", "type", "executor"} <= grouped <= there
