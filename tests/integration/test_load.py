"""Thousands of tasks of all types through two workers: all done, all counted, all written."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.conftest import Service, wait_for

TASKS_OF_EACH_TYPE = 250
CLIENTS = 8


def _submissions() -> list[tuple[str, str, Any]]:
    return [
        submission
        for n in range(TASKS_OF_EACH_TYPE)
        for submission in (
            ("notification", "/notify", {"email": f"user{n}@example.com", "message": f"m{n}"}),
            ("report", "/report/", {"name": f"r{n}", "details": {"n": n}}),
            ("file", "/file/", {"content": {"n": n, "list": [n] * 3}}),
            ("email", "/send-email", {"email": "a@example.com", "subject": "s", "body": "b"}),
            ("bounced", "/notify/", {"email": "bounce@simulator.example", "message": "m"}),
        )
    ]


def _metrics(service: Service) -> dict[tuple[str, ...], float]:
    """Samples by name and label values."""
    text = service.get("/metrics").text
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_task_ends_in_its_state_and_everything_adds_up(service: Service) -> None:
    submissions = _submissions()
    accepted: dict[str, tuple[str, Any]] = {}
    workers: set[str] = set()

    def submit(share: list[tuple[str, str, Any]]) -> None:
        for kind, path, body in share:
            answer = service.post(path, body)
            assert answer.status_code in (200, 202), answer.text
            workers.add(answer.headers["x-request-id"].rpartition("-")[0])
            accepted[answer.json()["task_id"]] = (kind, body)

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(submit, [submissions[n::CLIENTS] for n in range(CLIENTS)]))
    assert len(accepted) == len(submissions)
    assert len(workers) == 2, "both workers accepted tasks"

    def all_finished() -> bool:
        metrics = _metrics(service)
        done = sum(
            number
            for (name, *labels), number in metrics.items()
            if name == "afterwards_tasks" and labels[0] in ("success", "failed")
        )
        return done == len(submissions)

    wait_for(all_finished, "all tasks finished")
    with httpx.Client(base_url=service.url, timeout=30) as client:
        for task_id, (kind, body) in accepted.items():
            status = client.get(f"/status/{task_id}").json()
            assert status["status"] == ("failed" if kind == "bounced" else "success"), status
            if kind == "file":
                written = service.output_dir / f"{task_id}.json"
                assert json.loads(written.read_text()) == body["content"]
    files = {path.name for path in service.output_dir.iterdir()}
    assert files == {f"{i}.json" for i, (kind, _) in accepted.items() if kind == "file"}
    _adds_up(_metrics(service))


def _adds_up(metrics: dict[tuple[str, ...], float]) -> None:
    n = TASKS_OF_EACH_TYPE
    for kind, number in {"notification": 2 * n, "report": n, "file": n, "email": n}.items():
        assert metrics["afterwards_tasks_submitted_total", kind] == number
        assert number == sum(
            value
            for (name, *labels), value in metrics.items()
            if name == "afterwards_tasks" and labels[1] == kind
        )
    assert metrics["afterwards_tasks", "failed", "notification"] == n
    assert metrics["afterwards_task_attempts_total", "failure", "notification"] == n
    assert metrics["afterwards_task_attempts_total", "success", "report"] == n
    assert metrics["afterwards_task_run_seconds_count", "file"] == n
    assert metrics["afterwards_workers",] == 2


def test_http_metrics_are_the_same_from_any_worker(service: Service) -> None:
    for _ in range(20):
        service.get("/status/unknown")

    def counted() -> bool:
        key = ("afterwards_http_requests_total", "GET", "/status/{task_id}", "404")
        return _metrics(service).get(key) == 20

    wait_for(counted, "all requests counted, whichever worker answers")
    wait_for(counted, "and again")
