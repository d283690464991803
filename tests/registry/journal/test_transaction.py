"""The end of a transaction of the journal: written, not written, or not known."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from afterwards.errors import JournalUnavailable, OutcomeUnknown
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.registry.journal.transaction import transaction
from tests.registry.bench import FailingCommits

PROBE = "INSERT OR REPLACE INTO probe VALUES (1, ?)"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as db:
        db.execute("CREATE TABLE probe (one INTEGER PRIMARY KEY, at REAL NOT NULL)")
        yield db


def write(db: Any, *times: float | None) -> None:
    with transaction(cast("sqlite3.Connection", db), "/data/journal.sqlite3"):
        for at in times:
            db.execute(PROBE, (at,))


def rows(db: sqlite3.Connection) -> list[float]:
    return [at for (at,) in db.execute("SELECT at FROM probe")]


@pytest.mark.parametrize(
    "code", ["SQLITE_FULL", "SQLITE_BUSY", "SQLITE_BUSY_SNAPSHOT", "SQLITE_READONLY_DBMOVED"]
)
def test_a_commit_that_has_certainly_written_nothing_is_a_refusal(
    db: sqlite3.Connection, code: str
) -> None:
    with pytest.raises(JournalUnavailable):
        write(FailingCommits(db, code, arrives=False), 1.0)

    write(db, 2.0)
    assert rows(db) == [2.0]


@pytest.mark.parametrize(
    "code",
    [
        "SQLITE_IOERR_FSYNC",
        "SQLITE_IOERR_DIR_FSYNC",
        "SQLITE_IOERR_WRITE",
        "SQLITE_IOERR_SHMSIZE",
        "SQLITE_IOERR_SHMMAP",
        "SQLITE_IOERR",
        "SQLITE_CORRUPT",
        "SQLITE_NOMEM",
        "SQLITE_ERROR",
    ],
)
def test_any_other_failed_commit_may_have_been_written(db: sqlite3.Connection, code: str) -> None:
    with pytest.raises(OutcomeUnknown) as raised:
        write(FailingCommits(db, code, arrives=True), 1.0)

    assert code in str(raised.value)
    assert rows(db) == [1.0]


def test_a_rollback_that_fails_hides_no_unknown_outcome(db: sqlite3.Connection) -> None:
    class FailingForGood(FailingCommits):
        in_transaction = True

        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if sql == "ROLLBACK":
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(sql, *values)

    with pytest.raises(OutcomeUnknown):
        write(FailingForGood(db, "SQLITE_IOERR_FSYNC", arrives=True), 1.0)
    with pytest.raises(JournalUnavailable):
        write(FailingForGood(db, "SQLITE_BUSY", arrives=False), 1.0)


def test_what_fails_before_the_commit_is_taken_back(db: sqlite3.Connection) -> None:
    with pytest.raises(JournalUnavailable):
        write(db, 1.0, None)

    assert not db.in_transaction
    assert rows(db) == []


def test_a_refusal_names_the_place_to_the_log_alone(db: sqlite3.Connection) -> None:
    with pytest.raises(JournalUnavailable) as raised:
        write(FailingCommits(db, "SQLITE_FULL", arrives=False), 1.0)

    assert raised.value.place == "/data/journal.sqlite3"
    assert "/data" not in str(raised.value)


@pytest.mark.processes
def test_a_write_that_fails_within_the_commit_is_told_by_sqlite_as_one_of_unknown_outcome(
    tmp_path: Path,
) -> None:
    # A limit of the process' files is a write error of the kernel's own: EFBIG.
    script = f"""
import resource
from collections import Counter
from pathlib import Path
from afterwards.errors import OutcomeUnknown
from afterwards.registry.journal.base import Group
from afterwards.registry.journal.journal import SqliteJournal
journal = SqliteJournal(Path({str(tmp_path / "j")!r}))
journal.write(Group([], Counter(), probe=True))
size = Path({str(tmp_path / "j-wal")!r}).stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
try:
    journal.write(Group([], Counter(), probe=True, at=2.0))
except OutcomeUnknown as error:
    print(error.problem)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )

    assert done.stdout == "disk I/O error (SQLITE_IOERR_WRITE)\n", done.stderr
    SqliteJournal(tmp_path / "j").close()
