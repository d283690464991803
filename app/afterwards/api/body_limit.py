"""A limit to the bodies of requests. Plain ASGI."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from afterwards.api.problems import Problem

DISCARD_SECONDS: Final = 1.0
DISCARD_FACTOR: Final = 16
"""The part of a refused body that is still received, so that its sender gets to read the answer:
for so long and so many times the limit."""

_MANY_DIGITS: Final = 19
"""More than any real length has; `int` refuses thousands of them."""


class BodyLimit:
    """Refuses bodies of more than `max_body_bytes`.

    What announces its length is refused at once; everything is counted while it is read, because
    the announcement may be missing or wrong. The connection is closed then: the rest of the body
    is still to come, and would be taken for the next request.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _LimitedExchange(receive, send, self._max_body_bytes)
        if _announced_bytes(scope) > self._max_body_bytes:
            # Who asks before sending has nothing under way that would need to be received.
            refusal = exchange.refuse(more_to_come=not _asks_first(scope))
            answer = Problem(413, refusal.detail, headers=refusal.headers)
            await answer(scope, exchange.receive, exchange.send)
            return
        await self._app(scope, exchange.receive, exchange.send)


class _LimitedExchange:
    """One request, its body counted; and its refusal, in a way that reaches the client.

    Closing a connection with unread data in it resets it, and a reset takes the answer from a
    client that is still sending. So the answer goes out whole, then the body is received and
    dropped for a while, and only then the answer is declared complete, whereupon the server closes.
    """

    __slots__ = ("_limit", "_more_to_come", "_read", "_receive", "_refused", "_send")

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive = receive
        self._send = send
        self._limit = limit
        self._read = 0
        self._refused = False
        self._more_to_come = True

    def refuse(self, *, more_to_come: bool) -> HTTPException:
        """From here on, no answer but this one is to be sent."""
        self._refused = True
        self._more_to_come = more_to_come
        return HTTPException(
            413,
            f"The body has more than {self._limit} bytes, the limit of AFTERWARDS_MAX_BODY_BYTES",
            {"Connection": "close"},
        )

    async def receive(self) -> Message:
        """A part of the body. Raises the refusal at the limit."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            if self._read > self._limit:
                raise self.refuse(more_to_come=message.get("more_body", False))
        return message

    async def send(self, message: Message) -> None:
        """Pass on a part of the answer."""
        if (
            self._more_to_come
            and self._refused
            and message["type"] == "http.response.body"
            and not message.get("more_body")
        ):
            await self._send({**message, "more_body": True})
            await self._discard()
            message = {"type": "http.response.body"}
        await self._send(message)

    async def _discard(self) -> None:
        left = DISCARD_FACTOR * self._limit
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_SECONDS):
                while left > 0 and self._more_to_come:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    self._more_to_come = message.get("more_body", False)


def _announced_bytes(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            if not value.isdigit():
                return 0
            return int(value) if len(value) < _MANY_DIGITS else sys.maxsize
    return 0


def _asks_first(scope: Scope) -> bool:
    """True if the client waits for leave to send its body (RFC 9110, 10.1.1)."""
    return any(
        name == b"expect" and value.lower() == b"100-continue" for name, value in scope["headers"]
    )
