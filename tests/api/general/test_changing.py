"""`PATCH /tasks/{id}`: a scheduled task is changed before it is due."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.general.conftest import NOTE, Hand, shown, submitted

pytestmark = pytest.mark.anyio

LATER = "2126-11-21T10:00:00.000000+00:00"


async def test_a_scheduled_task_gets_another_payload_type_and_time(
    api: httpx.AsyncClient,
) -> None:
    task_id = (await submitted(api, delay_seconds=3600))["id"]
    change = {"type": "slow", "payload": {"n": 1}, "run_at": LATER}

    answer = await api.patch(f"/tasks/{task_id}", json=change)

    assert answer.status_code == 200, answer.text
    document = await shown(api, task_id)
    assert {name: document[name] for name in change} == change
    assert (document["status"], document["executor"]) == ("scheduled", "thread")


async def test_what_is_left_out_stays_and_a_time_that_is_past_is_now(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    task_id = (await submitted(api, delay_seconds=3600))["id"]

    await api.patch(f"/tasks/{task_id}", json={"run_at": "2020-01-01T00:00:00Z"})

    claim = hand.claim(task_id)
    assert (claim.type, claim.payload) == (NOTE["type"], b'{"body":"Hello"}')


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#"),
        ({"type": "gone"}, "#/type"),
        ({"type": "note"}, "#/payload/body"),
        ({"type": "note", "payload": {}}, "#/payload/body"),
        ({"run_at": "soon"}, "#/run_at"),
        ({"priority": 3}, "#/priority"),
    ],
)
async def test_a_change_that_is_not_valid_changes_nothing(
    api: httpx.AsyncClient, body: Any, pointer: str
) -> None:
    task_id = (await submitted(api, type="nothing", payload={}, delay_seconds=3600))["id"]
    before = await shown(api, task_id)

    answer = await api.patch(f"/tasks/{task_id}", json=body)

    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert await shown(api, task_id) == before


async def test_what_is_not_scheduled_is_not_changed(api: httpx.AsyncClient) -> None:
    task_id = (await submitted(api))["id"]

    answer = await api.patch(f"/tasks/{task_id}", json={"run_at": LATER})

    assert answer.status_code == 409
    assert answer.json()["detail"] == f"Task {task_id} is pending and cannot be changed"
