"""What can be done for the tasks of an open journal whose files have lost their names."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path
from typing import Final

from afterwards.logs import get_logger
from afterwards.registry.journal.file import sync, wal_path

log = get_logger(__name__)

TODO: Final = (
    "move it back, and the service goes on; if it is gone for good, stop the service (SIGTERM, not "
    "SIGKILL): it saves all its tasks beside it as it ends, for `afterwards restore`"
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
        return "restart the service; all tasks are in the journal itself"
    return "move it back, or restart the service (SIGTERM, not SIGKILL): it saves its tasks then"


def save(db: sqlite3.Connection, journal: Path) -> None:
    """Copy a journal that ends with its process, because its file has no name any more.

    Its WAL stays for the file to be moved back to; another journal at its place would be spoilt
    by it, so then it gets another name. Failures are logged: nothing else can be done.
    """
    name = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f"{journal.name}.rescued-", dir=journal.parent)
        os.close(descriptor)
        with contextlib.closing(sqlite3.connect(name)) as copy:
            db.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
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
