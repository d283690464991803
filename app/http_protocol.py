"""HTTP as `app.worker` speaks it: uvicorn's protocol, bounded."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 64 * 1024
"""Of a request line and its headers together; also of a body's trailers."""

_MAX_DISCARDED_BYTES: Final = 16 * MAX_HEAD_BYTES


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with limits to what a client can make it hold or wait for.

    uvicorn keeps headers of any size in memory and waits for their end for ever. What is refused
    here was never a request: it has no request id and is not counted.
    """

    head_seconds: ClassVar[float] = 10.0
    """From the first byte of a request to the end of its headers."""

    linger_seconds: ClassVar[float] = 1.0
    """How long a refused client may go on sending. Closing with unread data in the connection would
    reset it, and take the answer away from the client."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._in_head = False
        self._refused = False
        self._timer: asyncio.TimerHandle | None = None
        # Since the last end of a head or part of a body: at most this much is in the parser.
        self._held_bytes = 0

    def data_received(self, data: bytes) -> None:
        self._held_bytes += len(data)
        if self._refused:
            if self._timer is not None and self._held_bytes > _MAX_DISCARDED_BYTES:
                self.transport.close()
            return
        super().data_received(data)
        if self._held_bytes > MAX_HEAD_BYTES:
            self._refuse_head()
        elif not self._in_head:
            self._stop_timer()
        elif self._timer is None:
            # Hardly ever: most heads come in one piece.
            self._timer = self.loop.call_later(self.head_seconds, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        # A head that came in one piece was not measured before.
        if len(self.url) + sum(len(n) + len(v) for n, v in self.headers) > MAX_HEAD_BYTES:
            self._refuse_head()
            raise ValueError  # stops the parser
        self._in_head = False
        self._held_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._held_bytes = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser cannot read. Called by the base class, also for a large head."""
        if self._in_head and self._held_bytes > MAX_HEAD_BYTES:
            self._refuse_head()
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def _refuse_head(self) -> None:
        limit = f"The request line and headers may have {MAX_HEAD_BYTES} bytes"
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, limit)

    def _head_is_late(self) -> None:
        limit = f"The headers may take {self.head_seconds:.0f} s to arrive"
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
        self._timer = self.loop.call_later(self.linger_seconds, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _problem(status: HTTPStatus, detail: str) -> bytes:
    """A whole answer, as `app.api.problems` gives them."""
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
