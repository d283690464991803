"""The names of an open journal's files: whether each still leads to the file that was opened."""

from __future__ import annotations

import os
from pathlib import Path

from afterwards.registry.journal.file import paths_of


class Place:
    """What the files of a journal were when it was opened.

    Names are looked at, and nothing is opened: whoever closes a second descriptor of a file that
    SQLite has open drops SQLite's locks on it (fcntl(2)).
    """

    def __init__(self, journal: Path) -> None:
        self._opened = [(path, str(path), _identity(str(path))) for path in paths_of(journal)]

    def astray(self) -> Path | None:
        """The first file that is not under its name any more; None: all are."""
        for path, name, opened in self._opened:
            if _identity(name) != opened:
                return path
        return None


def _identity(name: str) -> tuple[int, int] | None:
    """Device and inode of what has this name; None: nothing, or nothing that can be seen."""
    try:
        found = os.stat(name)  # noqa: PTH116 - three with every commit, and Path doubles their cost
    except OSError:
        return None
    return found.st_dev, found.st_ino
