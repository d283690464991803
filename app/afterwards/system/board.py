"""Something that one process publishes, and those that were forked from it read: the latest."""

from __future__ import annotations

import os
import struct
import zlib
from typing import Final, NamedTuple

_HEAD: Final = struct.Struct("=QQI")
"""Number, length and checksum of what is published."""


class Notice(NamedTuple):
    """What was published."""

    number: int
    data: bytes


class Board:
    """Memory that a process shares with those it forks. One of them publishes.

    No reader waits for it, nor for another: what is being written is not seen yet, and the former
    one is not seen any more.

    Raises:
        OSError: descriptors or memory have run out.
    """

    def __init__(self) -> None:
        self._fd = os.memfd_create("afterwards-board")

    def publish(self, notice: Notice) -> None:
        """Publish something in the place of what was there.

        Raises:
            OSError: memory has run out; what was there may be gone.
        """
        _write(self._fd, notice.data, _HEAD.size)
        # Last: whoever reads the new number finds the rest, or sees that it does not fit.
        head = _HEAD.pack(notice.number, len(notice.data), zlib.crc32(notice.data))
        _write(self._fd, head, 0)

    def read(self, after: int) -> Notice | None:
        """What is there, if its number is higher than `after`; None: nothing, or not yet."""
        head = os.pread(self._fd, _HEAD.size, 0)
        if len(head) < _HEAD.size:
            return None
        number, length, checksum = _HEAD.unpack(head)
        if number <= after or length > os.fstat(self._fd).st_size:
            return None
        data = os.pread(self._fd, length, _HEAD.size)
        return Notice(number, data) if zlib.crc32(data) == checksum else None

    def close(self) -> None:
        """Give this process' hold on it up."""
        os.close(self._fd)


def _write(fd: int, data: bytes, at: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(fd, rest, at)
        rest, at = rest[written:], at + written
