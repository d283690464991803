"""An answer that is a file, whole or in parts (RFC 9110, 14). The event loop waits for no disk.

Starlette's own opens a path, which may be a link by then, refuses with plain text, and knows no
`If-None-Match`.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import secrets
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar
from urllib.parse import quote

from fastapi import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from afterwards.api.byte_ranges import ByteRange, ranges_of
from afterwards.api.conditions import is_known
from afterwards.api.problems import Problem
from afterwards.api.request_context import HELD_BYTES
from afterwards.system.own_threads import OwnThreads

P = ParamSpec("P")
T = TypeVar("T")

_CHUNK_BYTES: Final = 256 * 1024
_COUNTED_BYTES: Final = 1024 * 1024
"""The part of the room for unread answers that a file takes while it is sent: more than a chunk,
because it has a descriptor, too."""

_READERS: Final = OwnThreads("file-reader", 4)

# What a task writes may be anything. A browser saves it, whatever it is, and if it opens it all the
# same, that page can run nothing and has no origin.
_SAFE: Final = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


async def in_reader(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that reads the disk, in one of the few threads for that."""
    return await _READERS.run(function, *args, **kwargs)


class SentFile(NamedTuple):
    """A file that is open, and what is said of it."""

    file: io.FileIO
    """The answer closes it."""
    name: str
    size: int
    media_type: str
    etag: str
    """A strong one."""


def file_answer(request: Request, sent: SentFile) -> Response:
    """The answer to a GET or HEAD of a file."""
    headers = {
        **_SAFE,
        "Content-Disposition": content_disposition(sent.name),
        "ETag": sent.etag,
    }
    if is_known(request, sent.etag):
        sent.file.close()
        return Response(status_code=304, headers=headers)
    ranges = _ranges(request, sent)
    if ranges is None:
        return FileAnswer(sent, headers, None)
    if not ranges:
        sent.file.close()
        problem = f"The file has {sent.size} bytes, and none of the range that was asked for"
        return Problem(416, problem, headers={"Content-Range": f"bytes */{sent.size}"})
    return FileAnswer(sent, headers, ranges)


def _ranges(request: Request, sent: SentFile) -> Sequence[ByteRange] | None:
    # For GET alone (14.2). A date in If-Range is none of this file's, which has none (13.1.5).
    if request.method != "GET" or request.headers.get("if-range", sent.etag) != sent.etag:
        return None
    return ranges_of(request.headers.get("range"), sent.size)


class FileAnswer(Response):
    """Sends a file, or ranges of it, as fast as it is read.

    Args:
        ranges: None: the whole.
    """

    def __init__(
        self, sent: SentFile, headers: dict[str, str], ranges: Sequence[ByteRange] | None
    ) -> None:
        super().__init__(status_code=200 if ranges is None else 206, headers=headers)
        self._file = sent.file
        self._parts: list[bytes | ByteRange] = [*(ranges or [ByteRange(0, sent.size)])]
        media_type = sent.media_type
        if ranges is not None and len(ranges) == 1:
            self.headers["content-range"] = _content_range(ranges[0], sent.size)
        elif ranges is not None:
            boundary = secrets.token_hex(12)
            self._parts = list(_multipart(sent, ranges, boundary))
            media_type = f"multipart/byteranges; boundary={boundary}"
        self.headers["content-type"] = media_type
        lengths = (one.length if isinstance(one, ByteRange) else len(one) for one in self._parts)
        self.headers["content-length"] = str(sum(lengths))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        scope[HELD_BYTES] = _COUNTED_BYTES
        start = {"status": self.status_code, "headers": self.raw_headers}
        try:
            await send({"type": "http.response.start", **start})
            if scope["method"] != "HEAD":
                await _while_read(receive, self._send_parts(send))
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._file.close()

    async def _send_parts(self, send: Send) -> None:
        for part in self._parts:
            if isinstance(part, bytes):
                await send({"type": "http.response.body", "body": part, "more_body": True})
                continue
            at = part.start
            while at < part.end:
                size = min(_CHUNK_BYTES, part.end - at)
                chunk = await in_reader(os.pread, self._file.fileno(), size, at)
                if not chunk:
                    # Half of it is out: only the end of the connection says that it is not whole.
                    raise OSError(f"a file has become shorter while it was sent, at byte {at}")
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                at += len(chunk)


def _multipart(
    sent: SentFile, ranges: Sequence[ByteRange], boundary: str
) -> Iterator[bytes | ByteRange]:
    for number, one in enumerate(ranges):
        head = (
            f"--{boundary}",
            f"Content-Type: {sent.media_type}",
            f"Content-Range: {_content_range(one, sent.size)}",
        )
        yield ("\r\n" * (number > 0) + "\r\n".join(head) + "\r\n\r\n").encode()
        yield one
    yield f"\r\n--{boundary}--\r\n".encode()


def _content_range(part: ByteRange, size: int) -> str:
    return f"bytes {part.start}-{part.end - 1}/{size}"


def content_disposition(name: str) -> str:
    """The header that has a browser save a file under this name (RFC 6266, RFC 8187)."""
    plain = re.sub(r"[^ !#$&+,\-.0-9;=@A-Z\[\]^_`a-z{}~()']", "_", name)
    if plain == name:
        return f'attachment; filename="{name}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


async def _while_read(receive: Receive, sending: Coroutine[Any, Any, None]) -> None:
    """Send until it is done, or the client is gone."""
    tasks = asyncio.create_task(sending), asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    await asyncio.wait(tasks)
    if not tasks[0].cancelled():
        tasks[0].result()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
