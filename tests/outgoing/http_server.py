"""A server of HTTP that answers as it is told, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    fields = {"content-length": str(len(body)), **headers}
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Server:
    """Answers by path, and remembers what it was asked."""

    def __init__(self, answers: dict[str, bytes]) -> None:
        self.answers = answers
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *fields = head.decode().split("\r\n")[:-2]
                headers = dict(field.lower().split(": ", 1) for field in fields)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = first.split(" ")
                self.requests.append((method, path, headers, body))
                writer.write(self.answers[path])
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(handle: Handle, **options: Any) -> AsyncIterator[int]:
    """A server at a port of its own, which leaves no connection behind."""
    connections: list[tuple[asyncio.Task[None] | None, asyncio.StreamWriter]] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append((asyncio.current_task(), writer))
        await handle(reader, writer)

    server = await asyncio.start_server(keep, "127.0.0.1", 0, **options)
    async with server:
        yield server.sockets[0].getsockname()[1]
    for task, writer in connections:
        writer.transport.abort()
        assert task is not None
        await task
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def serving(answers: dict[str, bytes]) -> AsyncIterator[Server]:
    server = Server(answers)
    async with listening(server.serve) as server.port:
        yield server
