from __future__ import annotations

import inspect
from typing import Any

import httpx
import pytest

from afterwards import errors
from afterwards.api.problems import STATUSES, status_of, title
from afterwards.errors import (
    AfterwardsError,
    Draining,
    LimitReached,
    RegistryUnavailable,
    TooManyUnfinished,
    Unavailable,
)

pytestmark = pytest.mark.anyio

NOTIFICATION = {"email": "johndoe@example.com", "message": "Received."}


async def test_a_problem_document_has_the_members_of_rfc_9457(client: httpx.AsyncClient) -> None:
    answer = await client.get("/status/unknown")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "Task not found",
    }


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (TooManyUnfinished(100, "unfinished tasks", 7.2), "8"),
        (TooManyUnfinished(100, "unfinished tasks", 0.0), "1"),
        (RegistryUnavailable(), "1"),
        (Draining(), "1"),
    ],
)
@pytest.mark.parametrize(
    "call",
    [
        "POST /notify/",
        "POST /api/notifications/notify",
        "GET /status/x",
        "POST /retry-task/x",
        "GET /readyz",
        "GET /metrics",
    ],
)
async def test_what_cannot_be_done_now_says_when_to_ask_again(
    client: httpx.AsyncClient,
    service: Any,
    call: str,
    error: Unavailable,
    seconds: str,
) -> None:
    service.unavailable = error
    answer = await client.request(*call.split(), json=NOTIFICATION)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == seconds
    assert answer.json()["detail"] == str(error)
    assert service.started == []


async def test_a_limit_that_is_reached_is_named_with_what_is_used_of_it(
    client: httpx.AsyncClient, service: Any
) -> None:
    service.unavailable = LimitReached("pending_tasks", 100, 98, 3, 4.2)
    answer = await client.post("/notify/", json=NOTIFICATION)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
    assert answer.json()["limit"] == {"name": "pending_tasks", "value": 100, "used": 98}
    assert answer.json()["detail"] == (
        "The limit pending_tasks of the key is 100: 98 are used, and this needs 3 more; "
        "try again in 5 s"
    )


async def test_every_wrong_field_is_listed(client: httpx.AsyncClient) -> None:
    answer = await client.post("/report/", json={"name": 1})
    problem = answer.json()
    assert problem["status"] == 422
    assert problem["errors"] == [
        {"location": "body", "pointer": "#/name", "message": "Input should be a valid string"},
        {"location": "body", "pointer": "#/details", "message": "Field required"},
    ]
    assert problem["detail"] == "#/name: Input should be a valid string (and 1 more)"


async def test_an_unexpected_error_is_a_500_that_tells_nothing_but_the_request_id(
    client: httpx.AsyncClient, service: Any
) -> None:
    service.broken = RuntimeError("a secret of the inside")
    answer = await client.get("/status/x", headers={"X-Request-ID": "abc-1"})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "abc-1"
    assert answer.json()["request_id"] == "abc-1"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


def test_every_error_of_the_service_has_a_status() -> None:
    tree = [
        thing
        for thing in vars(errors).values()
        if inspect.isclass(thing) and issubclass(thing, AfterwardsError)
    ]
    assert len(tree) > len(STATUSES)
    for cls in tree:
        error = cls.__new__(cls)
        assert title(status_of(error))
