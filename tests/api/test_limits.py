"""Requests, streams and waits of a key beyond its limits, and what its other answers say."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from afterwards.access.key import Limits
from afterwards.access.meters import Left
from afterwards.access.roles import Role
from afterwards.api.authorise import Gate
from afterwards.errors import TaskNotFound
from afterwards.lifecycle import TaskState
from tests.access.holders import holder, ring_of

pytestmark = pytest.mark.anyio

SLOW = holder(Role.SUBMITTER, "slow", limits=Limits(requests_per_second=0.01, burst=2))
QUIET = holder(Role.SUBMITTER, "quiet")
HOLDS = holder(Role.VIEWER, "holds", limits=Limits(streams=1, waits=1))
NOTIFICATION = {"email": "johndoe@example.com", "message": "Received."}


@pytest.fixture(autouse=True)
def gate(app: FastAPI) -> Gate:
    found: Gate = app.state.gate
    found.renew(ring_of(SLOW, QUIET, HOLDS))
    return found


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/notify/"), ("GET", "/status/unknown"), ("GET", "/docs")]
)
async def test_requests_beyond_the_limit_are_refused_and_told_when_to_come_back(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    answers = [
        await client.request(method, path, json=NOTIFICATION, headers=SLOW.headers)
        for _ in range(3)
    ]

    assert [answer.status_code == 429 for answer in answers] == [False, False, True]
    policies = {answer.headers["ratelimit-policy"] for answer in answers}
    assert policies == {'"requests";q=2;w=200'}
    assert [answer.headers["ratelimit"].partition(";t=")[0] for answer in answers] == [
        '"requests";r=1', '"requests";r=0', '"requests";r=0',
    ]  # fmt: skip
    assert 0 < int(answers[2].headers["ratelimit"].partition(";t=")[2]) <= 200
    assert 0 < int(answers[2].headers["retry-after"]) <= 100
    assert answers[2].json()["limit"]["name"] == "requests_per_second"


async def test_the_limit_of_one_key_is_nobody_elses(client: httpx.AsyncClient) -> None:
    for _ in range(3):
        await client.get("/status/unknown", headers=SLOW.headers)
    answer = await client.get("/status/unknown", headers=QUIET.headers)
    assert answer.status_code == 404
    assert not {"ratelimit", "ratelimit-policy"} & set(answer.headers)


async def test_requests_that_are_refused_for_another_reason_count_too(
    client: httpx.AsyncClient,
) -> None:
    statuses = [
        (await client.post("/task-types/x/pause", headers=SLOW.headers)).status_code
        for _ in range(3)
    ]
    assert statuses == [403, 403, 429]


async def test_what_other_workers_have_spent_is_not_there_to_spend(
    client: httpx.AsyncClient, gate: Gate
) -> None:
    gate.meters.hear({SLOW.key.id: Left(0.5)})
    assert (await client.get("/status/x", headers=SLOW.headers)).status_code == 429


async def test_a_request_beyond_the_limit_is_refused_before_its_body_is_read(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    for _ in range(2):
        await client.get("/status/unknown", headers=SLOW.headers)
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body is read")

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http", "method": "POST", "path": "/notify/", "raw_path": b"/notify/",
        "query_string": b"", "headers": [
            (b"host", b"localhost"), (b"authorization", f"Bearer {SLOW.token}".encode()),
            (b"content-type", b"application/json"), (b"content-length", b"9000"),
        ],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "scheme": "http",
        "http_version": "1.1", "root_path": "",
    }  # fmt: skip
    await app(scope, receive, send)
    assert sent[0]["status"] == 429


@pytest.mark.parametrize("path", ["/tasks/{}/events", "/events", "/stats/events"])
async def test_a_stream_beyond_the_limit_of_all_workers_is_refused(
    client: httpx.AsyncClient, service: Any, gate: Gate, path: str
) -> None:
    task = service.put(TaskState.PENDING)
    gate.meters.hear({HOLDS.key.id: Left(1.0, streams=1)})

    answer = await client.get(path.format(task.id), headers=HOLDS.headers)

    assert answer.status_code == 429
    assert answer.json()["limit"] == {"name": "streams", "value": 1, "used": 1}
    assert gate.meters.by_key[HOLDS.key.id].streams == 0


async def test_a_wait_counts_while_it_lasts_and_beyond_the_limit_it_is_refused(
    client: httpx.AsyncClient, service: Any, gate: Gate
) -> None:
    meter, counted = gate.meters.by_key[HOLDS.key.id], []

    async def wait(task_id: str, _: float) -> None:
        counted.append(meter.waits)
        raise TaskNotFound(task_id)

    service.wait = wait
    assert (await client.get("/tasks/x?wait=1", headers=HOLDS.headers)).status_code == 404
    assert (counted, meter.waits) == ([1], 0)

    gate.meters.hear({HOLDS.key.id: Left(1.0, waits=1)})

    answer = await client.get("/tasks/x?wait=1", headers=HOLDS.headers)
    assert answer.status_code == 429
    assert answer.json()["limit"] == {"name": "waits", "value": 1, "used": 1}
