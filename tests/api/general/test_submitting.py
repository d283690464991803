"""`POST /tasks`: one task of any type."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from afterwards.api.schemas.tasks import TaskDocument
from afterwards.registry.engine.memory import MemoryRegistry
from tests.api.general.conftest import NOTE, Hand, Note, shown, submitted
from tests.registry.peers import get

pytestmark = pytest.mark.anyio


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


@pytest.mark.parametrize("path", ["/tasks", "/tasks/"])
async def test_a_task_is_accepted_with_its_document_and_where_it_is_found(
    api: httpx.AsyncClient, path: str
) -> None:
    answer = await api.post(path, json=NOTE)
    assert answer.status_code == 202
    validated = TaskDocument.model_validate_json(answer.content)
    document = validated.model_dump(mode="json", exclude_unset=True)
    assert answer.url.join(answer.headers["location"]).path == f"/tasks/{document['id']}"
    assert document == answer.json()
    assert {
        name: value
        for name, value in document.items()
        if name not in ("id", "created_at", "run_at")
    } == {
        "type": "note",
        "status": "pending",
        "payload": {"body": "Hello"},
        "result": None,
        "artifacts": [],
        "error": None,
        "started_at": None,
        "finished_at": None,
        "attempts": 0,
        "retries": 0,
        "max_attempts": 3,
        "priority": 4,
        "progress": None,
        "labels": {},
        "retrying": False,
        "parent": None,
        "group": None,
        "concurrency_key": None,
        "unique_key": None,
        "waiting_for": None,
    }


async def test_the_payload_is_stored_as_it_was_sent_and_the_model_can_read_it_again(
    api: httpx.AsyncClient, registry: MemoryRegistry
) -> None:
    body = '{"type":"note", "payload": {"other": 10.50,\n "body": "ž\\u017e"}}'
    answer = await api.post("/tasks", content=body, headers={"Content-Type": "application/json"})
    payload = get(registry, answer.json()["id"]).payload
    assert payload == '{"other":10.5,"body":"žž"}'.encode()
    assert Note.model_validate_json(payload).text == "žž"


async def test_what_a_task_says_of_itself_goes_before_its_type(
    api: httpx.AsyncClient,
) -> None:
    deadline = moment(time.time() + 600)
    task = await submitted(
        api, type="nothing", priority=9, max_attempts=7, timeout_seconds=1.5, deadline=deadline
    )
    document = await shown(api, task["id"])
    assert (document["priority"], document["max_attempts"]) == (9, 7)
    assert document["timeout_seconds"] == 1.5
    assert datetime.fromisoformat(document["deadline"]) == datetime.fromisoformat(deadline)


async def test_a_payload_need_not_be_sent_where_none_is_needed(api: httpx.AsyncClient) -> None:
    answer = await api.post("/tasks", json={"type": "nothing"})
    assert answer.json()["payload"] == {}


@pytest.mark.parametrize(
    ("body", "pointer", "message"),
    [
        ({}, "#/type", "Field required"),
        ([], "#", "dict"),
        ({"type": "letter"}, "#/type", "There is no task type 'letter'; there are note, nothing"),
        ({"type": "note"}, "#/payload/body", "Field required"),
        ({"type": "note", "payload": {"body": 1}}, "#/payload/body", "string"),
        ({**NOTE, "payload": None}, "#/payload", "dictionary"),
        ({**NOTE, "colour": "red"}, "#/colour", "Extra inputs"),
        ({**NOTE, "priority": 10}, "#/priority", "less than or equal to 9"),
        ({**NOTE, "priority": -1}, "#/priority", "greater than"),
        ({**NOTE, "priority": True}, "#/priority", "integer"),
        ({**NOTE, "max_attempts": 0}, "#/max_attempts", "greater than"),
        ({**NOTE, "max_attempts": 101}, "#/max_attempts", "less than"),
        ({**NOTE, "max_attempts": "3"}, "#/max_attempts", "integer"),
        ({**NOTE, "timeout_seconds": 0}, "#/timeout_seconds", "greater than 0"),
        ({**NOTE, "timeout_seconds": 604_801}, "#/timeout_seconds", "less than"),
        ({**NOTE, "delay_seconds": -1}, "#/delay_seconds", "greater than"),
        ({**NOTE, "delay_seconds": 4e8}, "#/delay_seconds", "less than"),
        ({**NOTE, "delay_seconds": 1, "run_at": "2030-01-01T00:00:00Z"}, "#", "not both"),
        ({**NOTE, "run_at": "2030-01-01T00:00:00"}, "#/run_at", "offset"),
        ({**NOTE, "run_at": "2030-02-30T00:00:00Z"}, "#/run_at", "no time"),
        ({**NOTE, "run_at": 1_900_000_000}, "#/run_at", "a time like"),
        ({**NOTE, "deadline": "tomorrow"}, "#/deadline", "a time like"),
    ],
)
async def test_a_mistake_is_named_where_it_is(
    api: httpx.AsyncClient, body: Any, pointer: str, message: str
) -> None:
    answer = await api.post("/tasks", json=body)
    assert answer.status_code == 422, answer.text
    [error] = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert message in error["message"]
    assert (await api.get("/tasks")).json()["tasks"] == []


async def test_a_number_that_is_infinite_is_refused(api: httpx.AsyncClient) -> None:
    body = '{"type": "nothing", "payload": {"a": [1e999]}}'
    answer = await api.post("/tasks", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/payload"


# -- later -------------------------------------------------------------------------------------


async def test_a_delay_is_waited_for_whatever_the_wall_clock_does(
    api: httpx.AsyncClient, registry: MemoryRegistry
) -> None:
    document = await submitted(api, delay_seconds=60)
    assert document["status"] == "scheduled"
    created, due = (datetime.fromisoformat(document[name]) for name in ("created_at", "run_at"))
    assert due - created == timedelta(seconds=60)
    assert get(registry, document["id"]).delay_seconds == 60


@pytest.mark.parametrize("zone", ["Z", "+00:00", "-05:30"])
async def test_a_time_is_waited_for(
    api: httpx.AsyncClient, registry: MemoryRegistry, zone: str
) -> None:
    document = await submitted(api, run_at=f"2190-01-01T12:00:00.25{zone}")
    assert document["status"] == "scheduled"
    hours = "17:30" if "30" in zone else "12:00"
    assert document["run_at"] == f"2190-01-01T{hours}:00.250000+00:00"
    assert get(registry, document["id"]).delay_seconds is None


@pytest.mark.parametrize("members", [{"run_at": "1870-01-01T00:00:00Z"}, {"delay_seconds": 0}])
async def test_a_time_that_is_past_is_now(api: httpx.AsyncClient, members: Any) -> None:
    document = await submitted(api, **members)
    assert document["status"] == "pending"
    assert document["run_at"] == document["created_at"]


async def test_times_at_the_end_of_the_calendar_are_taken_and_shown(
    api: httpx.AsyncClient,
) -> None:
    last = "9999-12-31T23:59:59-12:00"
    document = await submitted(api, run_at=last, deadline=last)
    assert document["run_at"].startswith("9999-12-31T")
    assert (await shown(api, document["id"]))["deadline"].startswith("9999-12-31T")


# -- waiting -----------------------------------------------------------------------------------


async def waiting(api: httpx.AsyncClient, hand: Hand, **request: Any) -> httpx.Response:
    """The answer to a submission whose task succeeds while it is waited for."""
    asked = asyncio.create_task(api.post("/tasks", json=NOTE, **request))
    while not hand.table:
        await asyncio.sleep(0.001)
        hand.beat()
    [claim] = hand.table.values()
    hand.succeed(claim, b'{"written":1}')
    return await asyncio.wait_for(asked, 10)


async def test_who_waits_is_answered_as_soon_as_the_task_is_finished(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    answer = await waiting(api, hand, params={"wait": "60"})
    assert answer.status_code == 200
    document = answer.json()
    assert (document["status"], document["result"]) == ("success", {"written": 1})
    assert answer.url.join(answer.headers["location"]).path == f"/tasks/{document['id']}"
    assert "preference-applied" not in answer.headers


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        (["wait=20"], "wait=20"),
        (["respond-async, WAIT = 20; foo=bar"], "wait=20"),
        (["return=minimal", 'wait="100"'], "wait=60"),
        (["wait=" + "9" * 5_000], "wait=60"),
        (["wait=5, wait=6"], "wait=5"),
    ],
)
async def test_a_preference_is_a_wish_to_wait_and_the_answer_says_how_long(
    api: httpx.AsyncClient, hand: Hand, prefer: list[str], applied: str
) -> None:
    answer = await waiting(api, hand, headers=[("Prefer", line) for line in prefer])
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == applied


@pytest.mark.parametrize(
    "prefer", ["wait", "wait=", "wait=-1", "wait=1.5", "wait=soon", "🙃", ",;="]
)
async def test_a_preference_without_sense_is_passed_over(
    api: httpx.AsyncClient, prefer: str
) -> None:
    answer = await api.post("/tasks", json=NOTE, headers=[(b"prefer", prefer.encode())])
    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers


async def test_the_query_goes_before_the_preference(api: httpx.AsyncClient) -> None:
    answer = await api.post("/tasks?wait=0", json=NOTE, headers={"Prefer": "wait=60"})
    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers


@pytest.mark.parametrize("query", ["wait=", "wait=-1", "wait=1.5", "wait=soon", "wait=1&wait=2"])
async def test_a_query_without_sense_is_refused(api: httpx.AsyncClient, query: str) -> None:
    answer = await api.post(f"/tasks?{query}", json=NOTE)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["location"] == "query"
    assert answer.json()["errors"][0]["pointer"] == "#/wait"


async def test_when_the_time_is_up_the_task_is_accepted(api: httpx.AsyncClient) -> None:
    answer = await api.post("/tasks", params={"wait": 1}, json=NOTE)
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")


# -- the same again ----------------------------------------------------------------------------


async def test_a_repetition_gives_the_first_task_as_it_stands(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    headers = {"Idempotency-Key": '"k"'}
    first = await api.post("/tasks", json={**NOTE, "priority": 5}, headers=headers)
    hand.succeed(hand.claim(first.json()["id"]), b"{}")
    body = '{ "priority":5,"payload":{"body":"Hello"}, "type":"note"}'
    again = await api.post(
        "/tasks", content=body, headers={**headers, "Content-Type": "application/json"}
    )
    waited = await api.post("/tasks?wait=60", json={**NOTE, "priority": 5}, headers=headers)
    assert "idempotent-replayed" not in first.headers
    for answer, status in ((again, 202), (waited, 200)):
        assert answer.status_code == status
        assert answer.headers["idempotent-replayed"] == "true"
        assert answer.headers["location"] == first.headers["location"]
        assert answer.json()["status"] == "success"
    assert (await shown(api, first.json()["id"]))["idempotency_key"] == "k"


@pytest.mark.parametrize(
    "other", [{**NOTE, "priority": 5}, {**NOTE, "type": "nothing"}, {"type": "nothing"}]
)
async def test_a_key_with_another_body_is_refused(api: httpx.AsyncClient, other: Any) -> None:
    headers = {"Idempotency-Key": "k"}
    await api.post("/tasks", json=NOTE, headers=headers)
    answer = await api.post("/tasks", json=other, headers=headers)
    assert answer.status_code == 422
    assert "new key" in answer.json()["detail"]
