"""HTTP as `afterwards.server.worker` speaks it: uvicorn's protocol, bounded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 64 * 1024
"""Of a request line and its headers together; also of a body's trailers."""

_MAX_DISCARDED_BYTES: Final = 16 * MAX_HEAD_BYTES


class OneWriteTransport:
    """A transport that puts together what is written in one go.

    uvicorn writes an answer's head and its body apart, and uvloop sends each at once: two system
    calls and two packets an answer.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send the data, with what else is written before the loop goes on."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def _flush(self) -> None:
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            # Its client may have gone since.
            if not self._transport.is_closing():
                self._transport.write(data)

    def write_eof(self) -> None:
        """Say that nothing else will be sent."""
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Send what was written, then close."""
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with limits to what a client can make it hold or wait for.

    uvicorn keeps headers of any size in memory, and waits for ever for the end of a request or for
    a first one. What is refused here was never a whole request.
    """

    first_seconds: ClassVar[float] = 65.0
    """From the connection to the first byte. Between two requests, uvicorn's keep-alive counts."""

    head_seconds: float = 10.0
    """From the first byte of a request to the end of its headers."""

    body_seconds: float = 30.0
    """Between two parts of a body."""

    haste_seconds: ClassVar[float] = 0.5
    """Instead of either, once the server stops."""

    linger_seconds: ClassVar[float] = 1.0
    """How long a refused client may go on sending. Closing with unread data in the connection would
    reset it, and take the answer away from the client."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._in_head = False
        self._refused = False
        self._timer: asyncio.TimerHandle | None = None
        self._late: Callable[[], None] | None = None
        """What the timer calls."""
        self._part_bytes = 0
        """Of the data at hand."""
        self._is_part_begun = False
        """Whether something in it came before what the parser is at."""
        self._held_bytes = 0
        """Since a head began, or the last part of a body: at most this much is in the parser."""
        self._others_bytes = 0
        """At most this much of it was not of this head, but came with its beginning."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(OneWriteTransport(transport, self.loop))  # type: ignore[arg-type]
        self._wait(self.first_seconds, self.transport.close)

    def hasten(self) -> None:
        """The server stops: wait `haste_seconds` and no longer for what is still to come."""
        self.head_seconds = self.body_seconds = self.haste_seconds
        if self._late is not None and self._late != self.transport.close:
            self._wait(self.haste_seconds, self._late)

    def data_received(self, data: bytes) -> None:
        self._part_bytes = len(data)
        self._is_part_begun = False
        self._held_bytes += len(data)
        if self._refused:
            if self._timer is not None and self._held_bytes > _MAX_DISCARDED_BYTES:
                self.transport.close()
            return
        super().data_received(data)
        cycle: Any = self.cycle
        if self._is_too_much_held():
            self._refuse_head()
        elif self._in_head:
            # Hardly ever: most heads come in one piece.
            if self._late != self._head_is_late:
                self._wait(self.head_seconds, self._head_is_late)
        elif cycle is not None and cycle.more_body:
            self._wait(self.body_seconds, self._body_is_late)
        elif cycle is not None:
            self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._in_head = True
        self._held_bytes = self._part_bytes
        # The parser does not say where in the data it is.
        self._others_bytes = self._part_bytes if self._is_part_begun else 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        # What was held is no less than the head. Most heads come in one small piece.
        if self._held_bytes > MAX_HEAD_BYTES and self._head_bytes() > MAX_HEAD_BYTES:
            self._refuse_head()
            raise ValueError  # stops the parser
        self._in_head = False
        self._let_go()
        super().on_headers_complete()

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(n) + len(v) for n, v in self.headers)

    def on_body(self, body: bytes) -> None:
        self._let_go()
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_part_begun = True
        super().on_message_complete()

    def _let_go(self) -> None:
        self._is_part_begun = True
        self._held_bytes = self._others_bytes = 0

    def _is_too_much_held(self) -> bool:
        return self._held_bytes - self._others_bytes > MAX_HEAD_BYTES

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser cannot read. Called by the base class, also for a large head."""
        if self._in_head and self._is_too_much_held():
            self._refuse_head()
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def _refuse_head(self) -> None:
        limit = f"The request line and headers may have {MAX_HEAD_BYTES} bytes"
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, limit)

    def _head_is_late(self) -> None:
        limit = f"The headers may take {self.head_seconds:g} s to arrive"
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, limit)

    def _body_is_late(self) -> None:
        if self.flow.read_paused:
            # It is the application that does not read on.
            self._wait(self.body_seconds, self._body_is_late)
        elif not is_busy(self):
            self.transport.close()  # the request was answered without its body
        else:
            limit = f"Nothing has come of the body for {self.body_seconds:g} s"
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, limit)

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answer, drop what else comes, and close the connection."""
        if self._refused:
            return
        self._refused = True
        self._stop_timer()
        if is_busy(self):
            cycle = self.cycle
            if not cycle.more_body:
                # An earlier request is whole and gets its answer; the connection ends with that.
                cycle.keep_alive = False
                return
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started or self.pipeline:
                # Half of another answer is out, or another one is due first.
                self.transport.close()
                return
        self.transport.write(_problem(status, detail))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._wait(self.linger_seconds, self.transport.close)

    def _wait(self, seconds: float, late: Callable[[], None]) -> None:
        """Call `late` unless something else is waited for, or nothing, before that."""
        self._stop_timer()
        self._late = late
        self._timer = self.loop.call_later(seconds, late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._late = None


def _problem(status: HTTPStatus, detail: str) -> bytes:
    """A whole answer, as `afterwards.api.problems` gives them."""
    document = {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail}
    body = json.dumps(document).encode()
    return (
        b"HTTP/1.1 %d %b\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\n"
        b"Connection: close\r\n\r\n%b" % (status, status.phrase.encode(), len(body), body)
    )


def is_busy(connection: Any) -> bool:
    """Whether a request of this connection is being answered."""
    cycle = getattr(connection, "cycle", None)
    return cycle is not None and not cycle.response_complete
