"""`GET /tasks`: lists, their filters and their pages."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import chain
from typing import Any

import httpx
import pytest

from afterwards.api.schemas.tasks import TaskPage
from tests.api.general.conftest import Hand, submitted

pytestmark = pytest.mark.anyio


async def listed(api: httpx.AsyncClient, **query: Any) -> list[str]:
    answer = await api.get("/tasks", params=query)
    assert answer.status_code == 200, answer.text
    TaskPage.model_validate_json(answer.content)
    return [task["id"] for task in answer.json()["tasks"]]


def following(answer: httpx.Response) -> str:
    """The next page's URL: a reference is relative to the request's (RFC 8288, 3.1)."""
    return str(answer.url.join(answer.links["next"]["url"]))


async def walk(api: httpx.AsyncClient, path: str) -> list[list[str]]:
    """The pages from a link on."""
    pages = []
    while path:
        answer = await api.get(path)
        pages.append([task["id"] for task in answer.json()["tasks"]])
        assert ("link" in answer.headers) == (answer.json()["next"] is not None)
        path = following(answer) if "link" in answer.headers else ""
    return pages


async def test_tasks_are_listed_newest_first_and_not_to_be_cached(
    api: httpx.AsyncClient,
) -> None:
    ids = [(await submitted(api))["id"] for _ in range(3)]
    assert await listed(api) == ids[::-1]
    answer = await api.get("/tasks/")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["next"] is None
    assert answer.json()["tasks"][0] == (await submitted_document(api, ids[-1]))


async def submitted_document(api: httpx.AsyncClient, task_id: str) -> Any:
    """What lists show of a task."""
    full = (await api.get(f"/tasks/{task_id}")).json()
    own = ("executor", "timeout_seconds", "deadline", "idempotency_key", "schedule")
    return {
        name: value
        for name, value in full.items()
        if name not in (*own, "cancel_requested", "history")
    }


async def test_a_list_is_of_one_state_or_one_type_or_both(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    done = (await submitted(api))["id"]
    hand.succeed(hand.claim(done), b"{}")
    hand.slots = {"async": 0}
    hand.beat()
    note, nothing = (await submitted(api))["id"], (await submitted(api, type="nothing"))["id"]
    assert await listed(api, status="success") == [done]
    assert await listed(api, type="note") == [note, done]
    assert await listed(api, type="nothing", status="pending") == [nothing]
    assert await listed(api, type="nothing", status="failed") == []
    assert await listed(api, type="of-an-earlier-deployment") == []


async def test_times_cut_as_they_are_shown_and_the_earlier_bound_belongs_to_it(
    api: httpx.AsyncClient,
) -> None:
    tasks = [await submitted(api) for _ in range(5)]
    for index, task in enumerate(tasks):
        at = task["created_at"]
        earlier = [one["id"] for one in tasks[:index] if one["created_at"] < at]
        later = [one["id"] for one in tasks if one["created_at"] >= at]
        assert await listed(api, created_before=at) == earlier[::-1]
        assert await listed(api, created_after=at) == later[::-1]
    # As somebody types it: the plus sign means a space.
    answer = await api.get(f"/tasks?created_after={tasks[0]['created_at']}")
    assert len(answer.json()["tasks"]) == 5
    past = datetime.fromisoformat(tasks[0]["created_at"]) - timedelta(hours=1)
    assert await listed(api, created_before=past.isoformat()) == []


async def test_pages_give_each_task_once_while_others_are_added(api: httpx.AsyncClient) -> None:
    ids = [(await submitted(api))["id"] for _ in range(7)]
    answer = await api.get("/tasks?limit=3&type=note")
    first = [task["id"] for task in answer.json()["tasks"]]
    for _ in range(4):
        await submitted(api)
    rest = await walk(api, following(answer))
    assert [len(page) for page in rest] == [3, 1]
    assert first + list(chain(*rest)) == ids[::-1]


async def test_the_next_page_has_the_same_filters(api: httpx.AsyncClient) -> None:
    for _ in range(4):
        await submitted(api)
        await submitted(api, type="nothing")
    query = "limit=2&type=note&status=pending&created_after=2020-01-01T00:00:00%2B01:00"
    pages = await walk(api, f"/tasks?{query}")
    assert [len(page) for page in pages] == [2, 2]
    assert set(chain(*pages)) == set(await listed(api, type="note"))


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("status=done", "#/status"),
        ("limit=0", "#/limit"),
        ("limit=501", "#/limit"),
        ("limit=x", "#/limit"),
        ("created_after=2026-01-01", "#/created_after"),
        ("created_before=2026-01-01T00:00:00", "#/created_before"),
        ("cursor=", "#/cursor"),
        ("cursor=MQ==", "#/cursor"),
        ("cursor=%00", "#/cursor"),
        ("cursor=" + "9" * 5_000, "#/cursor"),
        ("state=failed", "#/state"),
    ],
)
async def test_a_mistake_in_the_query_is_named(
    api: httpx.AsyncClient, query: str, pointer: str
) -> None:
    answer = await api.get(f"/tasks?{query}")
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert (error["location"], error["pointer"]) == ("query", pointer)


async def test_a_filter_that_is_there_twice_is_refused(api: httpx.AsyncClient) -> None:
    answer = await api.get("/tasks?status=failed&status=success")
    assert answer.status_code == 422
    assert answer.json()["detail"] == "#/status: may be given once"
