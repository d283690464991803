"""The journal's file: opened if it is sound and ours, made or brought up to date if need be."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from afterwards.errors import JournalError
from afterwards.logs import get_logger
from afterwards.registry.journal import failures
from afterwards.registry.journal.reasons import PRIMARY, code_of
from afterwards.registry.journal.schema import APPLICATION_ID, MIGRATIONS, SCHEMA, VERSION

log = get_logger(__name__)

COMPANIONS: Final = ("-wal", "-shm")
"""The endings of the files that SQLite keeps beside a file, under its name."""

WAL_BYTES_KEPT: Final = 64 * 2**20

CHECKPOINT_PAGES: Final = 8_000
"""So large (32 MB) the WAL gets before a commit moves it into the file. Ids are random, and so are
the pages of their index that this has to write: beside a million tasks half as many bytes as with
SQLite's own 1,000 pages, for which every eightieth commit had to wait under load."""

LOCK_MILLISECONDS: Final = 100
"""The time for which a group waits for another process that has the journal's lock. All other calls
to the registry wait with it."""

_BLOCK_BYTES: Final = 2**20


def journal_path(data_dir: Path) -> Path:
    """The journal's path in a data directory."""
    return data_dir / "journal.sqlite3"


def wal_path(path: Path) -> Path:
    """The write-ahead log of a journal."""
    return path.with_name(f"{path.name}-wal")


def paths_of(path: Path) -> tuple[Path, Path, Path]:
    """The three files of a journal: itself, its write-ahead log and the index of that."""
    return path, wal_path(path), path.with_name(f"{path.name}-shm")


def size_of_file(path: Path) -> int:
    """In bytes; 0 if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def connect(path: Path, *, mode: str = "rwc") -> sqlite3.Connection:
    """A connection for any thread, one at a time; transactions are begun by hand.

    Args:
        mode: as in SQLite's URIs: `rwc`, or `ro` for one that leaves the files as they are, even
            if it is the last to be closed.
    """
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, isolation_level=None, check_same_thread=False, uri=True)
    connection.execute("PRAGMA busy_timeout = 5000")
    return connection


def reading(path: Path) -> sqlite3.Connection:
    """A connection that leaves the file and its WAL as they are.

    One that may write moves the WAL into the file when it is closed, and the repair of a damaged
    file needs both as they were.
    """
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def sync_again(path: Path) -> None:
    """Write the WAL that an earlier process left once more as it is read, and sync it.

    After a failed sync the kernel may hold as written what the disk does not have, and no later
    sync tells (fsync(2)). What recovery reads, and the service then acknowledges, and all that is
    appended to it, would be gone with the machine's power.

    Raises:
        OSError: it cannot be written or synced.
    """
    try:
        wal = os.open(wal_path(path), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        position = 0
        while block := os.pread(wal, _BLOCK_BYTES, position):
            position += os.pwrite(wal, block, position)
        os.fsync(wal)
    finally:
        os.close(wal)


def sync(path: Path) -> None:
    """Have a file's content, or a directory's names, on disk.

    SQLite ignores it if the directory cannot be synced in which it has made a file.

    Raises:
        OSError: the disk has failed.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def inspect(path: Path, *, check: bool) -> bool:
    """Refuse what is no sound journal, before anything is opened for writing.

    Args:
        check: look for corruption, too, which reads the whole file.

    Returns:
        Whether it is one; False if there is no file, or an empty one.

    Raises:
        JournalError: the file is no journal, of a later version, or damaged; or one of its files is
            a link, or anything else.
        OSError: it cannot be looked at.
        sqlite3.Error: it cannot be read.
    """
    require_regular(path)
    if size_of_file(path) == 0 and size_of_file(wal_path(path)):
        # SQLite would delete it, and with it the latest tasks.
        raise JournalError(
            str(path),
            f"it is gone or empty, and its latest tasks are in {wal_path(path).name}; move it "
            "back, restore a copy, or move that away to begin anew",
        )
    if not path.exists():
        return False
    with contextlib.closing(reading(path)) as db, telling_damage(path):
        if check:
            (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise JournalError(str(path), f"it is damaged ({_last_line(verdict)})")
        (application_id,) = db.execute("PRAGMA application_id").fetchone()
        version = _version(db)
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application_id != APPLICATION_ID:
        raise JournalError(str(path), "it is a SQLite file of another program")
    if version > VERSION:
        problem = f"it has version {version}, and this program knows {VERSION}; use a later program"
        raise JournalError(str(path), problem)
    return bool(tables)


@contextlib.contextmanager
def telling_damage(path: Path) -> Iterator[None]:
    """Tell of a damage that SQLite itself meets in the same words as of one that a check finds.

    Raises:
        JournalError: the file is damaged.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        if code_of(error) & PRIMARY == sqlite3.SQLITE_CORRUPT:
            raise JournalError(str(path), f"it is damaged ({error})") from None
        raise


def require_regular(journal: Path) -> None:
    """Refuse links and all else that is no regular file in the place of a journal's files.

    SQLite names the WAL after the file that a link leads to, and would wait for a pipe.

    Raises:
        JournalError: one is something else.
        OSError: it cannot be looked at.
    """
    for path in paths_of(journal):
        with contextlib.suppress(FileNotFoundError):
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                raise JournalError(str(path), "it is a symbolic link; put the file in its place")
            if not stat.S_ISREG(mode):
                raise JournalError(str(path), "it is no regular file; move it away")


def prepare(db: sqlite3.Connection) -> None:
    """Make the connection the one that writes: its durability, and the tables as they are now."""
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")
    db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    db.execute("PRAGMA cache_size = -65536")
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables:
        db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
    elif _version(db) < VERSION:
        _migrate(db)
    db.execute(f"PRAGMA busy_timeout = {LOCK_MILLISECONDS}")


def _migrate(db: sqlite3.Connection) -> None:
    version = _version(db)
    steps = "".join(MIGRATIONS[earlier] for earlier in range(version, VERSION))
    # In one transaction: a crash in the midst of it leaves the earlier version whole.
    db.executescript(f"BEGIN IMMEDIATE; {steps}")
    if version < failures.SINCE:
        failures.fill(db)
    db.execute(f"PRAGMA user_version = {VERSION}")
    db.execute("COMMIT")
    log.info("journal brought up to date", from_version=version, to_version=VERSION)


def _version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def _last_line(text: str) -> str:
    return text.rpartition("\n")[2]
