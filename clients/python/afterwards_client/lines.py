"""httpx transports in which a connection belongs to one call at a time.

httpx's own pool has a limit, at which calls wait for each other, and counts connections whose calls
were cancelled or interrupted at an unlucky moment, for ever. Here each call has a transport of its
own, a line, with at most one connection. A line whose call ends in good order is kept for the next
one; any other is cut. So there is no limit that could be reached, and nothing to lose count of.

The sender of a request with these transports has to `hang_up` if that ends with any exception:
httpx does not always get to close a response when it is interrupted.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final, Generic, TypeVar

import anyio
import httpx

KEPT_AT_MOST: Final = 20
KEPT_SECONDS: Final = 5.0
"""Both as in httpx; a service that closes idle connections does so later."""

LIMITS: Final = httpx.Limits(
    max_connections=None, max_keepalive_connections=1, keepalive_expiry=KEPT_SECONDS
)
"""The limits of a line's transport."""

T = TypeVar("T", httpx.HTTPTransport, httpx.AsyncHTTPTransport)

_LINE: Final = "afterwards.line"
"""The extension of a request that has its line."""


class Line(Generic[T]):
    """A transport, and what httpcore opened for it last: a socket, and TLS on top of it.

    It is cut by closing these. The transport is not closed: it would take a lock, which a call that
    was interrupted may have left locked.
    """

    def __init__(self, transport: T) -> None:
        self.transport: T = transport
        self.opened: list[Any] = []
        self.request: httpx.Request | None = None
        """The request that has the line; only its owner may cut it or give it back."""

    def note(self, event: str, info: dict[str, Any]) -> None:
        """Take note of an event of httpcore's extension `trace`."""
        if event.endswith("connect_tcp.complete"):
            self.opened = [info["return_value"]]
        elif event.endswith("start_tls.complete"):
            self.opened.append(info["return_value"])


class Exchange(Generic[T]):
    """Which lines are in use, and which wait for the next call. No I/O, and no locks.

    Threads share it, and Ctrl-C may come at any moment: each step is one operation on one
    container.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make: Callable[[], T] = make
        self._busy: set[Line[T]] = set()
        self._kept: deque[tuple[float, Line[T]]] = deque()
        self._is_closed = False

    def take(self, request: httpx.Request) -> Line[T]:
        """A line for this request: the one used last, which is the likeliest to be open still."""
        try:
            _, line = self._kept.pop()
        except IndexError:
            line = Line(self._make())
        line.request = request
        request.extensions = {**request.extensions, _LINE: (line, self)}
        self._busy.add(line)
        return line

    def drop(self, line: Line[T]) -> None:
        """Forget a line that is cut."""
        self._busy.discard(line)

    def give_back(self, line: Line[T], request: httpx.Request) -> list[Line[T]]:
        """Keep a line for the next request. Those that are returned are to be cut."""
        if line.request is not request:
            return []
        line.request = None
        self._busy.discard(line)
        self._kept.append((time.monotonic(), line))
        return list(self._surplus())

    def close(self) -> list[Line[T]]:
        """Keep none any more. Those that are returned are to be cut."""
        self._is_closed = True
        return list(self._busy) + list(self._surplus())

    def _surplus(self) -> Iterator[Line[T]]:
        while True:
            try:
                since, line = self._kept.popleft()
            except IndexError:
                return
            is_old = time.monotonic() - since > KEPT_SECONDS
            if not (self._is_closed or is_old or len(self._kept) >= KEPT_AT_MOST):
                self._kept.appendleft((since, line))
                return
            yield line


class Lines(httpx.BaseTransport):
    """For `httpx.Client`."""

    def __init__(self, make: Callable[[], httpx.HTTPTransport]) -> None:
        self._exchange = Exchange(make)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        line = self._exchange.take(request)
        request.extensions["trace"] = line.note
        response = line.transport.handle_request(request)
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _Body(response.stream, lambda: self._end(line, request))
        return response

    def close(self) -> None:
        for line in self._exchange.close():
            _cut(line)

    def _end(self, line: Line[httpx.HTTPTransport], request: httpx.Request) -> None:
        for surplus in self._exchange.give_back(line, request):
            _cut(surplus)


class _Body(httpx.SyncByteStream):
    """The body of a response, whose end is the end of the call."""

    def __init__(self, stream: httpx.SyncByteStream, end: Callable[[], None]) -> None:
        self._stream = stream
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        self._stream.close()
        self._end()


def hang_up(request: httpx.Request) -> None:
    """Cut the line of this request, if it has one still."""
    line, exchange = request.extensions.get(_LINE, (None, None))
    if line is not None and line.request is request:
        _cut(line)
        exchange.drop(line)


def _cut(line: Line[httpx.HTTPTransport]) -> None:
    for stream in line.opened:
        stream.close()


class AsyncLines(httpx.AsyncBaseTransport):
    """For `httpx.AsyncClient`."""

    def __init__(self, make: Callable[[], httpx.AsyncHTTPTransport]) -> None:
        self._exchange = Exchange(make)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        line = self._exchange.take(request)

        async def note(event: str, info: dict[str, Any]) -> None:
            line.note(event, info)

        request.extensions["trace"] = note
        response = await line.transport.handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _AsyncBody(response.stream, lambda: self._end(line, request))
        return response

    async def aclose(self) -> None:
        for line in self._exchange.close():
            await _cut_async(line)

    async def _end(self, line: Line[httpx.AsyncHTTPTransport], request: httpx.Request) -> None:
        for surplus in self._exchange.give_back(line, request):
            await _cut_async(surplus)


class _AsyncBody(httpx.AsyncByteStream):
    """`_Body`, awaited."""

    def __init__(self, stream: httpx.AsyncByteStream, end: Callable[[], Awaitable[None]]) -> None:
        self._stream = stream
        self._end = end

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
        await self._end()


async def hang_up_async(request: httpx.Request) -> None:
    """`hang_up`, awaited."""
    line, exchange = request.extensions.get(_LINE, (None, None))
    if line is not None and line.request is request:
        exchange.drop(line)
        await _cut_async(line)


async def _cut_async(line: Line[httpx.AsyncHTTPTransport]) -> None:
    # Another cancellation may come now: closing a socket is the first thing this does.
    with anyio.CancelScope(shield=True):
        for stream in reversed(line.opened):
            await stream.aclose()
