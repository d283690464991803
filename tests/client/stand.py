"""A service and a proxy of the tests' own, on real sockets, in a thread."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

from afterwards_client import AsyncClient, Client
from tests.client.conftest import Awaited
from tests.client.documents import ID, details, succeeded, task

REASONS = {200: "OK", 202: "Accepted", 502: "Bad Gateway", 503: "Unavailable", 504: "Time-out"}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def wait_seconds(self) -> int:
        return int(self.headers.get("prefer", "wait=0").removeprefix("wait="))


class Gone(Exception):
    """The client has closed its connection."""


class Server:
    """HTTP/1.1 as far as the client needs it."""

    def __init__(self) -> None:
        self.url = ""
        self.connections = 0
        self.requests: list[Request] = []
        self._handlers: set[asyncio.Task[None]] = set()

    async def answer(self, request: Request) -> tuple[int, bytes] | None:
        """The status and the body; None cuts the connection."""
        raise NotImplementedError

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    async def stop(self) -> None:
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        self.connections += 1
        try:
            with suppress(
                ConnectionError, asyncio.IncompleteReadError, Gone, asyncio.CancelledError
            ):
                while True:
                    request = await read_request(reader)
                    self.requests.append(request)
                    answer = await unless_gone(self.answer(request), reader)
                    if answer is None:
                        break
                    status, body = answer
                    first = f"HTTP/1.1 {status} {REASONS[status]}\r\n"
                    head = f"{first}Content-Length: {len(body)}\r\n\r\n"
                    writer.write(head.encode() + body)
                    await writer.drain()
        finally:
            self.connections -= 1
            self._handlers.discard(handler)
            writer.close()


class Service(Server):
    """Accepts tasks, and keeps those waiting who want to wait, until `finish`."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0
        self.is_silent = False
        self._finished = asyncio.Event()

    @property
    def asked(self) -> list[tuple[str, int]]:
        """Method and seconds to wait of each request."""
        return [(request.method, request.wait_seconds) for request in self.requests]

    def finish(self) -> None:
        """All tasks have succeeded. From the thread of the loop only."""
        self._finished.set()

    async def answer(self, request: Request) -> tuple[int, bytes] | None:
        if self.is_silent:
            await asyncio.Event().wait()
        if request.method == "POST":
            return 202, json.dumps(task()).encode()
        self.waiting += 1
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._finished.wait(), request.wait_seconds or 0.001)
        finally:
            self.waiting -= 1
        document = succeeded() if self._finished.is_set() else details()
        return 200, json.dumps({**document, "id": ID}).encode()


@dataclass
class Proxy(Server):
    """Passes requests on, and gives up after a while, as nginx does after `proxy_read_timeout`."""

    upstream: str
    patience_seconds: float
    status: int | None = 504
    """The status that it then answers with; None cuts the connection."""
    gave_up: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        super().__init__()

    async def answer(self, request: Request) -> tuple[int, bytes] | None:
        try:
            return await asyncio.wait_for(self._pass_on(request), self.patience_seconds)
        except TimeoutError:
            self.gave_up += 1
            return None if self.status is None else (self.status, b"<html>no JSON</html>")

    async def _pass_on(self, request: Request) -> tuple[int, bytes]:
        host, _, port = self.upstream.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
            first = f"{request.method} {request.path} HTTP/1.1\r\n"
            writer.write(f"{first}{head}\r\n".encode() + request.body)
            status, headers = await read_head(reader)
            body = await reader.readexactly(int(headers["content-length"]))
            return int(status.split()[1]), body
        finally:
            writer.close()


async def read_request(reader: asyncio.StreamReader) -> Request:
    first, headers = await read_head(reader)
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, path, _ = first.split(" ")
    return Request(method, path, headers, body)


async def read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    return first, {name.lower(): value for name, _, value in pairs}


async def unless_gone(answering: Awaitable[Any], reader: asyncio.StreamReader) -> Any:
    """The answer, if the client stays for it."""
    answer = asyncio.ensure_future(answering)
    leaving = asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait({answer, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise Gone
        return answer.result()
    finally:
        for one in (answer, leaving):
            one.cancel()
        await asyncio.gather(answer, leaving, return_exceptions=True)


class Stand:
    """Starts servers in a thread, and talks to them there."""

    def __init__(self, portal: BlockingPortal, stack: ExitStack) -> None:
        self._portal = portal
        self._stack = stack

    def start(self, server: Any) -> Any:
        self._portal.call(server.start)
        self._stack.callback(self._portal.call, server.stop)
        return server

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._portal.call(function, *args)


@contextmanager
def connected(kind: str, url: str, **options: Any) -> Iterator[Any]:
    """A `Client`, or an `AsyncClient` with a `Client`'s face, with connections of its own."""
    if kind == "Client":
        with Client(url, **options) as client:
            yield client
        return
    with start_blocking_portal() as portal:
        awaited = AsyncClient(url, **options)
        yield Awaited(awaited, portal)
        portal.call(awaited.close)


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


@contextmanager
def stand() -> Iterator[Stand]:
    with start_blocking_portal() as portal, ExitStack() as stack:
        yield Stand(portal, stack)
