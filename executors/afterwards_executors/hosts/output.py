"""The output of a host and its children on the standard descriptors: lines, up to a budget."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

from afterwards_executors.budget import Budget

MAX_LINE_BYTES: Final = 4_000
READ_BYTES_A_SECOND: Final = 16 * 1024 * 1024
"""The bound on what is read of a host's output. A host that writes more has to wait, and so does
everything else on its event loop. Output that is read beyond the budget is dropped."""

_CHUNK_BYTES: Final = 64 * 1024


class Output:
    """Reads a pipe line by line, on an event loop.

    Args:
        fd: not blocking; it stays its owner's.
        on_line: called with each line.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, fd: int, on_line: Callable[[str], None]
    ) -> None:
        self._loop = loop
        self._fd = fd
        self._on_line = on_line
        self._budget = Budget()
        self._begun = b""
        self._is_long = False
        """True if the current line has been passed on as far as it may be."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._loop.add_reader(fd, self._read)

    def close(self) -> None:
        """Read what is there, say the line that was begun, and no more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._fd)
        # As much as a pipe holds, whoever goes on to write.
        self._take()
        if self._begun:
            self._say(self._begun)
            self._begun = b""

    def _read(self) -> None:
        size = self._take()
        if size in {0, _CHUNK_BYTES}:
            self._loop.remove_reader(self._fd)
        if size == _CHUNK_BYTES:
            self._timer = self._loop.call_later(size / READ_BYTES_A_SECOND, self._read_again)

    def _read_again(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._fd, self._read)

    def _take(self) -> int:
        """Read a part of the pipe; 0: no writer is left."""
        try:
            part = os.read(self._fd, _CHUNK_BYTES)
        except BlockingIOError:
            return 1
        except OSError:
            return 0
        *lines, rest = part.split(b"\n")
        for line in lines:
            if not self._is_long:
                self._say(self._begun + line)
            self._begun, self._is_long = b"", False
        if not self._is_long:
            self._begun += rest
            if len(self._begun) > MAX_LINE_BYTES:
                self._say(self._begun)
                self._begun, self._is_long = b"", True
        return len(part)

    def _say(self, line: bytes) -> None:
        line = line[:MAX_LINE_BYTES]
        if self._budget.take(len(line) + 1):
            if (gap := self._budget.gap()) is not None:
                self._on_line(gap)
            self._on_line(line.decode(errors="replace"))
