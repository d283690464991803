"""Rescue of an open journal's tasks after its files have lost names or content."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path
from typing import Final

from afterwards.logs import get_logger
from afterwards.registry.journal.file import paths_of, sync, wal_path

log = get_logger(__name__)

ADVICE: Final = (
    "move it back, and the service goes on; if it is gone for good, stop the service (SIGTERM, not "
    "SIGKILL): it saves all its tasks beside it as it ends, for `afterwards restore`"
)


_RESTART: Final = "restart the service; all tasks are in the journal itself"

_CUT: Final = (
    "what it held cannot be put together again: stop the service (SIGTERM), which leaves the files "
    "as they are, and restore a backup"
)


def move_into_file(db: sqlite3.Connection) -> str:
    """Move the WAL into the file, which is in its place: the next process opens no other.

    Returns:
        What is left to do.
    """
    try:
        _, pages, moved = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    except sqlite3.Error as error:
        log.error("the WAL cannot be moved into the journal", error=str(error))
        pages, moved = -1, 0
    if pages == moved:
        return _RESTART
    return "move it back, or restart the service (SIGTERM, not SIGKILL): it saves its tasks then"


def replace(db: sqlite3.Connection, journal: Path) -> str:
    """Put a journal that was cut short together again, in its place, from what `db` remembers.

    Args:
        db: the connection that wrote. Its cache has room for more pages than the WAL usually has
            before they are moved into the file, so it seldom needs what was cut.

    Returns:
        What is left to do.
    """
    name = None
    try:
        name = _empty_file(journal)
        _copy(db, name)
        sync(Path(name))
        Path(name).replace(journal)
        # Until here they are no worse beside the copy: cut, or of the same tasks.
        for companion in paths_of(journal)[1:]:
            companion.unlink(missing_ok=True)
        sync(journal.parent)
    except (OSError, sqlite3.Error) as error:
        log.error("a journal that was cut short cannot be copied", error=str(error))
        if name is not None:
            Path(name).unlink(missing_ok=True)
        return _CUT
    return _RESTART


def _empty_file(journal: Path) -> str:
    descriptor, name = tempfile.mkstemp(prefix=f"{journal.name}.rescued-", dir=journal.parent)
    os.close(descriptor)
    return name


def _copy(db: sqlite3.Connection, name: str) -> None:
    """Copy a journal into one file.

    Raises:
        sqlite3.Error: it cannot be read, or what was read is damaged.
    """
    with contextlib.closing(sqlite3.connect(name)) as copy:
        db.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
        (verdict,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)


def save(db: sqlite3.Connection, journal: Path) -> None:
    """Copy a journal that ends with its process, because its file has no name any more.

    Its WAL stays for the file to be moved back to; another journal at its place would be spoilt
    by it, so then it gets another name. Failures are logged: nothing else can be done.
    """
    name = None
    try:
        name = _empty_file(journal)
        _copy(db, name)
        sync(Path(name))
        if journal.exists() and wal_path(journal).exists():
            wal_path(journal).replace(f"{name}.former-wal")
        sync(journal.parent)
    except (OSError, sqlite3.Error) as error:
        log.critical(
            "the journal's file has no name, and its tasks cannot be saved",
            path=str(journal),
            incomplete=name,
            error=str(error),
        )
        return
    log.critical(
        "the journal's file had no name; its tasks are saved elsewhere",
        path=str(journal),
        saved=name,
        todo=f"with the service stopped: afterwards restore {name}",
    )
