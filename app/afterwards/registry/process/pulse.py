"""Signs of life: a child writes a byte a second into a pipe, and its parent listens.

A thread of its own writes it, which commits nothing: a registry that waits for a lock or a disk
lives. One that is stopped (SIGSTOP) serves no one, and does not end by itself either.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import Final

from afterwards.registry.protocol.clock import Clock, SystemClock

SILENT_SECONDS: Final = 10.0
"""After so long without a sign of life a child is taken for stopped."""

FIRST_SECONDS: Final = 60.0
"""The same until its first one: a cold disk may take a while to give the interpreter."""

_BEAT_SECONDS: Final = 1.0
_READ_BYTES: Final = 4096


def beat(fd: int) -> None:
    """Give signs of life through `fd` until the process ends, or its parent is gone."""
    os.set_blocking(fd, False)
    threading.Thread(target=_beat, args=[fd], name="pulse", daemon=True).start()


def _beat(fd: int) -> None:
    while True:
        try:
            # A parent that is stopped itself lets the pipe fill; it finds enough of them there.
            with contextlib.suppress(BlockingIOError):
                os.write(fd, b".")
        except BrokenPipeError:
            return
        time.sleep(_BEAT_SECONDS)


class Pulse:
    """The parent's end of the pipe.

    Args:
        clock: silence is measured in `running` seconds: while the parent, or the whole machine,
            was stopped itself, it could not have heard anything.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._reader, self.writer = os.pipe()
        """`writer` is for the child; `started` closes it here."""
        os.set_blocking(self._reader, False)
        self._silent_after = self._clock.running() + FIRST_SECONDS
        self._has_beaten = False

    def started(self) -> None:
        """The child has its end of the pipe."""
        os.close(self.writer)

    def is_silent(self) -> bool:
        """True if the child has been silent for too long; to be asked every second or so."""
        now = self._clock.running()
        try:
            heard = os.read(self._reader, _READ_BYTES)
        except BlockingIOError:
            heard = b""
        if heard:
            self._has_beaten = True
            self._silent_after = now + SILENT_SECONDS
        return now >= self._silent_after

    def is_beating(self) -> bool:
        """True from the child's first sign of life until it is silent."""
        return not self.is_silent() and self._has_beaten

    def close(self) -> None:
        """Stop listening."""
        os.close(self._reader)
