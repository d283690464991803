"""A client that takes nothing of what is sent to it."""

from __future__ import annotations

import asyncio

from afterwards.server.transport import OneWriteTransport


class StallWatch:
    """Ends a connection whose client has taken nothing for `seconds` while there was something.

    It watches from `begin` until all is taken.
    """

    def __init__(
        self, transport: OneWriteTransport, loop: asyncio.AbstractEventLoop, seconds: float
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._taken_bytes = 0
        """The taken bytes when the timer was set."""

    def begin(self) -> None:
        """Something is left to be taken."""
        if self._timer is None:
            self._taken_bytes = self._transport.taken_bytes
            self._timer = self._loop.call_later(self._seconds, self._look)

    def end(self) -> None:
        """The connection is lost."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if not self._transport.get_write_buffer_size():
            return
        if self._transport.taken_bytes == self._taken_bytes:
            self._transport.abort()
        else:
            self.begin()
