"""The calls of coroutines that wait for an answer of the registry: how many there are, how long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from afterwards.errors import AfterwardsError, RegistryUnavailable
from afterwards.registry.client.send_queue import Pending
from afterwards.registry.protocol.requests import Request

WAIT_SECONDS: Final = 3.0
"""The time for which a call waits for a registry that does not answer."""

MAX_WAITING_CALLS: Final = 10_000
MAX_WAITING_BYTES: Final = 64 * 2**20
"""The bound on payloads in waiting calls: an outage of the registry must not fill the memory."""

_EXPIRY_SECONDS: Final = 0.25
_LAST_TRY_SECONDS: Final = 1.0
"""The rest of `WAIT_SECONDS` that another try needs, so that its answer is known in time."""

Answered = Sequence[tuple[asyncio.Future[Any], Any]]
"""Futures that waited for an answer, each with its answer."""


class WaitingCalls:
    """The calls of one event loop that wait; each is answered within `WAIT_SECONDS`, or refused."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pending: dict[Pending, None] = {}
        self._bytes = 0
        self._expiry: asyncio.TimerHandle | None = None

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take calls from this loop."""
        self._loop = loop
        self._expiry = loop.call_later(_EXPIRY_SECONDS, self._expire)

    def unbind(self) -> None:
        """Take no more calls; those that still wait are refused."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._loop = None
        for pending in self._pending:
            _refuse(pending)

    def require_room(self, unsent: int) -> None:
        """See that one more may wait.

        Args:
            unsent: the number of calls that no batch was made of yet. Not of those that wait: while
                nothing is sent, refused ones are still to be sent, too.

        Raises:
            RegistryUnavailable: none may.
        """
        if self._loop is None or unsent >= MAX_WAITING_CALLS or self._bytes >= MAX_WAITING_BYTES:
            raise RegistryUnavailable

    def require_room_to_read(self, unsent: int) -> None:
        """The same for a read, which has no payload."""
        if self._loop is None or unsent >= MAX_WAITING_CALLS:
            raise RegistryUnavailable

    async def answer_to(self, request: Request, put: Callable[[Pending], None]) -> Any:
        """The answer to a request.

        Args:
            put: has it sent.

        Raises:
            AfterwardsError: the answer is an error, or there is none in time.
        """
        assert self._loop is not None
        future: asyncio.Future[Any] = self._loop.create_future()
        pending = Pending(request, future)
        self._pending[pending] = None
        self._bytes += pending.size
        put(pending)
        try:
            answer = await future
        finally:
            self._pending.pop(pending, None)
            self._bytes -= pending.size
            pending.let_go()
        if isinstance(answer, AfterwardsError):
            # Its traceback will lead here, and to all frames up to whoever catches it: if anything
            # in this one led back, what those hold, such as bodies, would wait for the collector.
            del future, pending
            try:
                raise answer
            finally:
                del answer
        return answer

    def refuse_from_thread(self, pending: Pending) -> None:
        """Refuse a call, from any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed() and pending.future is not None:
            loop.call_soon_threadsafe(resolve, [(pending.future, RegistryUnavailable())])

    def _expire(self) -> None:
        assert self._loop is not None
        oldest = time.monotonic() - WAIT_SECONDS
        for pending in list(self._pending):
            if pending.since > oldest:
                break
            _refuse(pending)
            self._pending.pop(pending, None)
        self._expiry = self._loop.call_later(_EXPIRY_SECONDS, self._expire)


def may_be_tried_again(pending: Pending) -> bool:
    """True if a request that could not be carried out can be tried again, and answered in time."""
    return time.monotonic() - pending.since < WAIT_SECONDS - _LAST_TRY_SECONDS


def resolve(answered: Answered) -> None:
    """Wake those that wait for an answer."""
    for future, answer in answered:
        if not future.done():
            future.set_result(answer)


def _refuse(pending: Pending) -> None:
    if pending.future is not None and not pending.future.done():
        pending.future.set_result(RegistryUnavailable())
