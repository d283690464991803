"""Something that one process publishes, and those that were forked from it read: the latest."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import zlib
from typing import Final, NamedTuple

_HEAD: Final = struct.Struct("=QQI")
"""Number, length and checksum of what is published."""

_TAKEN: Final = struct.Struct("=QQ")
"""A process, and the number that it has taken."""


class Notice(NamedTuple):
    """The message that was published."""

    number: int
    data: bytes


class Board:
    """Memory that a process shares with those it forks. One of them publishes.

    No reader waits for it, nor for another: what is being written is not seen yet, and the former
    one is not seen any more. Readers tell what they have taken.

    Raises:
        OSError: descriptors or memory have run out.
    """

    def __init__(self) -> None:
        self._fd = os.memfd_create("afterwards-board")
        try:
            self._takers = os.memfd_create("afterwards-takers")
        except BaseException:
            os.close(self._fd)
            raise
        fcntl.fcntl(self._takers, fcntl.F_SETFL, os.O_APPEND)

    def publish(self, notice: Notice) -> None:
        """Publish something in the place of what was there.

        Raises:
            OSError: memory has run out; what was there may be gone.
        """
        os.ftruncate(self._takers, 0)
        _write(self._fd, notice.data, _HEAD.size)
        # Last: whoever reads the new number finds the rest, or sees that it does not fit.
        head = _HEAD.pack(notice.number, len(notice.data), zlib.crc32(notice.data))
        _write(self._fd, head, 0)

    def read(self, after: int) -> Notice | None:
        """The notice, if its number is higher than `after`; None: there is none, or not yet."""
        head = os.pread(self._fd, _HEAD.size, 0)
        if len(head) < _HEAD.size:
            return None
        number, length, checksum = _HEAD.unpack(head)
        if number <= after or length > os.fstat(self._fd).st_size:
            return None
        data = os.pread(self._fd, length, _HEAD.size)
        return Notice(number, data) if zlib.crc32(data) == checksum else None

    def take(self, number: int) -> None:
        """Tell that this process has what was published under that number. Never raises."""
        with contextlib.suppress(OSError):  # then it is waited for in vain, for a while
            os.write(self._takers, _TAKEN.pack(os.getpid(), number))

    def takers(self, number: int) -> set[int]:
        """The processes that have told so of this number, or of a later one."""
        told = os.pread(self._takers, os.fstat(self._takers).st_size, 0)
        whole = told[: len(told) // _TAKEN.size * _TAKEN.size]
        return {pid for pid, taken in _TAKEN.iter_unpack(whole) if taken >= number}

    def close(self) -> None:
        """Give this process' hold on it up."""
        os.close(self._fd)
        os.close(self._takers)


def _write(fd: int, data: bytes, at: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(fd, rest, at)
        rest, at = rest[written:], at + written
