"""Both clients, before a service that answers as a test says."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from afterwards_client import AsyncClient, Client, Retries

URL = "http://service/below"

IMPATIENT = Retries(total_seconds=5, first_delay_seconds=0, max_delay_seconds=0)
"""Tries again at once."""


class Handler:
    """Answers in turn, and keeps the requests."""

    def __init__(self) -> None:
        self.answers: list[httpx.Response | Exception] = []
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def answer(self, status: int, document: Any = None, **headers: str) -> None:
        """Set the answer to the next request."""
        self.answers.append(httpx.Response(status, json=document, headers=headers))

    def stream(self, *chunks: bytes, error: Exception | None = None) -> None:
        """The next request opens a stream of these bytes, which may break."""
        headers = {"Content-Type": "text/event-stream; charset=utf-8"}
        self.answers.append(httpx.Response(200, stream=Chunks(chunks, error), headers=headers))


class Chunks(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in pieces."""

    def __init__(self, chunks: tuple[bytes, ...], error: Exception | None) -> None:
        self._chunks = chunks
        self._error = error
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        if self._error is not None:
            raise self._error

    async def __aiter__(self) -> Any:
        for chunk in self:
            yield chunk

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.close()


class Awaited:
    """An `AsyncClient` with a `Client`'s face, so that one test tries both."""

    def __init__(self, client: AsyncClient, portal: BlockingPortal) -> None:
        self._client = client
        self._portal = portal

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        def call(*args: Any, **options: Any) -> Any:
            called = method(*args, **options)
            if inspect.isasyncgen(called):
                return self._taken(called)
            return self._portal.call(lambda: called)

        return call

    def _taken(self, items: Any) -> Iterator[Any]:
        try:
            while True:
                try:
                    yield self._portal.call(items.__anext__)
                except StopAsyncIteration:
                    return
        finally:
            self._portal.call(items.aclose)


@pytest.fixture
def service() -> Handler:
    return Handler()


@pytest.fixture(params=["Client", "AsyncClient"])
def client(request: pytest.FixtureRequest, service: Handler) -> Iterator[Any]:
    """Either client."""
    transport = httpx.MockTransport(service)
    options: dict[str, Any] = {"retries": IMPATIENT, "headers": {"X-Key": "k"}}
    if request.param == "Client":
        with httpx.Client(transport=transport) as http:
            yield Client(URL + "/", http=http, **options)
        return
    with start_blocking_portal() as portal:
        http_async = httpx.AsyncClient(transport=transport)
        yield Awaited(AsyncClient(URL + "/", http=http_async, **options), portal)
        portal.call(http_async.aclose)
