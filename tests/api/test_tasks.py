from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from afterwards.api.schemas import TaskStatus
from afterwards.lifecycle import TaskState

pytestmark = pytest.mark.anyio

SUBMISSIONS = [
    ("/notify/", "notification", {"email": "johndoe@example.com", "message": "Received."}),
    ("/report/", "report", {"name": "Sales", "details": {"month": "June", "region": "Asia"}}),
    ("/file/", "file", {"content": {"user": "johndoe", "numbers": [1, 2.5, 10**20], "é": None}}),
]


@pytest.mark.parametrize(("path", "type_name", "body"), SUBMISSIONS)
async def test_a_submission_is_accepted_with_the_id_of_its_stored_task(
    client: httpx.AsyncClient, service: Any, path: str, type_name: str, body: dict[str, Any]
) -> None:
    answer = await client.post(path, json=body)
    task = service.only_task
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"task_id": task.id, "status": "started"}
    assert answer.url.join(answer.headers["location"]).path == f"/status/{task.id}"
    assert task.type == type_name
    assert json.loads(task.payload) == body


@pytest.mark.parametrize(("path", "type_name", "body"), SUBMISSIONS)
async def test_background_tasks_start_what_was_accepted(
    client: httpx.AsyncClient, service: Any, path: str, type_name: str, body: dict[str, Any]
) -> None:
    await client.post(path, json=body)
    assert service.started == [service.only_task.id]


@pytest.mark.parametrize("path", ["/notify", "/report", "/file"])
async def test_paths_answer_without_their_slash_and_without_a_redirect(
    client: httpx.AsyncClient, path: str
) -> None:
    body = next(body for with_slash, _, body in SUBMISSIONS if with_slash == path + "/")
    assert (await client.post(path, json=body)).status_code == 202


@pytest.mark.parametrize(
    ("state", "shown_as"),
    [
        (TaskState.SCHEDULED, "pending"),
        (TaskState.PENDING, "pending"),
        (TaskState.PROCESSING, "pending"),
        (TaskState.SUCCESS, "success"),
        (TaskState.FAILED, "failed"),
        (TaskState.CANCELLED, "failed"),
    ],
)
async def test_each_state_shows_as_one_of_the_three(
    client: httpx.AsyncClient, service: Any, state: TaskState, shown_as: str
) -> None:
    task = service.put(state)
    assert (await client.get(f"/status/{task.id}")).json()["status"] == shown_as


async def test_the_status_of_a_success_has_its_result_and_no_error(
    client: httpx.AsyncClient, service: Any
) -> None:
    task = service.put(
        TaskState.SUCCESS, result='{"message":"Report generated","é":"ü"}'.encode(), retries=2
    )
    answer = await client.get(f"/status/{task.id}")
    assert answer.status_code == 200
    assert answer.json() == {
        "id": task.id,
        "type": "report",
        "status": "success",
        "result": {"message": "Report generated", "é": "ü"},
        "error": None,
        "timestamp": "2025-06-26T10:00:00.250000+00:00",
        "retries": 2,
    }
    TaskStatus.model_validate_json(answer.content)


async def test_the_status_of_a_failure_has_its_error(
    client: httpx.AsyncClient, service: Any
) -> None:
    task = service.put(TaskState.FAILED, error='it broke: "x"\n')
    status = (await client.get(f"/status/{task.id}")).json()
    assert (status["status"], status["result"], status["error"]) == (
        "failed",
        None,
        'it broke: "x"\n',
    )


async def test_the_error_of_an_attempt_that_is_followed_by_another_is_not_shown(
    client: httpx.AsyncClient, service: Any
) -> None:
    task = service.put(TaskState.SCHEDULED, error="busy")
    assert (await client.get(f"/status/{task.id}")).json()["error"] is None


@pytest.mark.parametrize(
    "task_id", ["2f1c7a52-6f0b-4c3e-9d57-0a5c1f4b8e11", "no-uuid", "%00", "x" * 5_000, "%ff"]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/status/{}"), ("POST", "/retry-task/{}"), ("GET", "/task/{}/status")],
)
async def test_an_unknown_id_is_not_found(
    client: httpx.AsyncClient, method: str, path: str, task_id: str
) -> None:
    answer = await client.request(method, path.format(task_id))
    assert answer.status_code == 404
    assert answer.json()["detail"] == "Task not found"


@pytest.mark.parametrize("state", [TaskState.FAILED, TaskState.CANCELLED])
@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_failed_task_is_retried_and_started(
    client: httpx.AsyncClient, service: Any, state: TaskState, slash: str
) -> None:
    task = service.put(state, error="it broke")
    answer = await client.post(f"/retry-task/{task.id}{slash}")
    assert answer.status_code == 200
    assert answer.json() == {"task_id": task.id, "status": "retried"}
    assert answer.url.join(answer.headers["location"]).path == f"/status/{task.id}"
    assert service.started == [task.id]
    status = (await client.get(f"/status/{task.id}/")).json()
    assert (status["status"], status["error"], status["retries"]) == ("pending", None, 1)


@pytest.mark.parametrize(
    ("state", "shown_as"),
    [
        (TaskState.SCHEDULED, "pending"),
        (TaskState.PENDING, "pending"),
        (TaskState.PROCESSING, "pending"),
        (TaskState.SUCCESS, "success"),
    ],
)
async def test_only_failed_tasks_can_be_retried_and_the_refusal_says_what_the_status_says(
    client: httpx.AsyncClient, service: Any, state: TaskState, shown_as: str
) -> None:
    task = service.put(state)
    answer = await client.post(f"/retry-task/{task.id}")
    assert answer.status_code == 400
    assert answer.json()["detail"] == (
        f"Only a failed task can be retried; task {task.id} is {shown_as}"
    )
    assert (await client.get(f"/status/{task.id}")).json()["status"] == shown_as
    assert service.started == []


async def test_of_two_retries_of_one_failure_one_wins(
    client: httpx.AsyncClient, service: Any
) -> None:
    task = service.put(TaskState.FAILED, error="it broke")
    answers = [await client.post(f"/retry-task/{task.id}") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 400]
