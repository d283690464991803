"""`GET /activity`: what was done by hand, by whom, and what became of it."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from afterwards.api.cursors import cursor_of
from afterwards.api.schemas.activity import ActivityDocument
from afterwards.errors import RegistryUnavailable
from afterwards.registry.engine.memory import MemoryRegistry
from afterwards.registry.protocol.requests import Activity, Cancel, Note
from afterwards.service.service import TaskService
from tests.api.general.conftest import NOTE, Hand, submitted
from tests.registry.peers import ask

pytestmark = pytest.mark.anyio

LATER = "2126-11-21T10:00:00.000000+00:00"


async def log_of(api: httpx.AsyncClient, query: str = "") -> list[dict[str, Any]]:
    answer = await api.get(f"/activity{query}")
    assert answer.status_code == 200, answer.text
    ActivityDocument.model_validate_json(answer.content)
    entries: list[dict[str, Any]] = answer.json()["entries"]
    return entries


def said(entry: dict[str, Any]) -> tuple[Any, ...]:
    members = ("verb", "object", "name", "count", "outcome")
    return tuple(entry[member] for member in members)


async def test_every_verb_by_hand_is_there_with_the_id_of_its_request(
    api: httpx.AsyncClient, registry: MemoryRegistry
) -> None:
    definition = {**NOTE, "cron": "0 6 1 1 *"}
    one = (await submitted(api, run_at=LATER))["id"]
    path = f"/tasks/{one}"
    calls = [
        ("PATCH", path, {"run_at": LATER}, "change", "task", one),
        ("POST", f"{path}/run", None, "run", "task", one),
        ("POST", f"{path}/cancel", None, "cancel", "task", one),
        ("POST", f"{path}/retry", {"payload": {"body": "secret"}}, "retry", "task", one),
        ("POST", f"{path}/cancel", None, "cancel", "task", one),
        ("POST", f"/retry-task/{one}", None, "retry", "task", one),
        ("POST", f"{path}/cancel", None, "cancel", "task", one),
        ("DELETE", path, None, "delete", "task", one),
        ("POST", "/task-types/note/pause", None, "pause", "task type", "note"),
        ("POST", "/task-types/note/resume", None, "resume", "task type", "note"),
        ("PUT", "/schedules/yearly", definition, "create", "schedule", "yearly"),
        ("PUT", "/schedules/yearly", definition, "replace", "schedule", "yearly"),
        ("POST", "/schedules/yearly/pause", None, "pause", "schedule", "yearly"),
        ("POST", "/schedules/yearly/resume", None, "resume", "schedule", "yearly"),
        ("POST", "/schedules/yearly/run", None, "run", "schedule", "yearly"),
        ("DELETE", "/schedules/yearly", None, "delete", "schedule", "yearly"),
    ]
    for number, (method, where, body, *_) in enumerate(calls):
        headers = {"X-Request-ID": f"request-{number}"}
        answer = await api.request(method, where, json=body, headers=headers)
        assert answer.is_success, answer.text

    entries = await log_of(api)

    assert [said(entry) for entry in entries[::-1]] == [
        (*words, 1, "done") for _, _, _, *words in calls
    ]
    assert [entry["request_id"] for entry in entries[::-1]] == [
        f"request-{number}" for number in range(len(calls))
    ]
    assert {entry["actor"] for entry in entries} == {None}
    assert "secret" not in str(entries)
    # Remembered, and not told to everybody.
    assert "address" not in entries[0]
    assert {entry.address for entry in ask(registry, Activity(100)).entries} == {"127.0.0.1"}


async def test_what_is_refused_is_there_with_the_reason(api: httpx.AsyncClient) -> None:
    one = (await submitted(api))["id"]
    refused = await api.post(f"/tasks/{one}/retry")
    unknown = str(uuid.uuid4())
    await api.post(f"/tasks/{unknown}/cancel")

    last, first = await log_of(api)

    assert said(first) == ("retry", "task", one, 0, "refused")
    assert first["detail"] == refused.json()["detail"]
    assert said(last) == ("cancel", "task", unknown, 0, "refused")


async def test_submissions_and_what_is_only_read_or_counted_are_not_there(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    task_id = (await submitted(api))["id"]
    hand.fail(hand.claim(task_id))
    await api.get("/tasks")
    await api.post("/tasks/retry", json={"dry_run": True})
    await api.post("/tasks/retry", json={"status": "sleeping"})

    assert await log_of(api) == []


async def test_a_verb_for_many_is_one_entry_with_its_filter_and_count(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    await api.post("/tasks/batch", json={"tasks": [NOTE] * 130})
    await api.post("/tasks/cancel", json={"type": "note", "status": ["pending"], "limit": 120})
    ids = [task["id"] for task in (await api.get("/tasks?status=cancelled")).json()["tasks"]]
    changed = {"payload": {"body": "secret"}, "new_type": "note"}
    await api.post("/tasks/retry", json={"ids": [*ids[:11], str(uuid.uuid4())], **changed})
    await api.post("/tasks/delete", json={"created_after": "2026-01-01T00:00:00Z"})
    await api.post("/tasks/run", json={})

    run, deleted, retried, cancelled = await log_of(api)

    assert said(cancelled) == ("cancel", "tasks", "status=pending&type=note", 120, "done")
    shown = f"{', '.join(ids[:10])} and 2 more"
    assert said(retried) == ("retry", "tasks", shown, 11, "done")
    assert retried["detail"] == "another payload, moved to note; 1 skipped"
    after = "created_after=2026-01-01T00%3A00%3A00.000000%2B00%3A00"
    assert said(deleted) == ("delete", "tasks", after, 109, "done")
    assert said(run) == ("run", "tasks", "all", 0, "done")


async def test_a_verb_for_many_that_is_interrupted_says_how_far_it_has_come(
    api: httpx.AsyncClient, service: TaskService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.post("/tasks/batch", json={"tasks": [NOTE] * 5})
    call, cancels = service._client.call, 0

    async def twice(request: Any) -> Any:
        nonlocal cancels
        cancels += isinstance(request, Cancel)
        if cancels > 2 and isinstance(request, Cancel):
            raise RegistryUnavailable
        return await call(request)

    monkeypatch.setattr(service._client, "call", twice)
    await api.post("/tasks/cancel", json={})

    [entry] = await log_of(api)
    assert said(entry) == ("cancel", "tasks", "all", 2, "failed")
    assert "does not answer" in entry["detail"]


async def test_a_verb_for_many_whose_end_is_not_told_was_begun(
    api: httpx.AsyncClient, service: TaskService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.post("/tasks/batch", json={"tasks": [NOTE] * 5})
    call = service._client.call

    async def no_notes(request: Any) -> Any:
        if isinstance(request, Note):
            raise RegistryUnavailable
        return await call(request)

    monkeypatch.setattr(service._client, "call", no_notes)
    assert (await api.post("/tasks/cancel", json={})).json()["cancelled"] == 5

    [entry] = await log_of(api)
    assert said(entry) == ("cancel", "tasks", "all", 5, "begun")


async def test_pages_lead_to_the_oldest_entry(api: httpx.AsyncClient) -> None:
    for name in ("note", "slow", "nothing"):
        await api.post(f"/task-types/{name}/pause")
    first = await api.get("/activity?limit=2")
    following = first.json()["next"]
    assert first.headers["link"] == f'<?limit=2&cursor={following}>; rel="next"'

    second = await api.get(f"/activity?limit=2&cursor={following}")

    names = [e["name"] for page in (first, second) for e in page.json()["entries"]]
    assert (names, second.json()["next"]) == (["nothing", "slow", "note"], None)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "cursor=x",
        "page=2",
        "limit=1&limit=2",
        "cursor=MQ==",
        f"cursor={cursor_of(str(2**63))}",
    ],
)
async def test_a_query_that_means_nothing_is_refused(api: httpx.AsyncClient, query: str) -> None:
    assert (await api.get(f"/activity?{query}")).status_code == 422
