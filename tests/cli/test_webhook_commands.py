"""Webhooks from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from afterwards.cli import main
from tests.client.conftest import Handler
from tests.client.documents import AT, ID, task, webhook

URL = "https://shop.example.com/finished"


def test_webhooks_are_a_line_each(service: Handler, out: Callable[[], str]) -> None:
    gone = webhook(name="gone", state="disabled", disabled_because="410", types=["a", "b"])
    failing = webhook(failing_since=AT)
    service.answer(200, {"webhooks": [gone, failing], "next": None})
    assert main(["webhooks"]) == 0
    url = failing["url"]
    assert out().splitlines() == [
        f"gone\tdisabled: 410\t{url}\tfailed, success\ta, b\t",
        f"orders\tenabled\t{url}\tfailed, success\tall\t{AT}",
    ]


def test_a_webhook_is_put_and_its_secret_shown(service: Handler, out: Callable[[], str]) -> None:
    service.answer(201, webhook(secret="whsec_c2VjcmV0"))
    options = ["--event", "failed", "--type", "email", "--label", "tenant=acme"]
    assert main(["webhooks", "put", "orders", URL, *options]) == 0
    assert "secret: whsec_c2VjcmV0\n" in out()
    (request,) = service.requests
    assert (request.method, request.url.path) == ("PUT", "/webhooks/orders")
    assert json.loads(request.content) == {
        "url": URL,
        "events": ["failed"],
        "types": ["email"],
        "labels": {"tenant": "acme"},
    }


@pytest.mark.parametrize(
    ("action", "request_line", "printed"),
    [
        ("show", "GET /webhooks/orders", "name: orders\n"),
        ("enable", "POST /webhooks/orders/enable", "orders: enabled\n"),
        ("disable", "POST /webhooks/orders/disable", "orders: disabled\n"),
        ("rotate", "POST /webhooks/orders/secret", "name: orders\n"),
    ],
)
def test_a_webhook_is_shown_and_changed(
    service: Handler, out: Callable[[], str], action: str, request_line: str, printed: str
) -> None:
    service.answer(200, webhook())
    assert main(["webhooks", action, "orders"]) == 0
    assert printed in out()
    (request,) = service.requests
    assert f"{request.method} {request.url.path}" == request_line


def test_a_webhook_is_tested_and_deleted(service: Handler, out: Callable[[], str]) -> None:
    service.answer(202, task(type="webhook"))
    service.answers.append(httpx.Response(204))
    assert main(["webhooks", "test", "orders"]) == 0
    assert main(["webhooks", "delete", "orders", "--json"]) == 0
    first, second = out().splitlines()
    assert first == ID
    assert json.loads(second) == {"name": "orders", "deleted": True}


def test_a_replay_that_was_interrupted_is_a_failure(
    service: Handler, out: Callable[[], str]
) -> None:
    answer = {"matched": 3, "replayed": 3, "skipped": 0, "interrupted": None}
    service.answer(202, answer)
    service.answer(202, {**answer, "replayed": 1, "interrupted": "the service stops"})
    assert main(["webhooks", "replay", "orders", "--since", "2h"]) == 0
    assert "replayed: 3\n" in out()
    assert main(["webhooks", "replay", "orders", "--task", ID]) == 1
    first, second = (json.loads(request.content) for request in service.requests)
    assert set(first) == {"since"}
    assert second == {"task_id": ID}
