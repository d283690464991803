"""Streams and waits end with their key: streams with an event, waits with a refusal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from afterwards.access.key import Key
from afterwards.access.keyring import NO_KEYS
from afterwards.access.principal import Principal
from afterwards.access.roles import Role
from afterwards.api.authorise import Gate
from afterwards.registry.protocol.requests import Cancel
from afterwards.service.service import TaskService
from tests.access.holders import Holder, holder, ring_of
from tests.api.general.conftest import NOTE
from tests.events.conftest import until

pytestmark = pytest.mark.anyio

EYES, OTHER = holder(Role.SUBMITTER, "eyes"), holder(Role.ADMIN, "other")
PROMISED_SECONDS = 2.0
END = 'event: end\ndata: {"reason":"The key was revoked, or has expired"}\n\n'

End = Callable[[Gate], None]


def revoked(gate: Gate) -> None:
    gate.renew(ring_of(OTHER, Holder(_changed(revoked_at=time.time()), EYES.token)))


def removed(gate: Gate) -> None:
    gate.renew(ring_of(OTHER))


def expired(gate: Gate) -> None:
    soon = _changed(expires_at=time.time() + 0.2)
    gate.renew(ring_of(OTHER, Holder(soon, EYES.token)))


def _changed(**changes: float) -> Key:
    return replace(EYES.key, **changes)  # type: ignore[arg-type] # any member


ENDS = pytest.mark.parametrize("end", [revoked, removed, expired])


@pytest.fixture
def gate(app: FastAPI) -> Gate:
    gate: Gate = app.state.gate
    gate.renew(ring_of(EYES, OTHER))
    return gate


async def begun(gate: Gate, number: int = 1) -> None:
    def are_watched() -> bool:
        return sum(map(len, gate.lapses._watched.values())) == number

    await until(are_watched, "they go on")


async def paths_of_streams(api: httpx.AsyncClient) -> list[str]:
    task = {**NOTE, "delay_seconds": 900}
    task_id = (await api.post("/tasks", json=task, headers=EYES.headers)).json()["id"]
    return ["/events", "/stats/events", f"/tasks/{task_id}/events"]


@ENDS
async def test_streams_end_with_their_key_and_the_others_go_on(
    api: httpx.AsyncClient, gate: Gate, end: End
) -> None:
    paths = await paths_of_streams(api)
    theirs = [asyncio.create_task(api.get(path, headers=EYES.headers)) for path in paths]
    other = asyncio.create_task(api.get("/events", headers=OTHER.headers))
    await begun(gate, 4)
    since = time.monotonic()
    end(gate)
    answers = await asyncio.wait_for(asyncio.gather(*theirs), 10)
    assert time.monotonic() - since < PROMISED_SECONDS
    for answer in answers:
        assert answer.text.endswith(END)
    assert not other.done()
    assert (await api.get("/events", headers=EYES.headers)).status_code == 401
    other.cancel()


@ENDS
async def test_waits_end_with_their_key(api: httpx.AsyncClient, gate: Gate, end: End) -> None:
    task = {**NOTE, "delay_seconds": 900}
    known = (await api.post("/tasks", json=task, headers=EYES.headers)).json()["id"]
    waits = [
        asyncio.create_task(api.get(f"/tasks/{known}?wait=60", headers=EYES.headers)),
        asyncio.create_task(api.post("/tasks?wait=60", json=task, headers=EYES.headers)),
    ]
    await begun(gate, 2)
    since = time.monotonic()
    end(gate)
    read, submitted = await asyncio.wait_for(asyncio.gather(*waits), 10)
    assert time.monotonic() - since < PROMISED_SECONDS
    assert read.status_code == 401
    # It is accepted, which the wait does not change.
    assert submitted.status_code == 202


async def test_a_verb_for_many_tasks_goes_no_further_than_its_key(
    api: httpx.AsyncClient, gate: Gate, service: TaskService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterwards.service.bulk.AT_ONCE", 1)
    tasks = {"tasks": [{**NOTE, "delay_seconds": 900}] * 20}
    await api.post("/tasks/batch", json=tasks, headers=OTHER.headers)
    call, cancelled = service._client.call, 0

    async def slowly(request: Any) -> Any:
        nonlocal cancelled
        if isinstance(request, Cancel):
            cancelled += 1
            if cancelled == 3:
                gate.renew(ring_of(EYES))
            if cancelled >= 3:
                await asyncio.sleep(60)
        return await call(request)

    monkeypatch.setattr(service._client, "call", slowly)
    asked = api.post("/tasks/cancel", json={}, headers=OTHER.headers)
    answer = await asyncio.wait_for(asked, 10)
    assert (answer.status_code, cancelled) == (401, 3)


async def test_what_nobody_had_to_have_a_key_for_ends_with_the_first_key(
    api: httpx.AsyncClient, gate: Gate
) -> None:
    gate.renew(NO_KEYS)
    stream = asyncio.create_task(api.get("/events"))
    await begun(gate)
    gate.renew(ring_of(OTHER))
    assert (await asyncio.wait_for(stream, 10)).text.endswith(END)


async def test_what_goes_on_goes_on_under_a_new_ring_and_without_keys(gate: Gate) -> None:
    principal = Principal(EYES.key)
    for ring in (ring_of(EYES), ring_of(EYES, OTHER, version=2), NO_KEYS, None):
        gate.renew(ring)
        assert gate.holds(principal)
    gate.renew(ring_of(OTHER))
    assert not gate.holds(principal)


async def test_nothing_is_looked_at_once_all_is_over(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterwards.api.lapses.LOOK_SECONDS", 0.01)
    with gate.lapses.watched(Principal(EYES.key)), gate.lapses.watched(Principal(OTHER.key)):
        pass
    await until(lambda: gate.lapses._next is None, "the last look")
    assert not gate.lapses._watched
