"""The transport of httpx that leads to a fake service, with an event loop and without one."""

from __future__ import annotations

import threading
from collections.abc import Callable

import httpx


class FakeTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Has each request answered in this process, one at a time.

    Args:
        answer: answers a request whose body has been read.
    """

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self._answer = answer
        # A function that a task runs may itself use the client.
        self._lock = threading.RLock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request of `httpx.Client`."""
        request.read()
        with self._lock:
            return self._answer(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request of `httpx.AsyncClient`. Nothing in it waits."""
        await request.aread()
        with self._lock:
            return self._answer(request)
