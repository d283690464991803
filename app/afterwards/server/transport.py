"""The transport that the web worker writes its answers to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class OneWriteTransport:
    """A transport that puts together what is written in one go.

    uvicorn writes an answer's head and its body apart, and uvloop sends each at once: two system
    calls and two packets an answer.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._on_close = on_close
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
        self._on_close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
