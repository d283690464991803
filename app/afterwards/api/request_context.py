"""The context of each request: an id, a measurement, a limit to what is unread. Plain ASGI.

Starlette's BaseHTTPMiddleware would cost 220 us a request; this costs about 5.
"""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from time import perf_counter
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from afterwards.api.http_metrics import UNMATCHED, HttpMetrics
from afterwards.api.limits import header_fields
from afterwards.api.problems import UNEXPECTED, Problem
from afterwards.logs import get_logger

log = get_logger(__name__)

REQUEST_ID_HEADER: Final = b"x-request-id"

ROOM: Final = "afterwards.room"
"""The server's ASGI extension (`afterwards.server.admission`) that knows how much of what has been
answered is still unread."""

LARGE_BYTES: Final = 16 * 1024
"""Smaller answers are not counted: the limit of connections bounds them."""

HELD_BYTES: Final = "afterwards.held_bytes"
"""In a request's scope: what its answer, which is read in parts, holds of it at once."""

_ACCEPTABLE_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}\Z")
_NO_EXTENSIONS: Final[Mapping[str, Callable[..., bool]]] = {}
_READS: Final = frozenset({"GET", "HEAD"})


class RequestContext:
    """Gives every request an id, counts and times it, and answers for unexpected errors.

    The id is the client's `X-Request-ID` if it is acceptable; it is bound to the log lines that
    the request causes, its background tasks included, and sent back with every answer.

    Args:
        always_answered: paths that are answered however much is still unread.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: HttpMetrics,
        new_id: Callable[[], str],
        always_answered: Collection[str] = (),
    ) -> None:
        self._app = app
        self._always_answered = always_answered
        self._metrics = metrics
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._request_id(scope)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        exchange = _Exchange(scope, send, request_id.encode(), self._metrics)
        # An answer to GET can still be refused when it is there; others had an effect by then.
        room = scope.get("extensions", _NO_EXTENSIONS).get(ROOM)
        always = scope["path"] in self._always_answered
        is_read = scope["method"] in _READS
        if room is not None and not (is_read or always) and not room(0, must=False):
            await _no_room()(scope, receive, exchange.send)
            return
        exchange.room, exchange.must = room, scope["method"] != "GET" or always
        try:
            await self._app(scope, receive, exchange.send)
        except Exception:
            if exchange.answered:
                # A background task's, most likely; the answer it followed is on its way.
                log.exception("failed after the answer was sent; nothing else is affected")
                return
            log.exception(
                "request failed for an unexpected reason; answered with 500",
                method=scope["method"],
                path=scope["path"],
            )
            if exchange.status:
                raise  # half an answer is out: only the server can end it, by disconnecting
            await _unexpected(request_id)(scope, receive, exchange.send)

    def _request_id(self, scope: Scope) -> str:
        for name, value in scope["headers"]:
            if name == REQUEST_ID_HEADER:
                if _ACCEPTABLE_ID.match(value):
                    accepted: str = value.decode("ascii")
                    return accepted
                break
        return self._new_id()


def request_ids() -> Callable[[], str]:
    """Gives ids to requests that bring none."""
    # A counter is enough to be unique in this process, the prefix in the service.
    prefix, numbers = secrets.token_hex(6), itertools.count(1)
    return lambda: f"{prefix}-{next(numbers)}"


class _Exchange:
    """The way back of one request."""

    __slots__ = (
        "_metrics",
        "_observed",
        "_request_id",
        "_scope",
        "_send",
        "_started",
        "_turned_down",
        "answered",
        "must",
        "room",
        "status",
    )

    def __init__(self, scope: Scope, send: Send, request_id: bytes, metrics: HttpMetrics) -> None:
        self._started = perf_counter()
        self._scope = scope
        self._send = send
        self._request_id = request_id
        self._metrics = metrics
        self._observed = False
        self._turned_down = False
        self.room: Callable[..., bool] | None = None
        """The server's, if it has one."""
        self.must = False
        """True if the answer is given even where there is no room for it."""
        self.status = 0
        self.answered = False

    async def send(self, message: Message) -> None:
        """Pass on a part of the answer."""
        kind = message["type"]
        if self._turned_down:
            return
        if kind == "http.response.start":
            if self.room is not None and not self._has_room(message):
                self.room = None
                await _no_room()(self._scope, _nothing, self.send)
                self._turned_down = True
                return
            self.status = message["status"]
            message["headers"] = [
                *message.get("headers", ()),
                (REQUEST_ID_HEADER, self._request_id),
            ]
            meter = self._scope.get("meter")
            if meter is not None:
                message["headers"] += header_fields(meter)
        elif kind == "http.response.body" and message.get("more_body"):
            # How long a stream lasts says nothing of how fast the service answers.
            self._observe_once()
        elif kind == "http.response.body":
            # Here and not when the application returns: that is after the background tasks.
            self.answered = True
            self._observe_once()
            log.debug(
                "request answered",
                method=self._scope["method"],
                path=self._scope["path"],
                status=self.status,
            )
        await self._send(message)

    def _has_room(self, start: Message) -> bool:
        for name, value in start.get("headers", ()):
            if name == b"content-length":
                length = min(int(value), self._scope.get(HELD_BYTES, int(value)))
                if length < LARGE_BYTES or self._scope["method"] == "HEAD":
                    return True
                assert self.room is not None
                return self.room(length, must=self.must) or self.must
        return True

    def _observe_once(self) -> None:
        if self._observed:
            return
        self._observed = True
        route = self._scope.get("route")
        self._metrics.observe(
            self._scope["method"],
            UNMATCHED if route is None else route.path,
            self.status,
            perf_counter() - self._started,
        )


def _unexpected(request_id: str) -> Problem:
    return Problem(500, f"{UNEXPECTED} {request_id}", request_id=request_id)


def _no_room() -> Problem:
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Too much of what this worker has answered is still unread; read it, then try again",
        headers={"Retry-After": "1"},
    )


async def _nothing() -> Message:
    raise RuntimeError("a problem asks for no body")
