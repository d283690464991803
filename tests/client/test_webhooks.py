"""Webhooks: what both clients send, and what they make of the answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from afterwards_client import (
    Callback,
    Conflict,
    ConnectionFailed,
    InvalidArgument,
    NewTask,
    Replayed,
    TaskStatus,
    UnexpectedAnswer,
)
from tests.client.conftest import Handler
from tests.client.documents import AT, ID, problem, task, webhook

URL = "https://shop.example.com/finished"


def test_a_webhook_is_put_as_it_is_said_and_has_its_secret(client: Any, service: Handler) -> None:
    service.answer(201, webhook(secret="whsec_c2VjcmV0"))
    made = client.put_webhook(
        "orders", URL, events=[TaskStatus.FAILED], types=("email",), labels={"tenant": "acme"}
    )
    assert (made.name, made.enabled, made.secret) == ("orders", True, "whsec_c2VjcmV0")
    assert made.events == (TaskStatus.FAILED, TaskStatus.SUCCESS)
    assert made.created_at == datetime.fromisoformat(AT)
    assert made.document["later_member"] == 1
    (request,) = service.requests
    assert (request.method, request.url.path) == ("PUT", "/below/webhooks/orders")
    assert json.loads(request.content) == {
        "url": URL,
        "events": ["failed"],
        "types": ["email"],
        "labels": {"tenant": "acme"},
    }


def test_no_repr_shows_a_secret_or_a_url(client: Any, service: Handler) -> None:
    service.answer(201, webhook(secret="whsec_c2VjcmV0"))
    shown = repr(client.put_webhook("orders", URL))
    shown += repr(Callback(URL, secret="whsec_c2VjcmV0"))
    assert "whsec_c2VjcmV0" not in shown
    assert "shop.example.com" not in shown
    assert json.loads(service.requests[0].content) == {"url": URL}


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [("put_webhook", ("orders", URL)), ("rotate_webhook_secret", ("orders",))],
)
def test_a_secret_whose_answer_is_lost_is_not_asked_for_again(
    client: Any, service: Handler, verb: str, arguments: tuple[str, ...]
) -> None:
    service.answers = [httpx.ReadError("cut")]
    with pytest.raises(ConnectionFailed):
        getattr(client, verb)(*arguments)
    assert len(service.requests) == 1


def test_webhooks_are_listed_page_by_page_and_looked_at(client: Any, service: Handler) -> None:
    disabled = webhook(name="b", state="disabled", disabled_at=AT, disabled_because="410")
    service.answer(200, {"webhooks": [webhook(name="a")], "next": "YQ"})
    service.answer(200, {"webhooks": [disabled], "next": None})
    assert [(one.name, one.enabled) for one in client.webhooks()] == [("a", True), ("b", False)]
    service.answer(200, disabled)
    found = client.webhook("b")
    assert (found.disabled_because, found.disabled_at) == ("410", datetime.fromisoformat(AT))
    assert found.secret is None
    assert [request.url.params.get("cursor") for request in service.requests] == [None, "YQ", None]


def test_a_secret_is_rotated_with_an_overlap(client: Any, service: Handler) -> None:
    service.answer(200, webhook(secret="whsec_bmV3"))
    assert client.rotate_webhook_secret("orders", overlap=timedelta(hours=1)).secret == "whsec_bmV3"
    (request,) = service.requests
    assert request.url.path == "/below/webhooks/orders/secret"
    assert json.loads(request.content) == {"overlap_seconds": 3600.0}


@pytest.mark.parametrize("verb", ["enable", "disable"])
def test_a_webhook_is_enabled_and_disabled(client: Any, service: Handler, verb: str) -> None:
    service.answer(200, webhook(state=f"{verb}d"))
    assert getattr(client, f"{verb}_webhook")("orders").enabled == (verb == "enable")
    assert service.requests[0].url.path == f"/below/webhooks/orders/{verb}"


def test_a_test_gives_its_delivery(client: Any, service: Handler) -> None:
    service.answer(202, task(type="webhook"))
    assert client.test_webhook("orders").id == ID
    service.answer(409, problem(409, "The webhook 'orders' is disabled"))
    with pytest.raises(Conflict, match="is disabled"):
        client.test_webhook("orders")


def test_a_replay_is_of_one_task_or_of_a_span(client: Any, service: Handler) -> None:
    answer = {"matched": 2, "replayed": 1, "skipped": 1, "interrupted": None}
    service.answer(202, answer)
    service.answer(202, answer)
    assert client.replay_webhook("orders", task_id=ID) == Replayed(2, 1, 1, None)
    since = datetime(2026, 11, 28, tzinfo=UTC)
    client.replay_webhook("orders", since=since, until=since + timedelta(hours=1))
    first, second = (json.loads(request.content) for request in service.requests)
    assert first == {"task_id": ID}
    assert second == {"since": "2026-11-28T00:00:00+00:00", "until": "2026-11-28T01:00:00+00:00"}


def test_a_deletion_that_is_repeated_is_one(client: Any, service: Handler) -> None:
    service.answers = [httpx.ReadError("cut")]
    service.answer(404, problem(404))
    client.delete_webhook("orders")
    assert [request.method for request in service.requests] == ["DELETE", "DELETE"]


def test_a_task_is_submitted_with_its_callback(client: Any, service: Handler) -> None:
    service.answer(202, task())
    service.answer(202, {"tasks": [task()]})
    client.submit("note", callback=Callback(URL, ["failed"], "whsec_c2VjcmV0"))
    client.submit_many([NewTask("note", callback=Callback(URL))])
    first, second = (json.loads(request.content) for request in service.requests)
    assert first["callback"] == {"url": URL, "events": ["failed"], "secret": "whsec_c2VjcmV0"}
    assert second["tasks"][0]["callback"] == {"url": URL}


def test_what_is_no_webhook_and_no_name_is_said(client: Any, service: Handler) -> None:
    service.answer(200, {"name": "orders"})
    with pytest.raises(UnexpectedAnswer):
        client.webhook("orders")
    with pytest.raises(InvalidArgument, match="name of a webhook"):
        client.webhook("")
