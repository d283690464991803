from __future__ import annotations

from typing import Any

import httpx
import pytest

from afterwards.api.schemas import ProcessingStatus
from afterwards.lifecycle import TaskState

pytestmark = pytest.mark.anyio

EMAIL = {"email": "user@example.com", "subject": "Hello", "body": "Test\nemail"}


@pytest.mark.parametrize("path", ["/send-email", "/send-email/"])
async def test_an_email_is_accepted_with_200(
    client: httpx.AsyncClient, service: Any, path: str
) -> None:
    answer = await client.post(path, json=EMAIL)
    task = service.only_task
    assert answer.status_code == 200
    assert answer.json() == {"task_id": task.id, "status": "started"}
    assert answer.url.join(answer.headers["location"]).path == f"/status/{task.id}"
    assert task.type == "email"
    assert service.started == [task.id]


@pytest.mark.parametrize(
    ("state", "shown_as"),
    [
        (TaskState.SCHEDULED, "pending"),
        (TaskState.PENDING, "pending"),
        (TaskState.PROCESSING, "processing"),
        (TaskState.SUCCESS, "completed"),
        (TaskState.FAILED, "failed"),
        (TaskState.CANCELLED, "failed"),
    ],
)
async def test_each_state_shows_as_one_of_the_four(
    client: httpx.AsyncClient, service: Any, state: TaskState, shown_as: str
) -> None:
    task = service.put(state)
    answer = await client.get(f"/task/{task.id}/status")
    assert answer.json() == {
        "task_id": task.id,
        "status": shown_as,
        "result": None,
        "error": None,
    }


async def test_the_status_has_result_and_error(client: httpx.AsyncClient, service: Any) -> None:
    done = service.put(TaskState.SUCCESS, result=b'{"message":"Email sent successfully"}')
    failed = service.put(TaskState.FAILED, error="it bounced")
    completed = await client.get(f"/task/{done.id}/status/")
    assert completed.json()["result"] == {"message": "Email sent successfully"}
    assert (await client.get(f"/task/{failed.id}/status")).json()["error"] == "it bounced"
    ProcessingStatus.model_validate_json(completed.content)


@pytest.mark.parametrize("field", ["subject", "email"])
@pytest.mark.parametrize("separator", "\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029")
@pytest.mark.parametrize("text", ["us{}er@example.com", "user@example.com{}", "{}user@example.com"])
async def test_a_header_cannot_hold_anything_that_ends_a_line(
    client: httpx.AsyncClient, service: Any, field: str, separator: str, text: str
) -> None:
    answer = await client.post("/send-email", json={**EMAIL, field: text.format(separator)})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [f"#/{field}"]
    assert not service.tasks


@pytest.mark.parametrize("subject", ["", " ", "Grüße\tan alle: \u00a0\U0001f600"])
async def test_a_subject_may_be_any_single_line(
    client: httpx.AsyncClient, service: Any, subject: str
) -> None:
    answer = await client.post("/send-email", json={**EMAIL, "subject": subject})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subject", "Hello\nBcc: all@example.com"),
        ("subject", "Hello\rBcc: all@example.com"),
        ("email", "user@example.com\nBcc: all@example.com"),
        ("email", "user"),
        ("email", ""),
        ("email", "user@example"),
        ("email", None),
        ("body", 1),
    ],
)
async def test_a_field_that_is_not_valid_is_named(
    client: httpx.AsyncClient, service: Any, field: str, value: object
) -> None:
    answer = await client.post("/send-email", json={**EMAIL, field: value})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [f"#/{field}"]
    assert not service.tasks
