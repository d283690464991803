"""The transport that the web worker writes its answers to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

MOST_KEPT_BYTES: Final = 64 * 1024
"""More than this does not wait for the loop."""


class OneWriteTransport:
    """A transport that puts together what is written in one go.

    uvicorn writes an answer's head and its body apart, and uvloop sends each at once: two system
    calls and two packets an answer.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self.on_close: Callable[[], None] = lambda: None
        """Called when it is told to close."""
        self._parts: list[bytes] = []
        self._kept_bytes = 0
        self._handed_bytes = 0

    @property
    def taken_bytes(self) -> int:
        """The number of bytes that the client, or the system for it, has taken so far."""
        return self._handed_bytes - self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        """Send the data, with what else is written before the loop goes on.

        What is much goes at once: data that is kept here pauses no writer.
        """
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)
        self._kept_bytes += len(data)
        if self._kept_bytes > MOST_KEPT_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            self._kept_bytes = 0
            # Its client may have gone since.
            if not self._transport.is_closing():
                self._handed_bytes += len(data)
                self._transport.write(data)

    def write_eof(self) -> None:
        """Say that nothing else will be sent."""
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Send what was written, then close."""
        self._flush()
        self._transport.close()
        self.on_close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
