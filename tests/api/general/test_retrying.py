"""`POST /tasks/{id}/retry` and `POST /tasks/retry`."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from afterwards.api.schemas.bulk import BulkRetry
from afterwards.errors import JournalUnavailable
from afterwards.registry.protocol.requests import Retry
from afterwards.service.service import TaskService
from tests.api.general.conftest import Hand, shown, submitted

pytestmark = pytest.mark.anyio


async def failed(api: httpx.AsyncClient, hand: Hand, **members: Any) -> str:
    task_id: str = (await submitted(api, **members))["id"]
    hand.fail(hand.claim(task_id), None, "it broke")
    return task_id


@pytest.mark.parametrize("body", [None, {}, {"payload": None}])
async def test_a_failed_task_gets_a_fresh_round(
    api: httpx.AsyncClient, hand: Hand, body: Any
) -> None:
    task_id = await failed(api, hand)
    answer = await api.post(f"/tasks/{task_id}/retry", json=body)
    assert answer.status_code == 202
    assert answer.url.join(answer.headers["location"]).path == f"/tasks/{task_id}"
    document = answer.json()
    assert (document["status"], document["error"], document["retries"]) == ("pending", None, 1)
    assert document["payload"] == {"body": "Hello"}
    hand.succeed(hand.claim(task_id), b"{}")
    history = (await shown(api, task_id))["history"]
    assert [attempt["outcome"] for attempt in history] == ["failure", "success"]


async def test_another_payload_takes_the_place_of_the_first(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    task_id = await failed(api, hand)
    answer = await api.post(f"/tasks/{task_id}/retry", json={"payload": {"body": "Hi"}})
    assert answer.json()["payload"] == {"body": "Hi"}
    assert hand.claim(task_id).payload == b'{"body":"Hi"}'


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"payload": {}}, "#/payload/body"),
        ({"payload": 1}, "#/payload"),
        ({"load": {}}, "#/load"),
        ([], "#"),
    ],
)
async def test_a_payload_that_does_not_fit_changes_nothing(
    api: httpx.AsyncClient, hand: Hand, body: Any, pointer: str
) -> None:
    task_id = await failed(api, hand)
    answer = await api.post(f"/tasks/{task_id}/retry", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert (await shown(api, task_id))["status"] == "failed"


async def test_a_task_moves_to_another_type_that_takes_its_payload(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    task_id = await failed(api, hand)

    answer = await api.post(
        f"/tasks/{task_id}/retry", json={"new_type": "slow", "payload": {"n": 1}}
    )

    assert answer.status_code == 202, answer.text
    assert (answer.json()["type"], answer.json()["payload"]) == ("slow", {"n": 1})
    assert (await shown(api, task_id))["executor"] == "thread"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"new_type": "note"}, "#/payload/body"),
        ({"new_type": "note", "payload": {}}, "#/payload/body"),
        ({"new_type": "gone"}, "#/new_type"),
    ],
)
async def test_a_move_that_does_not_fit_changes_nothing(
    api: httpx.AsyncClient, hand: Hand, body: Any, pointer: str
) -> None:
    task_id = await failed(api, hand, type="nothing", payload={})
    answer = await api.post(f"/tasks/{task_id}/retry", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    document = await shown(api, task_id)
    assert (document["status"], document["type"]) == ("failed", "nothing")


async def test_only_what_failed_or_was_cancelled_is_retried_and_once(
    api: httpx.AsyncClient,
) -> None:
    task_id = (await submitted(api))["id"]
    answer = await api.post(f"/tasks/{task_id}/retry")
    assert answer.status_code == 409
    assert answer.json()["detail"] == f"Task {task_id} is pending and cannot be retried"
    await api.post(f"/tasks/{task_id}/cancel")
    answers = [(await api.post(f"/tasks/{task_id}/retry")).status_code for _ in range(2)]
    assert answers == [202, 409]


# -- many --------------------------------------------------------------------------------------


async def bulk(api: httpx.AsyncClient, **selection: Any) -> Any:
    answer = await api.post("/tasks/retry", json=selection)
    assert answer.status_code == 200, answer.text
    BulkRetry.model_validate_json(answer.content)
    return answer.json()


async def test_all_that_failed_is_retried_and_what_was_cancelled_only_if_asked_for(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    broken = [await failed(api, hand) for _ in range(3)]
    stopped = (await submitted(api, delay_seconds=60))["id"]
    await api.post(f"/tasks/{stopped}/cancel")
    assert await bulk(api, dry_run=True) == {
        "dry_run": True,
        "matched": 3,
        "retried": 0,
        "skipped": 0,
        "more": False,
        "interrupted": None,
    }
    answer = await bulk(api)
    assert (answer["matched"], answer["retried"], answer["more"]) == (3, 3, False)
    assert (await bulk(api))["matched"] == 0
    for task_id in broken:
        assert (await shown(api, task_id))["retries"] == 1
    assert (await bulk(api, status=["cancelled", "failed"]))["retried"] == 1


async def test_many_move_to_another_type_and_those_it_does_not_take_are_skipped(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    broken = [await failed(api, hand, type="nothing", payload={}) for _ in range(3)]

    answer = await bulk(api, new_type="note")
    assert (answer["matched"], answer["retried"], answer["skipped"]) == (3, 0, 3)
    answer = await bulk(api, new_type="note", payload={"body": "Hi"}, limit=2)
    assert (answer["retried"], answer["skipped"], answer["more"]) == (2, 0, True)

    found = [await shown(api, task_id) for task_id in broken]
    assert [document["type"] for document in found] == ["nothing", "note", "note"]
    assert found[2]["payload"] == {"body": "Hi"}


@pytest.mark.parametrize(
    ("selection", "pointer"),
    [
        ({"new_type": "gone"}, "#/new_type"),
        ({"new_type": "note", "payload": {}}, "#/payload/body"),
    ],
)
async def test_a_move_that_fits_nothing_is_refused(
    api: httpx.AsyncClient, selection: Any, pointer: str
) -> None:
    answer = await api.post("/tasks/retry", json=selection)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_what_changes_meanwhile_is_skipped_and_counted(
    api: httpx.AsyncClient, hand: Hand, service: TaskService, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [await failed(api, hand) for _ in range(3)]
    call = service._client.call

    async def after_another(request: Any) -> Any:
        if isinstance(request, Retry) and request.task_id == broken[1]:
            await call(request)
        return await call(request)

    monkeypatch.setattr(service._client, "call", after_another)
    answer = await bulk(api)
    assert (answer["matched"], answer["retried"], answer["skipped"]) == (3, 2, 1)


async def test_an_interruption_tells_what_was_done_and_why_the_rest_was_left(
    api: httpx.AsyncClient, hand: Hand, service: TaskService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await failed(api, hand)
    call, retries = service._client.call, 0

    async def twice(request: Any) -> Any:
        nonlocal retries
        retries += isinstance(request, Retry)
        if retries > 2 and isinstance(request, Retry):
            raise JournalUnavailable("the disk is full")
        return await call(request)

    monkeypatch.setattr(service._client, "call", twice)
    answer = await bulk(api)
    assert (answer["matched"], answer["retried"], answer["more"]) == (2, 2, True)
    assert "the disk is full" in answer["interrupted"]
    # Now nothing can be done, and that is an error.
    refused = await api.post("/tasks/retry", json={})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
