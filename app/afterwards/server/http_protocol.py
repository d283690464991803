"""HTTP as `afterwards.server.worker` speaks it: uvicorn's protocol, bounded.

data_received -> _take, a head at a time -> _feed -> the parser -> on_message_begin, ...
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from afterwards.server.http_head import fault_of, origin_form, without_chunks
from afterwards.server.refusal import problem
from afterwards.server.stall import StallWatch
from afterwards.server.transport import OneWriteTransport
from afterwards.server.upgrades import without_upgrade

MAX_HEAD_BYTES: Final = 64 * 1024
"""The bound of a request line and its headers together; also of a body's trailers."""

MAX_WAITING: Final = 8
"""Requests of one connection that wait for the answer to an earlier one."""

_MAY_WAIT_BEFORE: Final = MAX_WAITING - 1
"""More is parsed only while fewer wait: a part may end the head before, and have another whole."""

BODY_SECONDS: Final = 60.0
BODY_BYTES_PER_SECOND: Final = 1024
"""A whole body may take `BODY_SECONDS`, and a second more for each so many bytes of it."""

_MAX_DISCARDED_BYTES: Final = 16 * MAX_HEAD_BYTES
_CONNECT: Final = b"CONNECT"
_HEAD_END: Final = b"\r\n\r\n"


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with limits to what a client can make it hold or wait for.

    An application whose `state` has a callable `note_refusal` is told the status of each request
    that is refused here, and gives the refusal its request id.

    uvicorn keeps headers of any size in memory, and waits for ever for the end of a request or for
    a first one. What is refused here was never a whole request.
    """

    first_seconds: ClassVar[float] = 65.0
    """From the connection to the first byte. Between two requests, uvicorn's keep-alive counts."""

    head_seconds: float = 10.0
    """From the first byte of a request to the end of its headers."""

    body_seconds: float = 30.0
    """Between two parts of a body."""

    stall_seconds: ClassVar[float] = 30.0
    """The time for which a client may read nothing of what is sent to it."""

    haste_seconds: ClassVar[float] = 0.5
    """Instead of either, once the server stops."""

    linger_seconds: ClassVar[float] = 1.0
    """The time for which a refused client may go on sending. Closing with unread data in the
    connection would reset it, and take the answer away from the client."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._in_head = False
        self._refused = False
        self._timer: asyncio.TimerHandle | None = None
        self._late: Callable[[], None] | None = None
        """The callback of the timer."""
        self._part_bytes = 0
        """The size of the data at hand."""
        self._is_part_begun = False
        """True if something in it came before what the parser is at."""
        self._held_bytes = 0
        """Since a head began, or the last part of a body: at most this much is in the parser."""
        self._others_bytes = 0
        """At most this much of it was not of this head, but came with its beginning."""
        self._unparsed = b""
        self._unparsed_at = 0
        """The place in `_unparsed` where the parser goes on, once fewer requests wait."""
        self._has_begun = False
        """True if a request began in the data at hand."""
        self._plain_head = b""
        """The head of a request that asks for another protocol: to be parsed in the place of its
        own."""
        self._body_began = 0.0
        self._body_bytes = 0
        self._is_half_closed = False
        """The client has sent all it has to send, and still reads."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        one_write = OneWriteTransport(transport, self.loop)  # type: ignore[arg-type] # a transport as far as uvicorn uses one
        self._stall = StallWatch(one_write, self.loop, self.stall_seconds)
        # What was written may still be on its way when it closes.
        one_write.on_close = self._stall.begin
        super().connection_made(one_write)  # type: ignore[arg-type] # a transport as far as uvicorn uses one
        self._wait(self.first_seconds, self.transport.close)

    def hasten(self) -> None:
        """The server stops: wait `haste_seconds` and no longer for what is still to come."""
        self.head_seconds = self.body_seconds = self.haste_seconds
        if self._late is not None and self._late != self.transport.close:
            self._wait(self.haste_seconds, self._late)

    def data_received(self, data: bytes) -> None:
        if self._unparsed:
            # Was under way when reading was paused.
            self._unparsed = self._unparsed[self._unparsed_at :] + data
            self._unparsed_at = 0
            self.flow.pause_reading()
        else:
            self._take(data, 0)

    def _take(self, data: bytes, at: int) -> None:
        """Parse what was received, until too many requests wait: the parser itself cannot stop."""
        self._unparsed, self._unparsed_at = b"", 0
        if at == 0 and data.count(_HEAD_END) <= 1 and len(self.pipeline) < _MAY_WAIT_BEFORE:
            self._feed(data)
            return
        while at < len(data) and not self.transport.is_closing():
            if len(self.pipeline) >= _MAY_WAIT_BEFORE:
                self._unparsed, self._unparsed_at = data, at
                self.flow.pause_reading()
                return
            end = data.find(_HEAD_END, at)
            end = len(data) if end < 0 else end + len(_HEAD_END)
            self._feed(data[at:end])
            at = end

    def _feed(self, data: bytes) -> None:
        self._part_bytes = len(data)
        self._is_part_begun = False
        self._held_bytes += len(data)
        if self._refused:
            if self._timer is not None and self._held_bytes > _MAX_DISCARDED_BYTES:
                self.transport.close()
            return
        # The base class stops it for anything that comes, and a line break is no request.
        idle, self.timeout_keep_alive_task = self.timeout_keep_alive_task, None
        self._has_begun = False
        self._parse(data)
        if idle is not None:
            if self._has_begun or self._refused:
                idle.cancel()
            else:
                self.timeout_keep_alive_task = idle
        self._set_timer()

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._plain_head:
                head, self._plain_head = self._plain_head, b""
                self.parser = httptools.HttpRequestParser(self)
                self._parse(head + data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def _set_timer(self) -> None:
        """By what is to come next."""
        cycle: Any = self.cycle
        if self._refused:
            return
        if self._is_too_much_held():
            self._refuse_head()
        elif self._in_head:
            # Hardly ever: most heads come in one piece.
            if self._late != self._head_is_late:
                self._wait(self.head_seconds, self._head_is_late)
        elif cycle is not None and cycle.more_body:
            self._wait(min(self.body_seconds, self._body_seconds_left()), self._body_is_late)
        elif cycle is not None:
            self._stop_timer()

    def eof_received(self) -> bool | None:  # type: ignore[override] # as asyncio has it
        """The client has closed its side: a whole request of it gets its answer all the same."""
        cycle: Any = self.cycle
        is_whole = is_busy(self) and not cycle.more_body and not self._in_head
        if self._unparsed or (is_whole and not cycle.response_started):
            self._is_half_closed = True
            return True
        return None

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._unparsed = b""
        elif self._unparsed:
            self._take(self._unparsed, self._unparsed_at)
        if self._is_half_closed and not self._unparsed and not is_busy(self):
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall.begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stall.end()
        self._unparsed = b""
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._in_head = self._has_begun = True
        self._held_bytes = self._part_bytes
        # The parser does not say where in the data it is.
        self._others_bytes = self._part_bytes if self._is_part_begun else 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        # What was held is no less than the head. Most heads come in one small piece.
        if self._held_bytes > MAX_HEAD_BYTES and self._head_bytes() > MAX_HEAD_BYTES:
            self._refuse_head()
            raise ValueError  # stops the parser
        method = self.parser.get_method()
        if self.parser.should_upgrade() and method != _CONNECT:
            version = self.parser.get_http_version()
            self._plain_head = without_upgrade(method, self.url, version, self.headers)
            return
        fault = fault_of(self.headers, self.parser.get_http_version())
        if fault is not None:
            self._refuse(*fault)
            raise ValueError
        self.url = origin_form(self.url, self.headers)
        self._in_head = False
        self._let_go()
        self._body_began, self._body_bytes = self.loop.time(), 0
        super().on_headers_complete()
        # The request has its own; trailers go nowhere, as they may say what a head may not.
        self.headers = []

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if cycle.scope["http_version"] == "1.0":
            app = without_chunks(cycle, app)
        super()._start_asgi_task(cycle, app)

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(n) + len(v) for n, v in self.headers)

    def on_body(self, body: bytes) -> None:
        self._let_go()
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_part_begun = True
        if not self._plain_head:
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
            self._body_began += self.body_seconds
            self._wait(self.body_seconds, self._body_is_late)
        elif not is_busy(self):
            self.transport.close()  # the request was answered without its body
        elif self._body_seconds_left() <= 0:
            limit = f"{BODY_SECONDS:g} s, and one more for each {BODY_BYTES_PER_SECOND} bytes"
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"The body may take {limit}")
        else:
            limit = f"Nothing has come of the body for {self.body_seconds:g} s"
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, limit)

    def _body_seconds_left(self) -> float:
        limit = BODY_SECONDS + self._body_bytes / BODY_BYTES_PER_SECOND
        return self._body_began + limit - self.loop.time()

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
        # Not `self.app`, which may be something around it.
        state = getattr(self.config.app, "state", None)
        note_refusal = getattr(state, "note_refusal", None)
        request_id = None if note_refusal is None else note_refusal(status)
        self.transport.write(problem(status, detail, request_id))
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


def is_busy(connection: Any) -> bool:
    """True if a request of this connection is being answered."""
    cycle = getattr(connection, "cycle", None)
    return cycle is not None and not cycle.response_complete
