"""Concurrency keys and unique keys of tasks: what may be sent, and what is told of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from afterwards.access.roles import Role
from afterwards.api.schemas.schedules import ScheduleDocument
from afterwards.api.schemas.task_lists import TaskPage
from afterwards.api.schemas.tasks import FullTaskDocument
from tests.access.holders import Holder, holder, ring_of
from tests.api.general.conftest import NOTE, Hand, shown, submitted

pytestmark = pytest.mark.anyio

UNIQUE = {**NOTE, "unique_key": "sync-7"}
KEYED = {**NOTE, "concurrency_key": "acme"}


async def sent(api: httpx.AsyncClient, **members: Any) -> httpx.Response:
    return await api.post("/tasks", json={**UNIQUE, **members})


# -- what is told ---------------------------------------------------------------------------------


async def test_a_task_shows_its_keys_wherever_it_is_shown(api: httpx.AsyncClient) -> None:
    task = await submitted(api, concurrency_key="Zoë 7", unique_key="u" * 255)
    keys = {"concurrency_key": "Zoë 7", "unique_key": "u" * 255}

    listed = (await api.get("/tasks")).json()["tasks"]
    summary = (await api.get("/tasks?summary=true")).json()["tasks"]
    for document in (task, *listed, *summary, await shown(api, task["id"])):
        assert {name: document[name] for name in keys} == keys
        assert document["waiting_for"] is None


async def test_what_waits_for_its_key_says_so_and_how_many_hold_it(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    running, waiting = [await submitted(api, **KEYED) for _ in range(2)]
    hand.claim(running["id"])

    told = {"concurrency_key": "acme", "holders": 1}
    assert (await shown(api, waiting["id"]))["waiting_for"] == told
    assert (await shown(api, running["id"]))["waiting_for"] is None
    page = (await api.get("/tasks?status=pending&summary=true")).json()
    assert [task["waiting_for"] for task in page["tasks"]] == [told]
    TaskPage.model_validate(page)
    FullTaskDocument.model_validate(await shown(api, waiting["id"]))
    hand.succeed(hand.table[running["id"]])
    hand.claim(waiting["id"])
    assert (await shown(api, waiting["id"]))["waiting_for"] is None


async def test_lists_counts_and_verbs_for_many_choose_by_keys(api: httpx.AsyncClient) -> None:
    both = await submitted(api, concurrency_key="a", unique_key="u", delay_seconds=60)
    await submitted(api, concurrency_key="a", delay_seconds=60)
    await submitted(api)

    for query, number in (("concurrency_key=a", 2), ("unique_key=u", 1), ("unique_key=a", 0)):
        assert len((await api.get(f"/tasks?{query}")).json()["tasks"]) == number
        assert (await api.get(f"/tasks/count?{query}")).json()["count"] == number
    done = await api.post("/tasks/cancel", json={"unique_key": "u"})
    assert done.json()["cancelled"] == 1
    assert (await shown(api, both["id"]))["status"] == "cancelled"


@pytest.mark.parametrize("member", ["concurrency_key", "unique_key"])
@pytest.mark.parametrize("key", ["", "x" * 256, "two\nlines", "\x7f", 7])
async def test_what_is_no_key_is_refused_and_named(
    api: httpx.AsyncClient, member: str, key: Any
) -> None:
    answer = await api.post("/tasks", json={**NOTE, member: key})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"#/{member}"


# -- conflicts ------------------------------------------------------------------------------------


async def test_a_further_task_is_answered_with_the_one_there_is(api: httpx.AsyncClient) -> None:
    first = await sent(api)
    assert (first.status_code, "existing-task" in first.headers) == (202, False)

    for on_conflict in ({}, {"on_conflict": "existing"}):
        again = await sent(api, payload={"body": "Other"}, **on_conflict)
        assert (again.status_code, again.headers["existing-task"]) == (202, "true")
        assert again.json() == first.json()
        assert again.headers["location"] == f"tasks/{first.json()['id']}"
        assert "idempotent-replayed" not in again.headers


@pytest.mark.parametrize("on_conflict", ["reject", "replace"])
async def test_a_refusal_names_the_task_that_has_the_key(
    api: httpx.AsyncClient, hand: Hand, on_conflict: str
) -> None:
    first = (await sent(api)).json()
    hand.claim(first["id"])

    refused = await sent(api, on_conflict=on_conflict)

    assert refused.status_code == 409
    assert refused.json()["task_id"] == first["id"]
    assert refused.json()["detail"] == (
        f"Task {first['id']} is unfinished and has the unique key 'sync-7'; wait for its end, "
        "cancel it, or use another key"
    )


async def test_a_waiting_task_is_replaced_and_says_by_which(api: httpx.AsyncClient) -> None:
    first = (await sent(api, delay_seconds=60)).json()

    second = await sent(api, on_conflict="replace")

    assert second.status_code == 202
    replaced = await shown(api, first["id"])
    assert replaced["status"] == "cancelled"
    assert replaced["error"] == (
        f"Replaced by task {second.json()['id']}, which has the same unique key"
    )


async def test_a_batch_with_a_conflict_is_refused_whole(api: httpx.AsyncClient) -> None:
    first = (await sent(api)).json()

    async def status(*tasks: dict[str, Any]) -> int:
        return (await api.post("/tasks/batch", json={"tasks": list(tasks)})).status_code

    other = {**NOTE, "unique_key": "other", "on_conflict": "reject"}
    assert await status(NOTE, UNIQUE) == 409
    assert await status(other, NOTE, other) == 409
    assert await status(other, NOTE) == 202
    assert (await api.get("/tasks/count")).json()["count"] == 3
    batch = {"tasks": [NOTE], "then": UNIQUE}
    assert (await api.post("/tasks/batch", json=batch)).json()["task_id"] == first["id"]
    assert (await shown(api, first["id"]))["status"] in ("pending", "processing")


async def test_an_on_conflict_that_means_nothing_is_refused(api: httpx.AsyncClient) -> None:
    without_key = await api.post("/tasks", json={**NOTE, "on_conflict": "reject"})
    assert without_key.status_code == 422
    assert "send that, too" in without_key.json()["detail"]

    batch: dict[str, object] = {"tasks": [NOTE, {**UNIQUE, "on_conflict": "replace"}]}
    in_batch = await api.post("/tasks/batch", json=batch)
    assert in_batch.status_code == 422
    assert in_batch.json()["errors"][0]["pointer"] == "#/tasks/1/on_conflict"
    batch = {"tasks": [NOTE], "then": {**UNIQUE, "on_conflict": "existing"}}
    after_batch = await api.post("/tasks/batch", json=batch)
    assert after_batch.status_code == 422
    assert after_batch.json()["errors"][0]["pointer"] == "#/then/on_conflict"


async def test_a_retry_that_meets_another_task_is_refused_and_one_of_many_skipped(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    failed = (await sent(api)).json()["id"]
    hand.fail(hand.claim(failed))
    second = (await sent(api)).json()["id"]

    refused = await api.post(f"/tasks/{failed}/retry")

    assert (refused.status_code, refused.json()["task_id"]) == (409, second)
    assert (await api.post("/tasks/retry", json={})).json()["skipped"] == 1


# -- schedules ------------------------------------------------------------------------------------


async def test_a_schedule_gives_its_tasks_its_keys_and_tells_what_it_skips(
    api: httpx.AsyncClient,
) -> None:
    new = {**UNIQUE, "concurrency_key": "acme", "every_seconds": 3600}
    put = await api.put("/schedules/hourly", json=new)
    assert put.status_code == 201, put.text
    schedule = put.json()
    assert (schedule["concurrency_key"], schedule["unique_key"]) == ("acme", "sync-7")
    assert schedule["last_skipped"] is None
    ScheduleDocument.model_validate(schedule)

    made = (await api.post("/schedules/hourly/run")).json()
    assert (made["concurrency_key"], made["unique_key"]) == ("acme", "sync-7")
    again = await api.post("/schedules/hourly/run")
    assert (again.status_code, again.json()["task_id"]) == (409, made["id"])


# -- keys of the service --------------------------------------------------------------------------

SHOP = holder(Role.OPERATOR, "shop")
OTHER = holder(Role.OPERATOR, "other")
SHOP_ACME = holder(Role.OPERATOR, "shop acme", principal="shop", labels={"tenant": "acme"})
ACME = {"labels": {"tenant": "acme"}}


@pytest.fixture
async def clients(app: FastAPI) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    holders: tuple[Holder, ...] = (SHOP, OTHER, SHOP_ACME)
    app.state.gate.renew(ring_of(*holders))
    transport = httpx.ASGITransport(app)
    made = {
        one.key.name: httpx.AsyncClient(
            transport=transport, base_url="http://service", headers=one.headers
        )
        for one in holders
    }
    yield made
    for client in made.values():
        await client.aclose()


async def test_a_unique_key_belongs_to_the_principal_of_the_key(
    clients: dict[str, httpx.AsyncClient],
) -> None:
    for name in ("shop", "other"):
        assert (await sent(clients[name], on_conflict="reject")).status_code == 202
    assert (await sent(clients["shop"], on_conflict="reject")).status_code == 409


@pytest.mark.parametrize("on_conflict", ["existing", "reject", "replace"])
async def test_a_key_neither_sees_nor_replaces_a_task_beyond_its_reach(
    clients: dict[str, httpx.AsyncClient], on_conflict: str
) -> None:
    first = (await sent(clients["shop"], delay_seconds=60)).json()["id"]

    refused = await sent(clients["shop acme"], on_conflict=on_conflict, **ACME)

    assert refused.status_code == 409
    assert first not in refused.text
    assert (await shown(clients["shop"], first))["status"] == "scheduled"
    batch = {"tasks": [{**UNIQUE, **ACME}]}
    assert first not in (await clients["shop acme"].post("/tasks/batch", json=batch)).text


async def test_a_key_with_labels_is_not_told_how_many_hold_a_concurrency_key(
    clients: dict[str, httpx.AsyncClient], hand: Hand
) -> None:
    running = await submitted(clients["shop"], **KEYED)
    hand.claim(running["id"])
    waiting = await submitted(clients["shop acme"], **KEYED, **ACME)

    told = {"concurrency_key": "acme", "holders": None}
    assert (await shown(clients["shop acme"], waiting["id"]))["waiting_for"] == told
    [listed] = (await clients["shop acme"].get("/tasks?status=pending")).json()["tasks"]
    assert listed["waiting_for"] == told
    assert (await shown(clients["shop"], waiting["id"]))["waiting_for"]["holders"] == 1
