"""The names of an open journal's files: whether each still leads to the file that was opened."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final, NamedTuple

from afterwards.registry.journal.file import paths_of

SETTLED_SECONDS: Final = 0.1
"""A directory that changed longer ago than this shows its next change by another time: clocks of
file systems go on in steps of up to 10 ms."""


class _Directory(NamedTuple):
    """A state of a directory's names: another after each that is made, moved or removed."""

    device: int
    inode: int
    changed_ns: int
    """st_ctime, which cannot be set."""


class Place:
    """The identity of a journal's files when they were opened.

    Names are looked at, and nothing is opened: closing a second descriptor of a file that SQLite
    has open drops SQLite's locks on it (fcntl(2)).
    """

    def __init__(self, journal: Path) -> None:
        self._opened = [(path, str(path), _identity(str(path))) for path in paths_of(journal)]
        self._directory = str(journal.parent)
        self._settled: _Directory | None = None
        """The directory's state with which all names were right; None: it may change unseen."""

    def astray(self, *, unless_settled: bool = False) -> Path | None:
        """The first file that is not under its name any more; None: all are.

        Args:
            unless_settled: look at the names only if the directory has changed since they were
                right, which is one call instead of four.
        """
        directory = _state(self._directory)
        if unless_settled and directory is not None and directory == self._settled:
            return None
        self._settled = None
        for path, name, opened in self._opened:
            if _identity(name) != opened:
                return path
        if directory is not None and time.time() - directory.changed_ns / 1e9 > SETTLED_SECONDS:
            self._settled = directory
        return None


def _state(directory: str) -> _Directory | None:
    """None: there is no such directory, or it cannot be seen."""
    try:
        found = os.stat(directory)  # noqa: PTH116 - with every commit, and Path doubles its cost
    except OSError:
        return None
    return _Directory(found.st_dev, found.st_ino, found.st_ctime_ns)


def _identity(name: str) -> tuple[int, int] | None:
    """Device and inode of what has this name; None: nothing, or nothing that can be seen."""
    try:
        found = os.stat(name)  # noqa: PTH116 - as above
    except OSError:
        return None
    return found.st_dev, found.st_ino
