"""The words for SQLite's errors that clients hear."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from afterwards.errors import JournalLocked, JournalUnavailable
from afterwards.lifecycle import Change
from afterwards.registry.journal.base import Group
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.registry.journal.reasons import refusal
from tests.registry.peers import make_task

UNEXPECTED = "The journal cannot be written: an unexpected error; the log has it"


def failed(code: int, text: str) -> sqlite3.Error:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


def test_a_statement_that_fails_unexpectedly_is_told_to_the_log_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with contextlib.closing(SqliteJournal(tmp_path / "j")) as journal:
        journal.write(Group([Change(None, make_task(order=1))], Counter()))
        with pytest.raises(JournalUnavailable) as raised:
            journal.write(Group([Change(None, make_task(order=1))], Counter()))

    assert str(raised.value) == UNEXPECTED
    said = "".join(capfd.readouterr())
    assert "UNIQUE constraint failed: tasks.ord" in said
    assert str(tmp_path / "j") in said


def test_a_read_that_fails_unexpectedly_is_told_to_the_log_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with contextlib.closing(SqliteJournal(tmp_path / "j")) as journal:
        journal._writer.execute("DROP TABLE deleted")
        with pytest.raises(JournalUnavailable) as raised:
            journal.was_deleted("x")

    assert str(raised.value) == UNEXPECTED.replace("written", "read")
    assert "no such table: deleted" in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (sqlite3.SQLITE_FULL, "database or disk is full"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "attempt to write a readonly database"),
        (sqlite3.SQLITE_IOERR_READ, "disk I/O error"),
        (sqlite3.SQLITE_CORRUPT, "database disk image is malformed"),
    ],
)
def test_what_befalls_any_journal_is_named_without_its_particulars(code: int, reason: str) -> None:
    assert refusal(failed(code, "malformed schema (tasks)"), "/data/j").problem == reason


def test_a_lock_is_a_lock_for_readers_too() -> None:
    error = refusal(failed(sqlite3.SQLITE_BUSY_SNAPSHOT, "database is locked"), "/data/j")

    assert isinstance(error, JournalLocked)
