"""Only hosts import task modules, and a validator that misbehaves costs its own request."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.conftest import wait_for
from tests.integration.own_types import OwnTypesService, serving

MODULE = """
import os, sys, time
from pydantic import BaseModel, ValidationError, field_validator
from pydantic_core import InitErrorDetails, PydanticCustomError
from afterwards import TaskType

with open("importers", "a") as file:
    file.write(f"{os.getpid()}\\n")

class Stop(BaseException):
    pass

class Guest(BaseModel):
    how: str = "well"
    number: int = 1

    @field_validator("how")
    @classmethod
    def misbehave(cls, how):
        if how == "hang":
            while True:
                time.sleep(60)
        if how == "spin":
            while True:
                pass
        if how == "sys.exit":
            sys.exit(3)
        if how == "os._exit":
            os._exit(3)
        if how == "raise":
            raise Stop("enough")
        if how == "bug":
            return {}["nothing"]
        if how == "recurse":
            return cls.misbehave(how)
        if how == "megabytes":
            text = "x" * 100_000
            raise ValidationError.from_exception_data(
                "Guest",
                [
                    InitErrorDetails(type=PydanticCustomError("long", text), loc=(n, text), input=0)
                    for n in range(100)
                ],
            )
        return how

def run(payload, context):
    return {"number": payload.number}

async def run_async(payload, context):
    return {"number": payload.number}

async def block_the_loop(payload, context):
    time.sleep(payload.number)

GUEST = TaskType("guest", Guest, run, executor="process")
THREAD = TaskType("guest-thread", Guest, run, executor="thread")
ASYNC = TaskType("guest-async", Guest, run_async)
BLOCKING = TaskType("guest-blocking", Guest, block_the_loop, timeout=1.0, max_attempts=1)
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("guests")
    (directory / "guests.py").write_text(MODULE)
    return directory


@pytest.fixture(scope="module")
def service(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnTypesService]:
    home = tmp_path_factory.mktemp("service")
    with serving(
        home, directory, task_modules="guests", workers="1", blocked_seconds="0.2"
    ) as running:
        yield running


def post(service: OwnTypesService, path: str = "/tasks", **payload: Any) -> httpx.Response:
    return service.client.post(path, json={"type": "guest", "payload": payload})


def importers(directory: Path) -> set[int]:
    return {int(pid) for pid in (directory / "importers").read_text().split()}


def children_of(pid: int) -> set[int]:
    # Each thread has its own.
    found = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return {int(child) for children in found for child in children}


def web_worker(service: OwnTypesService) -> int:
    assert service.master is not None
    pids = children_of(service.master.pid) - {service.registry_pid()}
    [worker] = pids
    return worker


def living(pids: set[int]) -> set[int]:
    return {pid for pid in pids if Path(f"/proc/{pid}").exists()}


def test_nobody_but_hosts_imports_a_task_module(service: OwnTypesService, directory: Path) -> None:
    assert service.master is not None
    # Before the first request there is one that validates.
    wait_for(lambda: living(importers(directory)), "a host is warm")
    assert post(service, number=7).status_code == 202
    assert post(service, number="x").status_code == 422
    for name in ("guest", "guest-thread", "guest-async"):
        order = {"type": name, "payload": {"number": 3}}
        document = service.client.post("/tasks?wait=20", json=order).json()
        assert document["result"] == {"number": 3}
    note = {"type": "notification", "payload": {"email": "jo@example.com", "message": ""}}
    assert service.client.post("/tasks?wait=20", json=note).json()["status"] == "success"
    shown = service.client.get("/task-types/guest").json()
    assert shown["payload_schema"]["properties"].keys() == {"how", "number"}
    assert "NewTask.guest" in service.client.get("/openapi.json").json()["components"]["schemas"]

    ours = {service.master.pid, service.registry_pid(), web_worker(service)}
    assert importers(directory)
    assert importers(directory) & ours == set()


def test_a_refusal_is_the_same_as_of_a_built_in_type(service: OwnTypesService) -> None:
    answer = post(service, number="x")
    message = "Input should be a valid integer, unable to parse string as an integer"
    assert answer.status_code == 422
    assert answer.json()["detail"] == f"#/payload/number: {message}"
    assert answer.json()["errors"] == [
        {"location": "body", "pointer": "#/payload/number", "message": message}
    ]
    batch = service.client.post(
        "/tasks/batch",
        json={
            "tasks": [
                {"type": "guest"},
                {"type": "notification", "payload": {"email": "jo@example.com", "message": ""}},
                {"type": "guest", "payload": {"number": "x"}},
                {"type": "nothing"},
            ]
        },
    )
    assert (batch.status_code, batch.json()["errors"][0]["pointer"]) == (
        422,
        "#/tasks/2/payload/number",
    )
    schedule = service.client.put(
        "/schedules/daily",
        json={"type": "guest", "payload": {"number": "x"}, "cron": "no", "timezone": "no"},
    )
    assert (schedule.status_code, schedule.json()["errors"][0]["pointer"]) == (
        422,
        "#/payload/number",
    )
    good = {"type": "guest", "payload": {"number": 1}, "cron": "0 0 1 1 *"}
    assert service.client.put("/schedules/daily", json=good).status_code == 201


def test_a_retry_with_a_payload_is_validated(service: OwnTypesService) -> None:
    task_id = service.client.post("/tasks", json={"type": "guest", "delay_seconds": 60}).json()[
        "id"
    ]
    service.client.post(f"/tasks/{task_id}/cancel")
    wrong = service.client.post(f"/tasks/{task_id}/retry", json={"payload": {"number": "x"}})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "#/payload/number")
    right = service.client.post(f"/tasks/{task_id}/retry", json={"payload": {"number": 5}})
    assert right.status_code == 202


def test_errors_of_megabytes_are_answered_in_short(service: OwnTypesService) -> None:
    answer = post(service, how="megabytes")
    assert answer.status_code == 422
    assert len(answer.content) < 200_000
    assert answer.json()["detail"].endswith(" (and 99 more)")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("sys.exit", "its validator raised SystemExit: 3"),
        ("raise", "its validator raised Stop: enough"),
        ("bug", "its validator raised KeyError: 'nothing'"),
        ("recurse", "its validator raised RecursionError"),
        ("os._exit", "The process that ran it exited with status 3"),
        ("hang", "that took longer than 1 s"),
        ("spin", "that took longer than 1 s"),
    ],
)
def test_a_validator_that_misbehaves_costs_its_own_request(
    service: OwnTypesService, how: str, said: str
) -> None:
    with ThreadPoolExecutor(12) as together:
        before = [together.submit(post, service, number=n) for n in range(5)]
        bad = together.submit(post, service, how=how)
        after = [together.submit(post, service, number=n) for n in range(5)]
        assert [one.result().status_code for one in before + after] == [202] * 10
    answer = bad.result()
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert f"The payload for task type 'guest' was not validated: {said}" in answer.json()["detail"]
    assert "Retry-After" in answer.headers


def test_a_host_that_dies_idle_is_replaced_before_it_is_needed(
    service: OwnTypesService, directory: Path
) -> None:
    assert post(service).status_code == 202
    wait_for(lambda: service.client.get("/stats").json()["tasks"]["processing"] == 0, "all done")
    hosts = living(importers(directory)) & children_of(web_worker(service))
    assert hosts
    before = importers(directory)
    for pid in hosts:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: living(importers(directory) - before), "a fresh one")
    assert post(service).status_code == 202


def test_a_blocked_loop_and_its_host_s_end_are_counted(service: OwnTypesService) -> None:
    assert _host_events(service) == {"blocked": 0, "ended": 0}
    order = {"type": "guest-blocking", "payload": {"number": 600}}
    document = service.client.post("/tasks?wait=20", json=order).json()

    assert (document["status"], document["error"]) == ("failed", "Timed out after 1 s")
    wait_for(lambda: _host_events(service) == {"blocked": 1, "ended": 1}, "both counted")
    assert "in block_the_loop" in service.log_file.read_text()


def _host_events(service: OwnTypesService) -> dict[str, float]:
    families = text_string_to_metric_families(service.client.get("/metrics").text)
    return {
        sample.labels["event"]: sample.value
        for family in families
        for sample in family.samples
        if sample.name == "afterwards_host_events_total" and sample.labels["executor"] == "async"
    }
