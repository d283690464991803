"""One transaction of the journal, and the three ways it can end: written, not written, unknown."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Final

from afterwards.errors import OutcomeUnknown
from afterwards.registry.journal.reasons import PRIMARY, code_of, name_of, refusal

NOT_WRITTEN: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY}
)
"""Primary result codes with which a COMMIT has certainly written nothing that counts.

SQLite gives each of them before the page that ends the transaction is whole in the WAL. With every
other one that page may be there: a sync failed after it was written (IOERR_FSYNC), a write that
failed has arrived all the same (IOERR_WRITE), or it is even synced and SQLite could not take note
of it (IOERR_SHMSIZE, IOERR_SHMMAP, NOMEM). The next recovery would find it.
"""


@contextlib.contextmanager
def transaction(db: sqlite3.Connection, place: str) -> Iterator[None]:
    """Write what the block writes as one transaction, durable at its end.

    Args:
        place: the journal's path, for the log.

    Raises:
        JournalLocked: another process has the lock.
        JournalUnavailable: nothing of it was written.
        OutcomeUnknown: its COMMIT failed, and may have been written. The connection is not to be
            written to any more.
    """
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
        _commit(db, place)
    except OutcomeUnknown:
        # Nothing more is done here: a rollback that failed, too, would hide that.
        raise
    except sqlite3.Error as error:
        _roll_back(db, place)
        raise refusal(error, place) from error
    except BaseException:
        _roll_back(db, place)
        raise


def _roll_back(db: sqlite3.Connection, place: str) -> None:
    # Many errors have rolled it back already, and a second rollback would raise.
    if not db.in_transaction:
        return
    try:
        db.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise refusal(error, place) from error


def _commit(db: sqlite3.Connection, place: str) -> None:
    try:
        db.execute("COMMIT")
    except sqlite3.Error as error:
        if code_of(error) & PRIMARY in NOT_WRITTEN:
            raise
        raise OutcomeUnknown(f"{error} ({name_of(error)})", place) from error
    except MemoryError as error:
        # How the module says SQLITE_NOMEM.
        raise OutcomeUnknown("out of memory (SQLITE_NOMEM)", place) from error
