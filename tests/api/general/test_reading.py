"""`GET /tasks/{id}`: everything about one task."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from afterwards.api.schemas.tasks import FullTaskDocument
from afterwards.errors import TaskDeleted
from afterwards.lifecycle import Usage
from afterwards.registry.protocol.requests import Failed, Succeeded
from afterwards.service.service import TaskService
from tests.api.general.conftest import Hand, shown, submitted

pytestmark = pytest.mark.anyio


async def test_a_task_tells_of_each_attempt_the_running_one_last(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    task_id = (await submitted(api))["id"]
    hand.fail(hand.claim(task_id), 0.0, 'busy: "x"')
    claim = hand.claim(task_id)
    answer = await api.get(f"/tasks/{task_id}/")
    FullTaskDocument.model_validate_json(answer.content)
    document = answer.json()
    assert (document["status"], document["attempts"]) == ("processing", 2)
    assert document["error"] == 'busy: "x"'
    assert (document["executor"], document["cancel_requested"]) == ("async", False)
    ended, running = document["history"]
    assert (ended["attempt"], ended["outcome"], ended["error"]) == (1, "failure", 'busy: "x"')
    assert (ended["run_seconds"], ended["worker"]) == (0.25, hand.name)
    assert ended["finished_at"] >= ended["started_at"]
    assert (running["attempt"], running["outcome"], running["finished_at"]) == (2, None, None)

    hand.succeed(claim, b'{"a":1}')
    document = await shown(api, task_id)
    assert (document["status"], document["result"], document["error"]) == (
        "success",
        {"a": 1},
        None,
    )
    assert [attempt["outcome"] for attempt in document["history"]] == ["failure", "success"]


async def test_the_log_of_the_last_attempt_is_shown_to_who_asks_for_it(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    task_id = (await submitted(api))["id"]
    assert (await api.get(f"/tasks/{task_id}?logs=1")).json()["log_lines"] == []
    claim = hand.claim(task_id)
    hand.report(Succeeded(task_id, claim.attempt, b"{}", 0.1, Usage(34_000_000, 0.5), ["one", "☃"]))

    shown = (await api.get(f"/tasks/{task_id}?logs=1")).json()
    assert shown["log_lines"] == ["one", "☃"]
    [attempt] = shown["history"]
    assert (attempt["peak_memory_bytes"], attempt["cpu_seconds"]) == (34_000_000, 0.5)
    for query in ("", "?logs=0"):
        assert "log_lines" not in (await api.get(f"/tasks/{task_id}{query}")).json()
    for query in ("?logs=yes", "?logs=1&logs=1", "?logs="):
        assert (await api.get(f"/tasks/{task_id}{query}")).status_code == 422


async def test_where_an_attempt_has_failed_is_shown_to_who_asks_for_it(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    task_id = (await submitted(api))["id"]
    claim = hand.claim(task_id)
    hand.report(Failed(task_id, claim.attempt, "no", 0.1, None, traceback="in line 1\nno ☃"))

    [attempt] = (await api.get(f"/tasks/{task_id}?tracebacks=1")).json()["history"]
    assert (attempt["error"], attempt["traceback"]) == ("no", "in line 1\nno ☃")
    for query in ("", "?tracebacks=0"):
        [attempt] = (await api.get(f"/tasks/{task_id}{query}")).json()["history"]
        assert "traceback" not in attempt
    assert (await api.get(f"/tasks/{task_id}?tracebacks=yes")).status_code == 422


@pytest.mark.parametrize("known", ["{}", "W/{}", '"x", {} ', "*", '"a,b",W/{}'])
async def test_what_the_client_has_already_is_not_sent_again(
    api: httpx.AsyncClient, hand: Hand, known: str
) -> None:
    task_id = (await submitted(api))["id"]
    first = await api.get(f"/tasks/{task_id}")
    headers = {"If-None-Match": known.format(first.headers["etag"])}
    same = await api.get(f"/tasks/{task_id}", headers=headers)
    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["etag"] == first.headers["etag"]

    hand.claim(task_id)
    changed = await api.get(f"/tasks/{task_id}", headers=headers)
    assert changed.headers["etag"] != first.headers["etag"]
    assert changed.status_code == (304 if known == "*" else 200)


async def test_another_tag_is_not_this_one(api: httpx.AsyncClient) -> None:
    task_id = (await submitted(api))["id"]
    for tag in ('"x"', "x", "W/x", '""'):
        answer = await api.get(f"/tasks/{task_id}", headers={"If-None-Match": tag})
        assert answer.status_code == 200


async def test_who_waits_is_answered_as_soon_as_it_is_finished(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    task_id = (await submitted(api))["id"]
    headers = {"Prefer": "wait=60"}
    asked = asyncio.create_task(api.get(f"/tasks/{task_id}", headers=headers))
    await asyncio.sleep(0)
    hand.succeed(hand.claim(task_id), b"{}")
    answer = await asyncio.wait_for(asked, 10)
    assert (answer.status_code, answer.json()["status"]) == (200, "success")
    assert answer.headers["preference-applied"] == "wait=60"


async def test_when_the_time_is_up_the_task_is_shown_as_it_stands(api: httpx.AsyncClient) -> None:
    task_id = (await submitted(api))["id"]
    answer = await api.get(f"/tasks/{task_id}?wait=1")
    assert (answer.status_code, answer.json()["status"]) == (200, "pending")
    assert (await api.get(f"/tasks/{task_id}?wait=x")).status_code == 422


UNKNOWN = ["2f1c7a52-6f0b-4c3e-9d57-0a5c1f4b8e11", "no-uuid", "batch", "%00", "x" * 5_000, "%ff"]
ROUTES = [("GET", "/tasks/{}"), ("POST", "/tasks/{}/cancel"), ("POST", "/tasks/{}/retry")]


@pytest.mark.parametrize("task_id", UNKNOWN)
@pytest.mark.parametrize(("method", "path"), [*ROUTES, ("GET", "/tasks/{}?wait=60")])
async def test_an_unknown_id_is_not_found(
    api: httpx.AsyncClient, method: str, path: str, task_id: str
) -> None:
    answer = await api.request(method, path.format(task_id))
    assert answer.status_code == 404
    assert answer.json()["detail"] == "Task not found"


async def test_a_deleted_task_is_gone_and_for_the_others_surfaces_not_found(
    api: httpx.AsyncClient, service: TaskService, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = (await submitted(api))["id"]

    async def deleted(*_: Any, **__: Any) -> None:
        raise TaskDeleted(task_id)

    for name in ("call", "read"):
        monkeypatch.setattr(service._client, name, deleted)
    for method, path in ROUTES:
        answer = await api.request(method, path.format(task_id))
        assert answer.status_code == 410
        assert "deleted" in answer.json()["detail"]
    others = [("GET", "/status/{}"), ("POST", "/retry-task/{}"), ("GET", "/task/{}/status")]
    for method, path in others:
        answer = await api.request(method, path.format(task_id))
        assert (answer.status_code, answer.json()["detail"]) == (404, "Task not found")


async def test_every_route_that_is_read_answers_head(api: httpx.AsyncClient, app: Any) -> None:
    task_id = (await submitted(api))["id"]
    for path, operations in app.openapi()["paths"].items():
        others = ("{name}", "{error_id}", "{group_id}", "events")
        if "get" in operations and not any(part in path for part in others):
            answer = await api.head(path.format(task_id=task_id))
            assert answer.status_code == 200, path


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/tasks", "GET, HEAD, POST"),
        ("GET", "/tasks/x/cancel", "POST"),
        ("POST", "/schedules/x", "DELETE, GET, HEAD, PUT"),
    ],
)
async def test_a_refused_method_is_told_all_that_the_path_takes(
    api: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await api.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
