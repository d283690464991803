"""`POST /tasks/batch`: many tasks, all or none."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from afterwards.api.schemas.tasks import TaskList
from tests.api.general.conftest import MAX_PENDING, NOTE, Hand

pytestmark = pytest.mark.anyio


def notes(count: int) -> list[Any]:
    return [{"type": "note", "payload": {"body": str(number)}} for number in range(count)]


async def stored(api: httpx.AsyncClient) -> int:
    return len((await api.get("/tasks", params={"limit": 500})).json()["tasks"])


async def test_the_tasks_are_answered_in_the_order_they_were_sent(api: httpx.AsyncClient) -> None:
    tasks = [*notes(120), {"type": "nothing", "delay_seconds": 5}]
    answer = await api.post("/tasks/batch", json={"tasks": tasks})
    assert answer.status_code == 202
    TaskList.model_validate_json(answer.content)
    documents = answer.json()["tasks"]
    assert [document["payload"].get("body") for document in documents] == [
        *map(str, range(120)),
        None,
    ]
    assert len({document["id"] for document in documents}) == 121
    assert documents[-1]["status"] == "scheduled"
    assert await stored(api) == 121


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"type": "note", "payload": {}}, "#/tasks/17/payload/body"),
        ({"type": "letter"}, "#/tasks/17/type"),
        ({**NOTE, "priority": 11}, "#/tasks/17/priority"),
        ("x", "#/tasks/17"),
    ],
)
async def test_one_mistake_is_named_and_nothing_is_stored(
    api: httpx.AsyncClient, wrong: Any, pointer: str
) -> None:
    answer = await api.post("/tasks/batch", json={"tasks": [*notes(17), wrong]})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert await stored(api) == 0


@pytest.mark.parametrize("count", [0, 1_001])
async def test_a_batch_has_a_least_and_a_most(api: httpx.AsyncClient, count: int) -> None:
    body = {"tasks": [{"type": "nothing"}] * count}
    answer = await api.post("/tasks/batch", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/tasks"


async def test_a_batch_that_there_is_no_room_for_is_refused_whole(api: httpx.AsyncClient) -> None:
    body = {"tasks": [{"type": "nothing"}] * (MAX_PENDING // 2 - 100)}
    for expected in (202, 202, 503):
        answer = await api.post("/tasks/batch", json=body)
        assert answer.status_code == expected
    assert int(answer.headers["retry-after"]) >= 1
    assert (await api.get("/stats")).json()["submitted"] == MAX_PENDING - 200


async def test_a_repetition_gives_the_first_tasks(api: httpx.AsyncClient, hand: Hand) -> None:
    body, headers = {"tasks": notes(3)}, {"Idempotency-Key": "b"}
    first = await api.post("/tasks/batch", json=body, headers=headers)
    ids = [task["id"] for task in first.json()["tasks"]]
    hand.succeed(hand.claim(ids[1]), b"{}")
    again = await api.post("/tasks/batch", json=body, headers=headers)
    assert again.status_code == 202
    assert again.headers["idempotent-replayed"] == "true"
    assert [task["id"] for task in again.json()["tasks"]] == ids
    assert again.json()["tasks"][1]["status"] == "success"
    other = await api.post("/tasks/batch", json={"tasks": notes(2)}, headers=headers)
    assert other.status_code == 422
    assert await stored(api) == 3
    for task_id in ids[1:]:
        assert (await api.get(f"/tasks/{task_id}")).json()["idempotency_key"] is None
