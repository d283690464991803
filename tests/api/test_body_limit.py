from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from afterwards.api.body_limit import DISCARD_FACTOR

pytestmark = pytest.mark.anyio

LIMIT = 10_000  # of conftest's settings
JSON = {"Content-Type": "application/json"}


def file_of(size: int) -> bytes:
    frame = b'{"content":{"a":""}}'
    return frame.replace(b'""', b'"' + b"x" * (size - len(frame)) + b'"')


async def test_a_body_at_the_limit_is_taken(client: httpx.AsyncClient) -> None:
    answer = await client.post("/file/", content=file_of(LIMIT), headers=JSON)
    assert answer.status_code == 202


class Parts:
    """A body that comes in parts, and knows how many were asked for."""

    def __init__(self, number: int, size: int) -> None:
        self.number = number
        self.part = b"x" * size
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.number):
            self.taken += 1
            yield self.part


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Content-Length": str(100 * 1_000)}, id="announced"),
        pytest.param({"Content-Length": "9" * 5_000}, id="announced beyond reason"),
        pytest.param({"Transfer-Encoding": "chunked"}, id="not announced"),
        pytest.param({"Content-Length": "10"}, id="announced wrongly"),
        pytest.param({"Content-Length": "-1"}, id="announced nonsense"),
    ],
)
async def test_a_body_over_the_limit_is_refused(
    client: httpx.AsyncClient, service: Any, headers: dict[str, str]
) -> None:
    answer = await client.post("/file/", content=Parts(100, 1_000), headers={**JSON, **headers})
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert str(LIMIT) in answer.json()["detail"]
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"]
    assert not service.tasks


class Exchange:
    """A request whose client keeps sending parts of 1,000 bytes, as the application sees it."""

    def __init__(self, headers: dict[str, str], parts: int | None = None) -> None:
        self.parts = parts
        self.taken = 0
        self.taken_before_the_answer: int | None = None
        self.status = 0
        self.body = b""
        self.complete = False
        fields = {"content-type": "application/json", **headers}
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": "/file/",
            "query_string": b"",
            "headers": [(n.encode(), v.encode()) for n, v in fields.items()],
        }

    async def receive(self) -> Any:
        if self.parts is None or self.taken < self.parts:
            self.taken += 1
            return {"type": "http.request", "body": b"x" * 1_000, "more_body": True}
        await asyncio.Event().wait()
        pytest.fail("nothing sets it")

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        self.body += message.get("body", b"")
        if self.taken_before_the_answer is None:
            self.taken_before_the_answer = self.taken
        self.complete = not message.get("more_body", False)


@pytest.mark.parametrize(
    ("headers", "before"),
    [
        pytest.param({"content-length": "99999999"}, 0, id="announced"),
        pytest.param({"transfer-encoding": "chunked"}, 11, id="not announced"),
        pytest.param(
            {"transfer-encoding": "chunked", "expect": "100-continue"}, 11, id="was told to go on"
        ),
    ],
)
async def test_the_refusal_is_sent_at_once_and_then_the_body_is_dropped_up_to_a_limit(
    app: FastAPI, headers: dict[str, str], before: int
) -> None:
    exchange = Exchange(headers)
    await app(exchange.scope, exchange.receive, exchange.send)
    assert exchange.status == json.loads(exchange.body)["status"] == 413
    assert exchange.taken_before_the_answer == before
    assert exchange.taken == before + DISCARD_FACTOR * LIMIT // 1_000
    assert exchange.complete


async def test_a_refused_body_is_not_waited_for_without_end(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterwards.api.body_limit.DISCARD_SECONDS", 0.01)
    exchange = Exchange({"content-length": "99999999"}, parts=5)
    async with asyncio.timeout(10):
        await app(exchange.scope, exchange.receive, exchange.send)
    assert (exchange.status, exchange.taken, exchange.complete) == (413, 5, True)


async def test_a_client_that_asks_first_is_refused_without_reading(app: FastAPI) -> None:
    exchange = Exchange({"content-length": "99999999", "expect": "100-Continue"})
    await app(exchange.scope, exchange.receive, exchange.send)
    assert (exchange.status, exchange.taken, exchange.complete) == (413, 0, True)
