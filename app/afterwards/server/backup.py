"""Backups of the journal: made while the service runs, put back while it does not.

Root does here nothing in a directory of another user that this user could not do.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from afterwards.encryption_keys import EncryptionKeys
from afterwards.errors import JournalError, NotBackedUp, NotDurable, NotRestored
from afterwards.registry.journal.encryption import key_ids
from afterwards.registry.journal.file import (
    COMPANIONS,
    inspect,
    journal_path,
    reading,
    require_regular,
    sync,
)
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.registry.process.lock import unserved
from afterwards.system.owners import as_owner_of


def back_up(data_dir: Path, file: Path) -> int:
    """Copy the journal to `file`, whether or not a service works on it.

    The copy holds every task that was acknowledged before the call. It is one file, mode 0600,
    found sound and synced before it takes the place of an earlier one.

    Returns:
        How many unfinished tasks it holds.

    Raises:
        JournalError: the journal is not sound.
        NotBackedUp: there is none, or the copy cannot be written.
        NotDurable: the copy is in its place, and a crash may undo that.
    """
    journal = journal_path(data_dir)
    try:
        with as_owner_of(data_dir):
            place = data_dir.resolve()
            if not inspect(journal, check=False):
                raise NotBackedUp(str(file), f"there is no journal in {data_dir}; set --data-dir")
        with as_owner_of(file):
            if file.exists() and not file.is_file():
                raise NotBackedUp(str(file), "it is no regular file; choose another name")
            # The file and not a link to it is replaced.
            file = file.resolve()
            if file.parent == place:
                # One mistaken for the journal would replace it under the running service.
                raise NotBackedUp(str(file), "it would lie in the data directory; choose another")
            with _beside(file) as copy:
                unfinished = _copy(journal, copy)
                sync(copy)
                _put(copy, file)
    except (OSError, sqlite3.Error) as error:
        raise NotBackedUp(str(file), _reason(error)) from None
    return unfinished


class Restored(NamedTuple):
    """A backup that is in the journal's place, and the journal that it has replaced."""

    unfinished: int
    """Tasks."""
    former: Path | None
    """The file that the former journal is kept in; None: there was none."""
    missing_keys: Sequence[str] = ()
    """Ids of the keys that the service needs to start with it, and that are not given here."""


def restore(data_dir: Path, file: Path, keys: EncryptionKeys | None = None) -> Restored:
    """Put a backup in the journal's place, in one step.

    Args:
        keys: what is given here; the backup is restored as it is, whether or not they fit.

    Raises:
        RegistryLocked: a service works on the data directory.
        NotRestored: `file` is no sound journal of this or an earlier version, or cannot be copied.
        NotDurable: it is restored, and a crash may undo that.
    """
    journal = journal_path(data_dir)
    try:
        with as_owner_of(file), file.open("rb"):
            # What is missing or forbidden is said better than SQLite would say it.
            pass
        with as_owner_of(data_dir):
            _make(data_dir)
            with unserved(data_dir), _beside(journal) as copy:
                require_regular(journal)
                unfinished = _copy(file, copy)
                with contextlib.closing(reading(copy)) as db:
                    used = key_ids(db)
                # Before the journal's files are touched: a disk that fails now has changed nothing.
                sync(copy)
                former = _keep_former(journal)
                _put(copy, journal)
    except JournalError as error:
        raise NotRestored(str(file), error.problem) from None
    except (OSError, sqlite3.Error) as error:
        raise NotRestored(str(file), _reason(error)) from None
    given = {} if keys is None else keys.by_id
    return Restored(unfinished, former, [key_id for key_id in used if key_id not in given])


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """An empty file of mode 0600 in the same directory, removed unless it was moved."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


@contextlib.contextmanager
def _read(source: Path) -> Iterator[sqlite3.Connection]:
    """A journal as last committed; it may be somebody else's than what is worked on."""
    with as_owner_of(source):
        original = reading(source)
    try:
        with as_owner_of(source):
            # All that is ever opened for it is opened here, with the rights of its owner.
            original.execute("BEGIN")
            original.execute("SELECT count(*) FROM sqlite_master").fetchone()
        yield original
    finally:
        with as_owner_of(source):
            original.close()


def _copy(source: Path, copy: Path) -> int:
    """Copy a journal as last committed, and see that the copy is sound; count the unfinished."""
    with _read(source) as original, contextlib.closing(sqlite3.connect(copy)) as db:
        # In one step: nobody waits for it; only the WAL grows meanwhile.
        original.backup(db)
        # Out of WAL mode it is one file, which can be read where nothing can be written.
        db.execute("PRAGMA journal_mode = DELETE")
    try:
        holds_journal = inspect(copy, check=True)
    except JournalError as error:
        raise JournalError(str(source), error.problem) from None
    if not holds_journal:
        raise JournalError(str(source), "it is empty")
    with contextlib.closing(reading(copy)) as db:
        rows = db.execute("SELECT count(*) FROM tasks WHERE finished_at IS NULL")
        unfinished: int = rows.fetchone()[0]
    return unfinished


def _keep_former(journal: Path) -> Path | None:
    """Give the journal a second name, and take its WAL away from the first.

    SQLite would play a WAL that stayed there into the restored file. At every moment there is a
    journal in its place: a service started without one would begin with an empty one.
    """
    # Opened and closed, a sound one has its WAL in it. A damaged one stays as it is, in both parts.
    # One that is encrypted is closed as soon as its keys are missed.
    with contextlib.suppress(JournalError):
        if journal.exists():
            SqliteJournal(journal).close()
    former = journal.with_name(f"{journal.name}.replaced")
    former.unlink(missing_ok=True)
    for companion in COMPANIONS:
        kept = former.with_name(former.name + companion)
        try:
            journal.with_name(journal.name + companion).replace(kept)
        except FileNotFoundError:
            kept.unlink(missing_ok=True)
    if not journal.exists():
        return None
    former.hardlink_to(journal)
    return former


def _put(copy: Path, path: Path) -> None:
    """Move a synced file to its place so that a crash leaves the old one or the new one.

    Raises:
        NotDurable: it is there, and a crash may undo that.
    """
    copy.replace(path)
    try:
        sync(path.parent)
    except OSError as error:
        raise NotDurable(str(path), error.strerror or str(error)) from None


def _make(data_dir: Path) -> None:
    """Make the data directory, and what is missing above it, if it is not there."""
    if not data_dir.is_dir():
        _make(data_dir.parent)
        data_dir.mkdir(mode=0o700)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.strerror} ({error.filename})"
    return str(error)
