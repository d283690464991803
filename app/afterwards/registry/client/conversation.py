"""One connection of a worker to its registry, once it has joined: kept by the event loop.

One exchange is in flight at a time, and what gathers meanwhile goes with the next, at once. So a
`Beat` goes only with nothing in flight, and lists all that was delivered (rules 4 and 5).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Final

from afterwards.registry.client.channel import Channel, Listener
from afterwards.registry.client.client import RegistryClient
from afterwards.registry.client.send_queue import Pending
from afterwards.registry.client.waiting_calls import resolve
from afterwards.registry.client.worker_side import ClaimHolder
from afterwards.registry.protocol.answers import Reply

IDLE_SECONDS: Final = 0.25
"""The period in which it is checked whether a beat, progress or a deferred request is due."""


class Conversation:
    """The calls over one channel, one after the other.

    Everything but `wake` belongs to the event loop.

    Args:
        heard: called after each answer; whether to go on.
        ended: called once, with what ended it; None: it was over.
    """

    def __init__(
        self,
        channel: Channel,
        client: RegistryClient,
        holder: ClaimHolder,
        *,
        heard: Callable[[], bool],
        ended: Callable[[Exception | None], None],
    ) -> None:
        self._channel = channel
        self._client = client
        self._holder = holder
        self._heard = heard
        self._ended = ended
        self._in_flight: list[Pending] | None = None
        self._is_woken = False
        self._is_over = False
        self._look_again: asyncio.TimerHandle | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Go on where the thread that has joined stops; `loop` is the running one."""
        self._loop = loop
        self._thread = threading.get_ident()
        try:
            self._channel.begin(loop, Listener(self._take, self._end))
            self._client.listen(self.wake)
            self._look()
        except Exception as error:  # noqa: BLE001 - judged where it is made again
            self._end(error)

    def wake(self) -> None:
        """Send what has gathered when this turn of the loop is over. From any thread."""
        if self._is_woken or self._in_flight is not None:
            # Whatever lowers the flag, or ends the flight, looks for what is to be sent afterwards.
            return
        self._is_woken = True
        try:
            if threading.get_ident() == self._thread:
                self._loop.call_soon(self._send)
            else:
                self._loop.call_soon_threadsafe(self._send)
        except (RuntimeError, MemoryError):
            # The loop is closed, or goes to look by itself.
            self._is_woken = False

    def _look(self) -> None:
        if self._is_over:
            return
        try:
            self._holder.sweep()
            self._look_again = self._loop.call_later(IDLE_SECONDS, self._look)
        except Exception as error:  # noqa: BLE001 - as above
            self._end(error)
        else:
            self._send()

    def _send(self) -> None:
        self._is_woken = False
        if self._in_flight is not None or self._is_over:
            return
        try:
            batch = self._client.next_batch()
            if batch is not None:
                self._in_flight = batch
                self._channel.send([pending.request for pending in batch])
        except Exception as error:  # noqa: BLE001 - as above
            self._end(error)

    def _take(self, reply: Reply) -> None:
        batch, self._in_flight = self._in_flight, None
        try:
            assert batch is not None
            resolve(self._client.settle(batch, reply))
            goes_on = self._heard()
        except Exception as error:  # noqa: BLE001 - as above
            self._end(error)
            return
        if goes_on:
            self._send()
        else:
            self._end(None)

    def _end(self, error: Exception | None) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._client.listen(None)
        if self._look_again is not None:
            self._look_again.cancel()
        try:
            self._channel.close()
        finally:
            self._ended(error)
