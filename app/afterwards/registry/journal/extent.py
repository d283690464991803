"""The extent of an open journal's files, which tells that one was cut short."""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path
from typing import Final, NamedTuple

from afterwards.registry.journal.file import paths_of

_HEADER: Final = struct.Struct("=14xHII8x8s8x")
"""The header of the WAL's index, in the machine's byte order: page size, last committed frame,
pages of the journal as of that, salts (https://www.sqlite.org/walformat.html, 2.1). It is there
twice."""

_WAL_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24
_SALTS: Final = slice(16, 24)
"""The place of the salts in the WAL's header; every WAL that begins anew has others."""


class _Index(NamedTuple):
    page_bytes: int
    frames: int
    pages: int
    salts: bytes

    def wal_bytes(self) -> int:
        return _WAL_HEADER_BYTES + self.frames * (_FRAME_HEADER_BYTES + self.page_bytes)


class Extent:
    """The extent that the journal's files must have, by the index that SQLite keeps of the WAL.

    The index is changed before a file is cut by anybody who may: a checkpoint that empties the WAL,
    of whatever process, notes first that it has no frames, and VACUUM that there are fewer pages. A
    WAL that was emptied and then written on has a hole where its header was.

    The index and the WAL are opened. Closing the index drops SQLite's locks (fcntl(2)): `close`
    comes after the last connection's. The journal itself is only looked at, by its name.
    """

    def __init__(self, journal: Path) -> None:
        self._journal, self._wal, index = paths_of(journal)
        self._name = str(journal)
        with contextlib.ExitStack() as opened:
            self._index_fd = os.open(index, os.O_RDONLY | os.O_CLOEXEC)
            opened.callback(os.close, self._index_fd)
            self._wal_fd = os.open(self._wal, os.O_RDONLY | os.O_CLOEXEC)
            opened.callback(os.close, self._wal_fd)
            self._bytes = journal.stat().st_size
            self._opened = opened.pop_all()

    def cut(self) -> Path | None:
        """The file that holds less than it did; None: neither does, or it cannot be told now.

        To be asked while the names lead to the files that are open, by the thread that writes.
        """
        try:
            before = self._index()
            if before is None:
                return None
            found = self._shorter_than(before)
            # Another process may just have emptied the WAL, which its index says by now.
            return found if self._index() == before else None
        except OSError:
            # A name that is just gone, or a disk that fails: said by whoever needs it.
            return None

    def close(self) -> None:
        """Close what was opened for this."""
        self._opened.close()

    def _shorter_than(self, index: _Index) -> Path | None:
        if index.frames:
            size = os.fstat(self._wal_fd).st_size
            header = os.pread(self._wal_fd, _WAL_HEADER_BYTES, 0)
            if size < index.wal_bytes() or header[_SALTS] != index.salts:
                return self._wal
        # New pages are in the WAL alone until a checkpoint, so only what was there has to be.
        size = os.stat(self._name).st_size  # noqa: PTH116 - as in `place`
        if size < min(self._bytes, index.pages * index.page_bytes):
            return self._journal
        self._bytes = size
        return None

    def _index(self) -> _Index | None:
        both = os.pread(self._index_fd, 2 * _HEADER.size, 0)
        if len(both) < 2 * _HEADER.size or both[: _HEADER.size] != both[_HEADER.size :]:
            # Another process is just writing it.
            return None
        size, frames, pages, salts = _HEADER.unpack_from(both)
        # 65,536 is written as 1.
        return _Index(size if size > 1 else 65_536, frames, pages, salts)
