"""No answer has a secret of a payload, a result or a schedule; an edit keeps them."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from afterwards.api.redaction import MASK
from afterwards.registry.engine.memory import MemoryRegistry
from afterwards.registry.protocol.base import SUMMARY_BYTES
from afterwards.registry.protocol.requests import Get, GetSchedule
from tests.api.general.conftest import Hand, submitted
from tests.registry.peers import ask

pytestmark = pytest.mark.anyio

PAYLOAD = {"name": "Sales", "details": {"api-key": "s3cret", "rows": 5}}
MASKED = {"name": "Sales", "details": {"api-key": MASK, "rows": 5}}
"""As it is shown."""


def stored(registry: MemoryRegistry, task_id: str) -> Any:
    return json.loads(ask(registry, Get(task_id)).payload)


async def new(api: httpx.AsyncClient, **members: Any) -> Any:
    return await submitted(api, type="nothing", payload=PAYLOAD, **members)


async def test_no_answer_about_tasks_has_it_and_who_runs_them_has(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    task = await new(api)
    assert task["payload"] == MASKED
    claim = hand.claim(task["id"])
    assert json.loads(claim.payload) == PAYLOAD
    hand.succeed(claim, result=b'{"token":"s3cret"}')
    one = {"type": "nothing", "payload": PAYLOAD, "delay_seconds": 99}
    texts = [
        (await api.post("/tasks/batch", json={"tasks": [one]})).text,
        (await api.get("/tasks")).text,
        (await api.get(f"/tasks/{task['id']}")).text,
        (await api.get(f"/tasks/{task['id']}/events")).text,
        (await api.post(f"/tasks/{task['id']}/cancel")).text,
        (await api.get(f"/status/{task['id']}")).text,
        (await api.get(f"/task/{task['id']}/status")).text,
    ]
    for text in texts:
        assert MASK in text
        assert "s3cret" not in text


async def test_a_digest_has_no_secret_wherever_the_payload_is_cut(api: httpx.AsyncClient) -> None:
    for before in (0, *range(60, 110, 3), *range(470, SUMMARY_BYTES)):
        details = {"rows": "x" * before, "token": "S" * 600}
        await submitted(api, type="nothing", payload={"details": details})
    tasks = (await api.get("/tasks?summary=true&limit=500")).json()["tasks"]
    digests = [task["digest"] for task in tasks]
    assert not [digest for digest in digests if "S" in digest]
    assert [digest for digest in digests if MASK in digest]


@pytest.mark.parametrize("path", ["password", "details.api-key", "API_KEY.rows.0", "rows.0.token"])
async def test_no_secret_is_searched_for_by_its_path(api: httpx.AsyncClient, path: str) -> None:
    await new(api)
    search = {"q": f"payload.{path}=s3cret", "type": "nothing"}
    answers = [await api.get(url, params=search) for url in ("/tasks", "/tasks/count")]
    answers += [await api.post(f"/tasks/{verb}", json=search) for verb in ("cancel", "delete")]
    for answer in answers:
        assert answer.status_code == 422, answer.text
        [mistake] = answer.json()["errors"]
        assert mistake["pointer"] == "#/q"
        assert "names a secret" in mistake["message"]
    assert (await api.get("/tasks/count?q=payload.details.rows=5")).json()["count"] == 1


async def test_a_retry_and_a_change_with_the_mask_keep_what_is_stored(
    api: httpx.AsyncClient, hand: Hand, registry: MemoryRegistry
) -> None:
    edited = {**MASKED, "name": "Stock"}
    later = (await new(api, delay_seconds=99))["id"]
    answer = await api.patch(f"/tasks/{later}", json={"payload": edited})
    assert (answer.status_code, answer.json()["payload"]) == (200, edited)
    assert stored(registry, later) == {**PAYLOAD, "name": "Stock"}

    failed = (await new(api, max_attempts=1))["id"]
    hand.fail(hand.claim(failed))
    answer = await api.post(f"/tasks/{failed}/retry", json={"payload": edited})
    assert (answer.status_code, answer.json()["payload"]) == (202, edited)
    assert stored(registry, failed) == {**PAYLOAD, "name": "Stock"}

    wrong = {"name": "Sales", "details": {"token": MASK}}
    answer = await api.patch(f"/tasks/{later}", json={"payload": wrong})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("#/payload/details/token: is a mask")


async def test_a_schedule_shows_the_mask_and_is_replaced_with_it(
    api: httpx.AsyncClient, registry: MemoryRegistry
) -> None:
    body = {"type": "nothing", "payload": PAYLOAD, "every_seconds": 3600}
    for answer in (
        await api.put("/schedules/daily", json=body),
        await api.get("/schedules/daily"),
        await api.put("/schedules/daily", json={**body, "payload": MASKED, "priority": 7}),
        await api.post("/schedules/daily/pause"),
    ):
        assert answer.json()["payload"] == MASKED, answer.text
    listed = (await api.get("/schedules?payloads=true")).json()["schedules"]
    assert [one["payload"] for one in listed] == [MASKED]
    schedule = ask(registry, GetSchedule("daily"))
    assert json.loads(schedule.pattern.payload) == PAYLOAD
    assert schedule.pattern.priority == 7
    answer = await api.put("/schedules/other", json={**body, "payload": MASKED})
    assert answer.status_code == 422
