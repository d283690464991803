"""`GET /tasks`: lists, their filters and their pages."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import chain
from typing import Any

import httpx
import pytest

from afterwards.api.cursors import cursor_of
from afterwards.api.schemas.task_lists import TaskCount, TaskPage
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
    """The task's document as lists show it."""
    full = (await api.get(f"/tasks/{task_id}")).json()
    own = ("executor", "timeout_seconds", "deadline", "idempotency_key", "schedule", "trace_id")
    return {
        name: value
        for name, value in full.items()
        if name not in (*own, "trace_link", "cancel_requested", "history", "children", "follows")
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
        ("status=done", "#/status/0"),
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
    answer = await api.get("/tasks?limit=5&limit=6")
    assert answer.status_code == 422
    assert answer.json()["detail"] == "#/limit: may be given once"


# -- filters, searches, orders ------------------------------------------------------------------


async def test_conditions_of_one_name_are_alternatives_and_labels_all_hold(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    hand.slots = {"async": 0}
    hand.beat()
    first = (await submitted(api, labels={"tenant": "acme", "plan": "pro"}))["id"]
    second = (await submitted(api, type="nothing", labels={"tenant": "acme"}))["id"]
    third = (await submitted(api, type="slow", delay_seconds=60))["id"]
    assert await listed(api, type=["note", "slow"]) == [third, first]
    assert await listed(api, status=["pending", "scheduled"]) == [third, second, first]
    assert await listed(api, label="tenant") == [second, first]
    assert await listed(api, label=["tenant=acme", "plan"]) == [first]
    assert await listed(api, label="tenant", type="nothing", status="pending") == [second]
    for query, number in ((("label", "tenant"), 2), (("status", "failed"), 0)):
        counted = await api.get("/tasks/count", params=[query])
        assert TaskCount.model_validate_json(counted.content).exact
        assert counted.json() == {"count": number, "exact": True}


async def test_tasks_that_retry_are_listed_as_a_state(api: httpx.AsyncClient, hand: Hand) -> None:
    task_id = (await submitted(api))["id"]
    later = (await submitted(api, delay_seconds=60))["id"]
    hand.fail(hand.claim(task_id), retry_in=60.0)
    assert await listed(api, status="retrying") == [task_id]
    assert await listed(api, status=["retrying", "failed"]) == [task_id]
    assert await listed(api, status="scheduled") == [later, task_id]


async def test_a_search_tells_how_far_it_came_and_its_next_page_is_the_same(
    api: httpx.AsyncClient,
) -> None:
    ids = [
        (await submitted(api, payload={"body": f"Größe {n}", "n": {"m": n % 2}}))["id"]
        for n in range(5)
    ]
    # Without regard to the case of ASCII letters, and of no others.
    assert await listed(api, q="größE 3") == [ids[3]]
    assert await listed(api, q="GRÖßE 3") == []
    answer = await api.get("/tasks", params={"q": "payload.n.m=0", "limit": 2})
    scan = answer.json()["scan"]
    assert (scan["examined"] >= 2, scan["complete"]) == (True, False)
    pages = [[task["id"] for task in answer.json()["tasks"]], *await walk(api, following(answer))]
    assert list(chain(*pages)) == [ids[4], ids[2], ids[0]]
    assert await listed(api, q="Größe 3") == [ids[3]]
    assert await listed(api, q=ids[1][:8]) == [ids[1]]
    whole = (await api.get("/tasks", params={"q": "nowhere"})).json()
    assert whole == {
        "tasks": [],
        "next": None,
        "scan": {"examined": 5, "reached": whole["scan"]["reached"], "complete": True},
    }


async def test_a_list_has_the_order_that_was_asked_for_on_each_of_its_pages(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    ids = [(await submitted(api, delay_seconds=delay))["id"] for delay in (300, 100, 200)]
    done = [(await submitted(api))["id"] for _ in range(3)]
    claims = [hand.claim(task_id) for task_id in done]
    for claim in (claims[1], claims[2], claims[0]):
        hand.succeed(claim)
    ended = [done[0], done[2], done[1]]
    soonest = [ids[1], ids[2], ids[0]]
    for order, expected in (("due", soonest), ("finished", ended)):
        answer = await api.get("/tasks", params={"order": order, "limit": 1})
        pages = [[answer.json()["tasks"][0]["id"]], *await walk(api, following(answer))]
        assert list(chain(*pages)) == expected
    other = await api.get("/tasks", params={"order": "due", "cursor": answer.json()["next"]})
    assert other.status_code == 422


async def test_a_summary_has_a_digest_in_the_place_of_payload_and_result(
    api: httpx.AsyncClient,
) -> None:
    await submitted(api, payload={"body": "é" * 200})
    answer = await api.get("/tasks?summary=true")
    TaskPage.model_validate_json(answer.content)
    [task] = answer.json()["tasks"]
    assert task["digest"] == f'{{"body":"{"é" * 110}…'
    assert not {"payload", "result"} & task.keys()
    assert (await api.get("/tasks?summary=true&limit=1")).json()["next"] is None


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("status=failed&status=done", "#/status/1"),
        ("label==a", "#/label/0"),
        (f"label={'a' * 65}", "#/label/0"),
        ("&".join(f"label=k{n}" for n in range(9)), "#/label"),
        ("q=", "#/q"),
        (f"q={'a' * 201}", "#/q"),
        ("q=%00", "#/q"),
        ("finished_after=today", "#/finished_after"),
        ("order=oldest", "#/order"),
        ("summary=much", "#/summary"),
        ("order=due&cursor=MTI0NQ", "#/cursor"),
        ("order=due&cursor=ZG5hbjox", "#/cursor"),
        (f"cursor={cursor_of(str(2**63))}", "#/cursor"),
        (f"order=finished&cursor={cursor_of(f'f1.0:{2**63}')}", "#/cursor"),
    ],
)
async def test_a_condition_that_means_nothing_is_named(
    api: httpx.AsyncClient, query: str, pointer: str
) -> None:
    for path in ("/tasks", "/tasks/count"):
        answer = await api.get(f"{path}?{query}")
        assert answer.status_code == 422
        if path == "/tasks":
            assert answer.json()["errors"][0]["pointer"] == pointer
