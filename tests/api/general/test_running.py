"""Running a task now, deleting or restoring it: `POST /tasks/{id}/run`, `DELETE /tasks/{id}`."""

from __future__ import annotations

import uuid

import httpx
import pytest

from tests.api.general.conftest import NOTE, Hand, shown, submitted

pytestmark = pytest.mark.anyio

LATER = "2126-11-21T10:00:00.000000+00:00"


async def test_a_scheduled_task_is_due_now_and_only_once(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    task_id = (await submitted(api, delay_seconds=3600))["id"]

    answer = await api.post(f"/tasks/{task_id}/run")

    assert (answer.status_code, answer.json()["status"]) == (200, "pending")
    again = await api.post(f"/tasks/{task_id}/run")
    assert again.status_code == 409
    assert again.json()["detail"] == f"Task {task_id} is pending and cannot be run now"
    hand.claim(task_id)


async def test_what_waits_for_another_attempt_is_due_now(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    task_id = (await submitted(api))["id"]
    hand.fail(hand.claim(task_id), 3600.0)
    assert (await shown(api, task_id))["status"] == "scheduled"

    assert (await api.post(f"/tasks/{task_id}/run/")).status_code == 200

    assert hand.claim(task_id).attempt == 2


@pytest.mark.parametrize(("method", "end"), [("POST", "/run"), ("DELETE", "")])
async def test_what_is_not_there_can_be_neither_run_nor_deleted(
    api: httpx.AsyncClient, method: str, end: str
) -> None:
    for task_id in (str(uuid.uuid4()), "no-uuid"):
        assert (await api.request(method, f"/tasks/{task_id}{end}")).status_code == 404


async def test_a_finished_task_is_deleted_and_gone_from_then_on(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    task_id = (await submitted(api))["id"]
    refused = await api.delete(f"/tasks/{task_id}")
    assert refused.status_code == 409
    assert refused.json()["detail"].endswith("is pending and cannot be deleted; cancel it first")
    hand.succeed(hand.claim(task_id), b"{}")

    answer = await api.delete(f"/tasks/{task_id}")

    assert (answer.status_code, answer.content) == (204, b"")
    for method, end in (("DELETE", ""), ("GET", ""), ("POST", "/retry"), ("POST", "/run")):
        gone = await api.request(method, f"/tasks/{task_id}{end}")
        assert gone.status_code == 410, end
        assert gone.json()["detail"] == f"Task {task_id} was finished, and has been deleted"
    assert (await api.get("/stats")).json()["tasks"]["success"] == 0


async def test_an_idempotency_key_is_free_once_its_task_is_deleted(
    api: httpx.AsyncClient,
) -> None:
    key = {"Idempotency-Key": '"k"'}
    first = (await api.post("/tasks", json=NOTE, headers=key)).json()["id"]
    await api.post(f"/tasks/{first}/cancel")
    assert (await api.delete(f"/tasks/{first}")).status_code == 204

    second = await api.post("/tasks", json=NOTE, headers=key)

    assert second.status_code == 202
    assert second.json()["id"] != first


async def test_the_path_tells_that_it_can_be_deleted(api: httpx.AsyncClient) -> None:
    answer = await api.put(f"/tasks/{uuid.uuid4()}")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, HEAD, PATCH")


async def test_a_cancellation_is_undone_by_a_retry_for_its_time(api: httpx.AsyncClient) -> None:
    task = await submitted(api, run_at=LATER)
    await api.post(f"/tasks/{task['id']}/cancel")

    answer = await api.post(f"/tasks/{task['id']}/retry", json={"run_at": task["run_at"]})

    assert answer.status_code == 202
    assert (answer.json()["status"], answer.json()["run_at"]) == ("scheduled", LATER)


async def test_a_retry_for_a_time_that_is_past_is_pending(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    task = await submitted(api)
    hand.fail(hand.claim(task["id"]))
    answer = await api.post(f"/tasks/{task['id']}/retry", json={"run_at": task["run_at"]})
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")


async def test_a_time_without_an_offset_retries_nothing(api: httpx.AsyncClient, hand: Hand) -> None:
    task = await submitted(api)
    hand.fail(hand.claim(task["id"]))
    answer = await api.post(f"/tasks/{task['id']}/retry", json={"run_at": "2126-11-21T10:00:00"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/run_at"
    assert (await shown(api, task["id"]))["status"] == "failed"


@pytest.mark.parametrize("paused", [False, True])
async def test_a_schedule_is_run_now_and_its_times_stay(
    api: httpx.AsyncClient, hand: Hand, *, paused: bool
) -> None:
    definition = {**NOTE, "cron": "0 6 1 1 *", "paused": paused}
    made = (await api.put("/schedules/yearly", json=definition)).json()

    answer = await api.post("/schedules/yearly/run")

    assert answer.status_code == 202, answer.text
    task = answer.json()
    assert answer.url.join(answer.headers["location"]).path == f"/tasks/{task['id']}"
    assert (task["status"], task["payload"]) == ("pending", {"body": "Hello"})
    assert (await shown(api, task["id"]))["schedule"] == "yearly"
    assert (await api.get("/schedules/yearly")).json() == made
    hand.claim(task["id"])


async def test_a_schedule_that_is_not_there_is_not_run(api: httpx.AsyncClient) -> None:
    answer = await api.post("/schedules/none/run")
    assert (answer.status_code, answer.json()["detail"]) == (404, "There is no schedule 'none'")
