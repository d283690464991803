"""Reads of tasks by id, over a connection of their own: they wait for no commit.

A read is sent when this turn of the event loop is over; what gathers while one batch is in flight
goes with the next. If the connection breaks, what it has not answered takes the way of all other
requests, and so does what comes later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from afterwards.registry.client.channel import Channel, Listener
from afterwards.registry.client.send_queue import Pending

MAX_BATCH_READS: Final = 100
"""Their answers come as one message, and a task may be large."""


class Reader:
    """Has reads answered. Belongs to the event loop.

    Args:
        resolve: is given who waited for an answer, and which it is.
        otherwise: sends a read another way.
        broke: called once at most, with what ended the connection.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        resolve: Callable[[Sequence[tuple[asyncio.Future[Any], Any]]], None],
        otherwise: Callable[[Pending], None],
        broke: Callable[[Exception], None],
    ) -> None:
        self._channel = channel
        self._resolve = resolve
        self._otherwise = otherwise
        self._broke = broke
        self._waiting: deque[Pending] = deque()
        self._in_flight: list[Pending] | None = None
        self._is_woken = False
        self._is_over = False

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take reads; `loop` is the running one."""
        self._loop = loop
        try:
            self._channel.begin(loop, Listener(self._take, self._end))
        except Exception as error:  # noqa: BLE001 - whoever has made it is told
            self._end(error)

    def waiting(self) -> int:
        """The number of reads that were not sent yet."""
        return len(self._waiting)

    def put(self, pending: Pending) -> None:
        """Have a read answered."""
        if self._is_over:
            self._otherwise(pending)
            return
        self._waiting.append(pending)
        if not self._is_woken and self._in_flight is None:
            self._is_woken = True
            self._loop.call_soon(self._send)

    def close(self) -> None:
        """Send nothing more this way."""
        if self._is_over:
            return
        self._is_over = True
        unanswered = [*(self._in_flight or ()), *self._waiting]
        self._in_flight = None
        self._waiting.clear()
        try:
            self._channel.close()
        finally:
            for pending in unanswered:
                if not pending.is_abandoned():
                    self._otherwise(pending)

    def _send(self) -> None:
        self._is_woken = False
        batch: list[Pending] = []
        while self._waiting and len(batch) < MAX_BATCH_READS:
            pending = self._waiting.popleft()
            if not pending.is_abandoned():
                batch.append(pending)
        if self._is_over or not batch:
            return
        self._in_flight = batch
        try:
            self._channel.send([pending.request for pending in batch])
        except Exception as error:  # noqa: BLE001 - whoever has made it is told
            self._end(error)

    def _take(self, answers: Sequence[Any]) -> None:
        batch, self._in_flight = self._in_flight or [], None
        self._resolve(
            [
                (pending.future, answer)
                for pending, answer in zip(batch, answers, strict=True)
                if pending.future is not None
            ]
        )
        self._send()

    def _end(self, error: Exception) -> None:
        if not self._is_over:
            self.close()
            self._broke(error)
