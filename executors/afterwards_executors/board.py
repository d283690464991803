"""The page of memory on which a host counts the calls that have begun, for its parent to read.

The host writes before a call can do anything, so whatever the call does to the process, it is known
that it had begun. A message would tell the same, at the price of waking the parent for each call.
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import Final, NamedTuple

# The count last: once it is there, the other is as well.
_LAYOUT: Final = struct.Struct("=dQ")


class Begun(NamedTuple):
    """The contents of the page; zeros at first."""

    kept_seconds: float
    """The time for which its event loop had been kept from its work by then."""
    calls: int
    """The number of its calls that have begun, in their order on the wire."""


class Board:
    """The parent's side.

    Raises:
        OSError: descriptors or memory have run out.
    """

    def __init__(self) -> None:
        self._fd = os.memfd_create("begun-calls")
        try:
            os.ftruncate(self._fd, _LAYOUT.size)
        except OSError:
            os.close(self._fd)
            raise

    def fileno(self) -> int:
        """The descriptor that the host inherits."""
        return self._fd

    def read(self) -> Begun:
        """The present contents of the page."""
        return Begun(*_LAYOUT.unpack(os.pread(self._fd, _LAYOUT.size, 0)))

    def close(self) -> None:
        """Free it."""
        os.close(self._fd)


class Pen:
    """The host's side; takes the descriptor over."""

    def __init__(self, fd: int) -> None:
        self._page = mmap.mmap(fd, _LAYOUT.size)
        os.close(fd)
        self._calls = 0

    def write(self, calls: int, kept_seconds: float) -> None:
        """So many calls more begin now."""
        self._calls += calls
        _LAYOUT.pack_into(self._page, 0, kept_seconds, self._calls)
