"""Labels of tasks: what may be sent, where they are shown, and that a key stands for them, too."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from afterwards.task_types import CATALOGUE as BUILT_IN
from afterwards.task_types.description import Catalogue, in_process
from tests.api.general.conftest import CATALOGUE, NOTE, Hand, shown, submitted

pytestmark = pytest.mark.anyio


@pytest.fixture
def catalogue() -> Catalogue:
    return {**CATALOGUE, **in_process(BUILT_IN)}


LABELS = {"tenant": "acme", "plan": "Größe \u2028 1"}


async def test_a_task_shows_its_labels_wherever_it_is_shown(api: httpx.AsyncClient) -> None:
    labelled, plain = await submitted(api, labels=LABELS), await submitted(api)
    batch = await api.post("/tasks/batch", json={"tasks": [{**NOTE, "labels": {"a": "b"}}, NOTE]})

    assert labelled["labels"] == LABELS
    assert plain["labels"] == {}
    assert [task["labels"] for task in batch.json()["tasks"]] == [{"a": "b"}, {}]
    assert (await shown(api, labelled["id"]))["labels"] == LABELS
    listed = (await api.get("/tasks")).json()["tasks"]
    assert [task["labels"] for task in listed] == [{}, {"a": "b"}, {}, LABELS]


@pytest.mark.parametrize(
    ("labels", "pointer"),
    [
        ({"tenant": 7}, "#/labels/tenant"),
        ({"tenant": ""}, "#/labels/tenant"),
        ({"tenant": "x" * 65}, "#/labels/tenant"),
        ({"tenant": "two\nlines"}, "#/labels/tenant"),
        ({"a=b": "c"}, "#/labels/a=b"),
        ({f"k{n}": "v" for n in range(9)}, "#/labels"),
        ([], "#/labels"),
    ],
)
async def test_what_is_no_label_is_refused_and_named(
    api: httpx.AsyncClient, labels: Any, pointer: str
) -> None:
    answer = await api.post("/tasks", json={**NOTE, "labels": labels})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith(pointer)


async def test_a_key_stands_for_the_labels_too(api: httpx.AsyncClient) -> None:
    async def sent(labels: dict[str, str]) -> int:
        headers = {"Idempotency-Key": "k"}
        answer = await api.post("/tasks", json={**NOTE, "labels": labels}, headers=headers)
        return answer.status_code

    assert [await sent({"a": "b"}), await sent({"a": "b"}), await sent({"a": "c"})] == [
        202,
        202,
        422,
    ]


async def test_a_retry_keeps_the_labels(api: httpx.AsyncClient, hand: Hand) -> None:
    task_id = (await submitted(api, labels=LABELS))["id"]
    hand.fail(hand.claim(task_id))

    assert (await api.post(f"/tasks/{task_id}/retry")).json()["labels"] == LABELS


async def test_a_task_that_waits_after_a_failure_is_retrying(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    task_id = (await submitted(api, labels=LABELS))["id"]
    states = [(await shown(api, task_id))["retrying"]]
    hand.fail(hand.claim(task_id), retry_in=60.0)
    states.append((await shown(api, task_id))["retrying"])
    await api.post(f"/tasks/{task_id}/cancel")
    states.append((await shown(api, task_id))["retrying"])

    assert states == [False, True, False]


async def test_the_tasks_of_a_schedule_have_its_labels(api: httpx.AsyncClient) -> None:
    schedule = {**NOTE, "every_seconds": 60, "labels": LABELS}

    made = await api.put("/schedules/labelled", json=schedule)

    assert made.json()["labels"] == LABELS
    assert (await api.get("/schedules/labelled")).json()["labels"] == LABELS


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/notify/", {"email": "a@example.com", "message": "x"}),
        ("/report/", {"name": "x", "details": {}}),
        ("/file/", {"content": {}}),
        ("/send-email", {"email": "a@example.com", "subject": "x", "body": "y"}),
        ("/api/notifications/notify", None),
    ],
)
async def test_the_routes_of_single_types_take_labels_in_a_header(
    api: httpx.AsyncClient, path: str, body: Any
) -> None:
    async def sent(labels: str) -> httpx.Response:
        headers = {"Task-Labels": labels, "Idempotency-Key": "k"}
        return await api.post(path, json=body, headers=headers)

    first, again, other = await sent("a=b, c=d"), await sent("c=d, a=b"), await sent("a=c")
    wrong = await sent("a=b, tenant")

    task_id = first.headers["location"].rpartition("/")[2]
    assert again.headers["location"].endswith(task_id)
    assert (await shown(api, task_id))["labels"] == {"a": "b", "c": "d"}
    assert (other.status_code, wrong.status_code) == (422, 422)
    assert "'tenant' is no pair" in wrong.json()["detail"]
