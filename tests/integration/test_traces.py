"""Traces of a real service, as a collector receives them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from afterwards.trace_context import attempt_span_id
from tests.integration.conftest import Service, started, wait_for
from tests.otlp import Collector, Received, collecting

CLIENT_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CLIENT_SPAN = "00f067aa0ba902b7"
SAMPLED = {
    "traceparent": f"00-{CLIENT_TRACE}-{CLIENT_SPAN}-01",
    "tracestate": "vendor=a1,other=b2",
}
UNSAMPLED = {"traceparent": f"00-{CLIENT_TRACE}-{CLIENT_SPAN}-00"}
NOTIFICATION = {"email": "success@simulator.example", "message": "Hello"}

MODULE = """
from opentelemetry import trace
from pydantic import BaseModel
from afterwards import TaskType

class Nothing(BaseModel):
    pass

def run(payload, context):
    print("printed")
    context.logger.info("logged")
    current = trace.get_current_span().get_span_context()
    return {
        "traceparent": context.traceparent,
        "tracestate": context.tracestate,
        "current": f"{current.trace_id:032x}-{current.span_id:016x}",
    }

async def run_async(payload, context):
    return run(payload, context)

ASYNC = TaskType("traced-async", Nothing, run_async)
THREAD = TaskType("traced-thread", Nothing, run, executor="thread")
PROCESS = TaskType("traced-process", Nothing, run, executor="process")
"""


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Service]:
    """A service whose traces go to the collector, almost at once."""
    directory = tmp_path_factory.mktemp("traced")
    (directory / "traced_types.py").write_text(MODULE)
    service = Service(
        directory,
        otlp_endpoint=collector.url,
        trace_link="https://traces.example.org/show/{trace_id}",
        task_modules="traced_types",
        lease_seconds="5",
    )
    service.set_plain(OTEL_BSP_SCHEDULE_DELAY="100", OTEL_RESOURCE_ATTRIBUTES="team=red")
    with started(service):
        yield service


def of_task(collector: Collector, name: str, task_id: str, number: int = 1) -> list[Received]:
    """So many spans of a task, as soon as they are there."""

    def look() -> list[Received] | None:
        found = [
            span
            for span in collector.spans(name)
            if span.attributes.get("messaging.message.id") == task_id
        ]
        return found if len(found) >= number else None

    return wait_for(look, f"{number} spans {name!r} of {task_id}")


def finished(service: Service, task_id: str) -> dict[str, Any]:
    service.finished(task_id)
    document: dict[str, Any] = service.get(f"/tasks/{task_id}").json()
    return document


def lines_of(service: Service, task_id: str) -> list[dict[str, Any]]:
    """The lines of the log about a task."""
    lines = [json.loads(one) for one in service.log_file.read_text().splitlines() if one[:1] == "{"]
    return [line for line in lines if line.get("task_id") == task_id]


ROUTES = {
    "/notify/": NOTIFICATION,
    "/report/": {"name": "Sales", "details": {"month": "June"}},
    "/send-email": {"email": "success@simulator.example", "subject": "Hi", "body": "Hello"},
    "/tasks": {"type": "notification", "payload": NOTIFICATION},
}


@pytest.mark.parametrize("path", ROUTES)
def test_a_submission_goes_on_with_its_clients_trace_and_each_attempt_is_linked_to_it(
    traced: Service, collector: Collector, path: str
) -> None:
    answer = traced.post(path, ROUTES[path], SAMPLED).json()
    task_id = answer.get("task_id") or answer["id"]
    document = finished(traced, task_id)

    [submitted] = of_task(collector, "submit ", task_id)
    [attempt] = of_task(collector, "process ", task_id)

    assert (submitted.kind, attempt.kind) == ("PRODUCER", "CONSUMER")
    assert (submitted.trace_id, submitted.parent_id) == (CLIENT_TRACE, CLIENT_SPAN)
    assert submitted.state == SAMPLED["tracestate"]
    assert (attempt.trace_id, attempt.parent_id) == (CLIENT_TRACE, submitted.span_id)
    assert attempt.links == [(CLIENT_TRACE, submitted.span_id)]
    assert attempt.span_id == attempt_span_id(task_id, 1)
    assert document["trace_id"] == CLIENT_TRACE
    assert document["trace_link"] == f"https://traces.example.org/show/{CLIENT_TRACE}"
    assert [one["span_id"] for one in document["history"]] == [attempt.span_id]
    assert collector.paths == {"/v1/traces"}


def test_spans_have_the_attributes_of_the_conventions(
    traced: Service, collector: Collector
) -> None:
    task_id = traced.post("/notify/", NOTIFICATION, SAMPLED).json()["task_id"]
    document = finished(traced, task_id)
    [submitted] = of_task(collector, "submit notification", task_id)
    [attempt] = of_task(collector, "process notification", task_id)

    size = submitted.attributes["messaging.message.body.size"]
    assert submitted.attributes == {
        "messaging.system": "afterwards",
        "messaging.operation.name": "submit",
        "messaging.operation.type": "send",
        "messaging.destination.name": "notification",
        "messaging.message.id": task_id,
        "messaging.message.body.size": size,
    }
    assert attempt.attributes == {
        "messaging.system": "afterwards",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "notification",
        "messaging.message.id": task_id,
        "messaging.message.body.size": size,
        "messaging.client.id": document["history"][0]["worker"],
        "afterwards.task.attempt": 1,
        "afterwards.task.executor": "async",
        "afterwards.task.outcome": "success",
    }
    assert (submitted.status, attempt.status) == ("UNSET", "UNSET")
    resource = attempt.resource
    assert (resource["service.name"], resource["team"]) == ("afterwards", "red")
    assert resource["service.instance.id"] == document["history"][0]["worker"]
    assert resource["process.pid"] in traced.worker_pids()
    assert resource["host.name"]


def test_a_batch_is_one_submission_to_which_all_attempts_are_linked(
    traced: Service, collector: Collector
) -> None:
    tasks = [{"type": "notification", "payload": NOTIFICATION}] * 3
    answer = traced.post("/tasks/batch", {"tasks": tasks}, SAMPLED).json()
    attempts = [of_task(collector, "process ", document["id"])[0] for document in answer["tasks"]]
    [submitted] = [
        span
        for span in collector.spans("submit notification")
        if span.attributes.get("messaging.batch.message_count") == 3
    ]

    assert {attempt.parent_id for attempt in attempts} == {submitted.span_id}
    assert "messaging.message.id" not in submitted.attributes


def test_every_attempt_has_a_span_that_says_how_it_ended(
    traced: Service, collector: Collector
) -> None:
    flaky = {**NOTIFICATION, "email": "flaky@simulator.example"}
    task_id = traced.post("/notify/", flaky, SAMPLED).json()["task_id"]
    document = finished(traced, task_id)
    first, second = sorted(
        of_task(collector, "process ", task_id, 2),
        key=lambda span: span.attributes["afterwards.task.attempt"],
    )

    assert (first.status, first.attributes["error.type"]) == ("ERROR", "failure")
    assert first.message == document["history"][0]["error"]
    assert second.attributes["afterwards.task.outcome"] == "success"
    assert [one["span_id"] for one in document["history"]] == [first.span_id, second.span_id]
    assert first.links == second.links


def test_what_the_client_does_not_sample_is_not_sent_and_travels_on(
    traced: Service, collector: Collector
) -> None:
    answer = traced.post("/tasks", {"type": "traced-thread", "payload": {}}, UNSAMPLED).json()
    document = finished(traced, answer["id"])
    # One that comes later is there: what came before would be, too.
    later = traced.post("/notify/", NOTIFICATION, SAMPLED).json()["task_id"]
    of_task(collector, "process ", later)

    ids = {span.attributes.get("messaging.message.id") for span in collector.spans()}
    assert answer["id"] not in ids
    assert document["result"]["traceparent"].startswith(f"00-{CLIENT_TRACE}-")
    assert document["result"]["traceparent"].endswith("-00")
    assert (document["trace_id"], document["trace_link"]) == (CLIENT_TRACE, None)


def test_a_submission_without_a_trace_begins_one(traced: Service, collector: Collector) -> None:
    wrong = {"traceparent": f"00-{'0' * 32}-{CLIENT_SPAN}-01"}
    task_id = traced.post("/notify/", NOTIFICATION, wrong).json()["task_id"]
    [submitted] = of_task(collector, "submit ", task_id)

    assert submitted.parent_id == ""
    assert finished(traced, task_id)["trace_id"] == submitted.trace_id != CLIENT_TRACE


@pytest.mark.parametrize("kind", ["async", "thread", "process"])
def test_task_code_and_its_log_lines_are_in_the_attempts_span(
    traced: Service, collector: Collector, kind: str
) -> None:
    new = {"type": f"traced-{kind}", "payload": {}}
    task_id = traced.post("/tasks", new, SAMPLED).json()["id"]
    result = finished(traced, task_id)["result"]
    [attempt] = of_task(collector, "process ", task_id)

    assert result["traceparent"] in (
        f"00-{CLIENT_TRACE}-{attempt.span_id}-01",
        f"00-{CLIENT_TRACE}-{attempt.span_id}-03",
    )
    assert result["tracestate"] == SAMPLED["tracestate"]
    assert result["current"] == f"{CLIENT_TRACE}-{attempt.span_id}"
    lines = wait_for(
        lambda: found if len(found := lines_of(traced, task_id)) >= 2 else None, "two lines"
    )
    assert {line["event"] for line in lines} == {"task printed", "logged"}
    for line in lines:
        assert (line["trace_id"], line["span_id"]) == (CLIENT_TRACE, attempt.span_id)


def test_a_task_keeps_its_trace_when_everything_is_killed_before_its_attempt(
    traced: Service, collector: Collector
) -> None:
    new = {"type": "notification", "payload": NOTIFICATION, "delay_seconds": 3_600}
    task_id = traced.post("/tasks", new, SAMPLED).json()["id"]
    [submitted] = of_task(collector, "submit ", task_id)
    traced.kill_everything()
    traced.start()
    assert traced.post(f"/tasks/{task_id}/run").status_code == 200
    [attempt] = of_task(collector, "process ", task_id)

    assert attempt.links == [(CLIENT_TRACE, submitted.span_id)]
    assert attempt.attributes["messaging.client.id"] != submitted.resource["service.instance.id"]


def test_an_attempt_after_one_that_died_with_its_worker_is_linked_too(
    traced: Service, collector: Collector
) -> None:
    traced.stop()
    traced.set(notification_delay_seconds="3600")
    traced.start()
    task_id = traced.post("/notify/", NOTIFICATION, SAMPLED).json()["task_id"]
    [submitted] = of_task(collector, "submit ", task_id)
    wait_for(
        lambda: traced.get(f"/tasks/{task_id}").json()["status"] == "processing", "an attempt runs"
    )
    traced.kill_everything()
    traced.set(notification_delay_seconds="0")
    traced.start()
    history = finished(traced, task_id)["history"]
    [attempt] = of_task(collector, "process ", task_id)

    assert [one["outcome"] for one in history] == ["lost", "success"]
    assert attempt.span_id == history[1]["span_id"]
    assert attempt.links == [(CLIENT_TRACE, submitted.span_id)]


def test_a_collector_that_is_away_costs_one_line_until_it_is_back(
    traced: Service, collector: Collector
) -> None:
    def lines() -> list[str]:
        log = traced.log_file.read_text().splitlines()
        return [line for line in log if "traces cannot be sent" in line]

    traced.stop()
    traced.set(workers="1")
    traced.start()
    collector.status = 500
    before = len(lines())
    for _ in range(5):
        traced.finished(traced.post("/notify/", NOTIFICATION, SAMPLED).json()["task_id"])
        wait_for(lambda: len(lines()) > before, "a line")
    assert len(lines()) == before + 1
    collector.status = 200
    task_id = traced.post("/notify/", NOTIFICATION, SAMPLED).json()["task_id"]
    of_task(collector, "process ", task_id)
