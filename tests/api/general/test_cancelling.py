"""`POST /tasks/{id}/cancel` and `POST /tasks/cancel`."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from afterwards.api.schemas.bulk import BulkCancel
from afterwards.api.schemas.tasks import Cancellation
from afterwards.service import service as service_module
from afterwards.service.service import TaskService
from tests.api.general.conftest import Hand, shown, submitted

pytestmark = pytest.mark.anyio


async def cancelled(api: httpx.AsyncClient, task_id: str) -> Any:
    answer = await api.post(f"/tasks/{task_id}/cancel")
    assert answer.status_code == 200, answer.text
    Cancellation.model_validate_json(answer.content)
    return answer.json()


@pytest.mark.parametrize("members", [{}, {"delay_seconds": 60}])
async def test_a_task_that_waits_is_prevented(api: httpx.AsyncClient, members: Any) -> None:
    task_id = (await submitted(api, **members))["id"]
    answer = await cancelled(api, task_id)
    assert (answer["outcome"], answer["task"]["status"]) == ("prevented", "cancelled")
    again = await cancelled(api, task_id)
    assert (again["outcome"], again["task"]["status"]) == ("finished", "cancelled")


async def told(hand: Hand) -> None:
    """As soon as the worker has been told of a cancellation."""
    while not hand.told:
        await asyncio.sleep(0.001)
        hand.beat()


async def test_a_task_that_runs_is_stopped(api: httpx.AsyncClient, hand: Hand) -> None:
    task_id = (await submitted(api))["id"]
    claim = hand.claim(task_id)
    asked = asyncio.create_task(cancelled(api, task_id))
    await told(hand)
    assert (await shown(api, task_id))["cancel_requested"] is True
    hand.stop(claim)
    answer = await asyncio.wait_for(asked, 10)
    assert (answer["outcome"], answer["task"]["status"]) == ("stopped", "cancelled")


async def test_a_task_may_finish_first(api: httpx.AsyncClient, hand: Hand) -> None:
    task_id = (await submitted(api))["id"]
    claim = hand.claim(task_id)
    asked = asyncio.create_task(cancelled(api, task_id))
    await told(hand)
    hand.succeed(claim, b"{}")
    answer = await asyncio.wait_for(asked, 10)
    assert (answer["outcome"], answer["task"]["status"]) == ("finished", "success")


async def test_a_worker_that_does_not_answer_was_asked(
    api: httpx.AsyncClient, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "CANCEL_SECONDS", 0.05)
    task_id = (await submitted(api))["id"]
    hand.claim(task_id)
    answer = await cancelled(api, task_id)
    assert (answer["outcome"], answer["task"]["status"]) == ("requested", "processing")


async def test_what_runs_in_a_thread_is_asked_and_not_waited_for(
    api: httpx.AsyncClient,
    hand: Hand,
    service: TaskService,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service._dispatcher, "unstoppable", lambda: frozenset({"thread"}))
    task_id = (await submitted(api, type="slow", payload={}))["id"]
    hand.claim(task_id)
    answer = await cancelled(api, task_id)
    assert (answer["outcome"], answer["task"]["status"]) == ("unstoppable", "processing")


# -- many --------------------------------------------------------------------------------------


async def bulk(api: httpx.AsyncClient, **selection: Any) -> Any:
    answer = await api.post("/tasks/cancel", json=selection)
    assert answer.status_code == 200, answer.text
    BulkCancel.model_validate_json(answer.content)
    return answer.json()


async def batch(api: httpx.AsyncClient, count: int, **members: Any) -> list[str]:
    body = {"tasks": [{"type": "nothing", **members}] * count}
    answer = await api.post("/tasks/batch", json=body)
    return [task["id"] for task in answer.json()["tasks"]]


async def test_all_that_is_unfinished_is_cancelled_and_what_runs_is_asked(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    running = [(await submitted(api))["id"] for _ in range(2)]
    for task_id in running:
        hand.claim(task_id)
    hand.slots = {"async": 2}
    hand.beat()
    await batch(api, 230)
    await batch(api, 20, delay_seconds=60)
    assert await bulk(api) == {
        "dry_run": False,
        "matched": 252,
        "cancelled": 250,
        "requested": 2,
        "skipped": 0,
        "more": False,
        "interrupted": None,
    }
    assert (await api.get("/stats")).json()["tasks"]["cancelled"] == 250
    assert len(hand.beat().cancels) + len(hand.told) >= 2


async def test_a_selection_is_of_states_types_and_times(api: httpx.AsyncClient) -> None:
    early = await submitted(api, type="nothing")
    [late] = await batch(api, 1, delay_seconds=60)
    note = await submitted(api)
    selection = {"type": "nothing", "created_before": note["created_at"]}
    assert (await bulk(api, **selection, status=["scheduled"]))["cancelled"] == 1
    assert (await shown(api, late))["status"] == "cancelled"
    after = {"type": "nothing", "created_after": note["created_at"]}
    assert (await bulk(api, **after))["matched"] == 0
    assert (await bulk(api, **selection))["cancelled"] == 1
    assert (await shown(api, early["id"]))["status"] == "cancelled"
    assert (await shown(api, note["id"]))["status"] == "pending"


async def test_a_dry_run_counts_all_and_changes_nothing(api: httpx.AsyncClient) -> None:
    await batch(api, 12)
    answer = await bulk(api, dry_run=True, limit=10)
    assert (answer["matched"], answer["cancelled"], answer["more"]) == (12, 0, True)
    assert (await api.get("/stats")).json()["tasks"]["pending"] == 12


@pytest.mark.parametrize(("limit", "more"), [(149, True), (150, False), (151, False)])
async def test_a_limit_is_kept_and_says_whether_there_is_more(
    api: httpx.AsyncClient, limit: int, more: bool
) -> None:
    ids = await batch(api, 150)
    answer = await bulk(api, limit=limit)
    assert (answer["cancelled"], answer["more"]) == (min(limit, 150), more)
    oldest = await shown(api, ids[0])
    assert oldest["status"] == ("pending" if more else "cancelled")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"status": ["failed"]}, "#/status/0"),
        ({"status": []}, "#/status"),
        ({"limit": 10_001}, "#/limit"),
        ({"limit": 0}, "#/limit"),
        ({"dry_run": "yes"}, "#/dry_run"),
        ({"state": "pending"}, "#/state"),
        ({"created_before": "2030-01-01"}, "#/created_before"),
        ("", "#"),
    ],
)
async def test_a_mistake_is_named_and_nothing_cancelled(
    api: httpx.AsyncClient, body: Any, pointer: str
) -> None:
    task_id = (await submitted(api))["id"]
    answer = await api.post("/tasks/cancel", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert (await shown(api, task_id))["status"] == "pending"


async def test_nothing_is_no_selection(api: httpx.AsyncClient) -> None:
    answer = await api.post("/tasks/cancel")
    assert answer.status_code == 422
    assert "JSON object is required" in answer.json()["detail"]


@pytest.mark.parametrize("verb", ["cancel", "retry"])
async def test_a_filter_in_the_query_is_refused_and_changes_nothing(
    api: httpx.AsyncClient, verb: str
) -> None:
    task_id = (await submitted(api, delay_seconds=60))["id"]
    answer = await api.post(f"/tasks/{verb}?type=other&dry_run=true", json={})
    assert answer.status_code == 422
    assert answer.json()["detail"] == "#/type: belongs in the body; this path takes no query"
    assert (await shown(api, task_id))["status"] == "scheduled"
