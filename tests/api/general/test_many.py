"""Bulk verbs: `POST /tasks/run`, `POST /tasks/delete`, and tasks named by their ids."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from afterwards.access.principal import Principal
from afterwards.access.roles import Role
from afterwards.api.schemas.bulk import BulkCancel, BulkDelete, BulkRetry, BulkRun
from afterwards.api.schemas.requests import MAX_BATCH_TASKS
from afterwards.errors import Draining, RegistryUnavailable
from afterwards.lifecycle import TaskState
from afterwards.registry.journal.batch import MOST_TASKS
from afterwards.registry.protocol.requests import Delete, Find
from afterwards.service.bulk import NAMED_AT_ONCE, Selection
from afterwards.service.service import TaskService
from tests.access.holders import holder
from tests.api.general.conftest import NOTE, Hand, shown, submitted

pytestmark = pytest.mark.anyio

ANSWERS: dict[str, type[BaseModel]] = {
    "cancel": BulkCancel,
    "retry": BulkRetry,
    "run": BulkRun,
    "delete": BulkDelete,
}
VERBS = tuple(ANSWERS)


async def bulk(api: httpx.AsyncClient, verb: str, **selection: Any) -> Any:
    answer = await api.post(f"/tasks/{verb}", json=selection)
    assert answer.status_code == 200, answer.text
    ANSWERS[verb].model_validate_json(answer.content)
    return answer.json()


async def many(api: httpx.AsyncClient, size: int, **members: Any) -> list[str]:
    tasks = [{**NOTE, **members} for _ in range(size)]
    answer = await api.post("/tasks/batch", json={"tasks": tasks})
    assert answer.status_code == 202, answer.text
    return [task["id"] for task in answer.json()["tasks"]]


async def statuses(api: httpx.AsyncClient) -> dict[str, int]:
    found = (await api.get("/stats")).json()["tasks"]
    return {state: number for state, number in found.items() if number}


async def test_all_that_is_scheduled_and_matches_is_due_now(api: httpx.AsyncClient) -> None:
    await many(api, 120, delay_seconds=3600)
    await many(api, 2, delay_seconds=3600, type="nothing")
    assert await bulk(api, "run", type="note", dry_run=True) == {
        "dry_run": True,
        "matched": 120,
        "run": 0,
        "skipped": 0,
        "more": False,
        "interrupted": None,
    }
    answer = await bulk(api, "run", type="note", limit=110)
    assert (answer["run"], answer["more"]) == (110, True)
    assert (await bulk(api, "run", type="note", status="scheduled"))["run"] == 10
    assert await statuses(api) == {"pending": 120, "scheduled": 2}


async def test_all_that_is_finished_and_matches_is_deleted(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    await many(api, 230)
    done = (await submitted(api, type="nothing"))["id"]
    hand.slots = {"async": 231, "thread": 0}
    hand.succeed(hand.claim(done), b"{}")
    await bulk(api, "cancel", status=["pending", "processing"])
    for claim in list(hand.table.values()):
        hand.stop(claim)
    assert await statuses(api) == {"success": 1, "cancelled": 230}

    assert (await bulk(api, "delete", status=["cancelled"], dry_run=True))["matched"] == 230
    answer = await bulk(api, "delete", status="cancelled")
    assert (answer["deleted"], answer["skipped"], answer["more"]) == (230, 0, False)

    assert await statuses(api) == {"success": 1}
    assert (await api.get("/tasks")).json()["tasks"][0]["id"] == done


async def test_a_whole_batch_with_a_key_is_deleted_in_one_call(api: httpx.AsyncClient) -> None:
    tasks = {"tasks": [NOTE] * 5}
    await api.post("/tasks/batch", json=tasks, headers={"Idempotency-Key": '"b"'})
    await bulk(api, "cancel")

    answer = await bulk(api, "delete", type="note")

    assert (answer["deleted"], answer["skipped"]) == (5, 0)
    assert await statuses(api) == {}


async def test_deleting_everything_has_to_be_said(api: httpx.AsyncClient) -> None:
    for body in ({}, {"dry_run": True}, {"limit": 5}, {"q": None}, {"error": None}):
        answer = await api.post("/tasks/delete", json=body)
        assert answer.status_code == 422
        assert answer.json()["detail"] == ("#: say which tasks: send ids or a member of the filter")


@pytest.mark.parametrize("verb", ["cancel", "run", "retry"])
@pytest.mark.parametrize("member", ["q", "error", "created_after"])
async def test_a_condition_that_is_null_does_not_stand_for_all_tasks(
    api: httpx.AsyncClient, hand: Hand, verb: str, member: str
) -> None:
    before = await some_tasks(api, hand)
    answer = await api.post(f"/tasks/{verb}", json={member: None})
    assert answer.status_code == 422
    said = f"#: {member} is null: send a value, or leave it out for all tasks"
    assert answer.json()["detail"] == said
    assert await stands(api) == before
    # Beside a condition it says nothing.
    await bulk(api, verb, **{member: None}, type="slow")
    assert await stands(api) != before


@pytest.mark.parametrize(
    ("verb", "changed"), [("cancel", "cancelled"), ("run", "pending")], ids=["cancel", "run"]
)
async def test_verbs_are_for_what_waits_for_a_further_attempt_alone_and_with_others(
    api: httpx.AsyncClient, hand: Hand, verb: str, changed: str
) -> None:
    later = (await submitted(api, delay_seconds=3600))["id"]
    retrying = [(await submitted(api))["id"] for _ in range(2)]
    for task_id in retrying:
        hand.fail(hand.claim(task_id), retry_in=3600.0)

    assert (await bulk(api, verb, status="retrying", dry_run=True))["matched"] == 2
    both = ["scheduled", "retrying"]
    assert (await bulk(api, verb, status=both, dry_run=True))["matched"] == 3
    assert (await bulk(api, verb, status="retrying"))["skipped"] == 0
    stood = await stands(api)
    assert stood.pop(later) == "scheduled"
    assert stood == dict.fromkeys(retrying, changed)


@pytest.mark.parametrize(
    ("verb", "done"),
    [("cancel", "cancelled"), ("run", "run"), ("retry", "retried"), ("delete", "deleted")],
)
async def test_tasks_are_named_by_their_ids(
    api: httpx.AsyncClient, hand: Hand, verb: str, done: str
) -> None:
    ids = await many(api, 2 * NAMED_AT_ONCE + 5, delay_seconds=3600)
    chosen = ids[: NAMED_AT_ONCE + 2]
    if verb in ("retry", "delete"):
        await bulk(api, "cancel", ids=chosen)
    other = await submitted(api)
    named = [*chosen, chosen[0].upper(), other["id"], str(uuid.uuid4()), "no-uuid"]

    counted = await bulk(api, verb, ids=named, dry_run=True)
    answer = await bulk(api, verb, ids=named)

    pending = verb == "cancel"
    number = len(chosen) + pending
    assert counted["matched"] == number
    assert (answer[done], answer["skipped"]) == (number, 3 - pending)
    left = {"cancel": "cancelled", "run": "pending", "retry": "pending", "delete": "gone"}[verb]
    for task_id in chosen:
        found = await api.get(f"/tasks/{task_id}")
        assert (found.json()["status"] if found.is_success else "gone") == left
    assert (await shown(api, ids[-1]))["status"] == "scheduled"


CONDITIONS: dict[str, dict[str, Any]] = {
    "a label's key": {"label": "tenant"},
    "two labels": {"label": ["tenant=acme", "plan"]},
    "a text": {"q": "sales"},
    "a member of the payload": {"q": "payload.n=7"},
    "a type": {"type": "note"},
    "several types": {"type": ["note", "slow"]},
    "an error": {"error": ...},
    "a time of the end": {"finished_after": ...},
    "another time of the end": {"finished_before": ...},
}
"""Conditions of a verb and of a list. Those without a value get it from the tasks there are."""
STATES = {
    "cancel": ["scheduled", "pending", "processing"],
    "retry": ["failed"],
    "run": ["scheduled"],
    "delete": ["success", "failed", "cancelled"],
}


async def some_tasks(api: httpx.AsyncClient, hand: Hand) -> dict[str, str]:
    """The tasks to choose from, scheduled and failed, each with its state."""
    acme, other = {"tenant": "acme", "plan": "pro"}, {"tenant": "acme"}
    for delay in (3600, 0):
        for members in (
            {"labels": acme},
            {"labels": other, "type": "nothing", "payload": {"n": 7, "text": "Sales"}},
            {"type": "nothing", "payload": {"n": 8}},
            {"type": "slow", "payload": {}},
        ):
            task = await submitted(api, delay_seconds=delay, **members)
            if not delay:
                hand.fail(hand.claim(task["id"]))
    return await stands(api)


async def stands(api: httpx.AsyncClient) -> dict[str, str]:
    return {task["id"]: task["status"] for task in (await api.get("/tasks")).json()["tasks"]}


async def with_values(api: httpx.AsyncClient, conditions: dict[str, Any]) -> dict[str, Any]:
    failed = (await api.get("/tasks?order=finished")).json()["tasks"]
    values = {
        "error": (await api.get("/errors?type=note")).json()["groups"][0]["id"],
        "finished_after": failed[1]["finished_at"],
        "finished_before": failed[1]["finished_at"],
    }
    return {name: values.get(name, value) for name, value in conditions.items()}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("conditions", CONDITIONS.values(), ids=CONDITIONS)
async def test_a_verb_is_for_the_tasks_that_a_list_with_the_same_conditions_has(
    api: httpx.AsyncClient, hand: Hand, verb: str, conditions: dict[str, Any]
) -> None:
    before = await some_tasks(api, hand)
    wanted = await with_values(api, conditions)
    of_ends = not wanted.keys().isdisjoint(("error", "finished_after", "finished_before"))
    query = {**wanted, "status": STATES[verb]}
    listed = {task["id"] for task in (await api.get("/tasks", params=query)).json()["tasks"]}
    assert len(listed) < 4
    assert bool(listed) is (verb in ("retry", "delete") or not of_ends)

    counted = await bulk(api, verb, **wanted, dry_run=True)
    assert await stands(api) == before
    await bulk(api, verb, **wanted)

    after = await stands(api)
    assert counted["matched"] == len(listed)
    assert {one for one, status in before.items() if after.get(one) != status} == listed


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("body", "pointer", "message"),
    [
        ({"ids": []}, "#/ids", "at least 1 item"),
        ({"ids": ["x"] * 1_001}, "#/ids", "at most 1000 items"),
        ({"ids": "x"}, "#/ids", "valid list"),
        ({"ids": [1]}, "#/ids/0", "valid string"),
        ({"ids": ["x"], "type": "note"}, "#", "send ids or a filter, not both"),
        ({"status": 1}, "#/status", "valid list"),
        ({"type": None}, "#/type", "valid list"),
        ({"type": []}, "#/type", "at least 1 item"),
        ({"label": None}, "#/label", "valid list"),
        ({"label": []}, "#/label", "at least 1 item"),
        ({"status": "sleeping"}, "#/status/0", "Input should be"),
    ],
)
async def test_a_mistake_is_named(
    api: httpx.AsyncClient, verb: str, body: Any, pointer: str, message: str
) -> None:
    answer = await api.post(f"/tasks/{verb}", json=body)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert message in error["message"]


async def test_what_is_done_is_told_if_the_rest_cannot_be_looked_for(
    api: httpx.AsyncClient, service: TaskService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await many(api, 150)
    call, pages = service._client.call, 0

    async def one_page(request: Any) -> Any:
        nonlocal pages
        pages += isinstance(request, Find)
        if pages > 1:
            raise RegistryUnavailable
        return await call(request)

    monkeypatch.setattr(service._client, "call", one_page)
    answer = await bulk(api, "cancel", status="pending")
    assert (answer["cancelled"], answer["more"]) == (100, True)
    assert "does not answer" in answer["interrupted"]
    assert (await api.post("/tasks/cancel", json={})).status_code == 503


async def test_a_worker_that_is_about_to_stop_says_how_far_it_has_come(
    api: httpx.AsyncClient, service: TaskService, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await many(api, 3 * NAMED_AT_ONCE)
    await bulk(api, "cancel")
    call = service._client.call

    async def until_the_first(request: Any) -> Any:
        answer = await call(request)
        service.draining = service.draining or isinstance(request, Delete)
        return answer

    monkeypatch.setattr(service._client, "call", until_the_first)
    answer = await bulk(api, "delete", ids=ids)
    service.draining = False
    assert (answer["deleted"], answer["interrupted"]) == (NAMED_AT_ONCE, str(Draining()))


async def test_so_does_its_view_of_the_service_for_a_key(service: TaskService) -> None:
    view = service.seen_by(Principal(holder(Role.OPERATOR).key), own_only=True)
    service.draining = True
    with pytest.raises(Draining):
        await view.bulk.delete(Selection([TaskState.SUCCESS], 10))


def test_no_batch_is_larger_than_its_key_is_looked_after_for() -> None:
    assert MAX_BATCH_TASKS <= MOST_TASKS
