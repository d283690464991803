"""A journal file that was cut short is noticed; nothing that SQLite does is taken for it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterwards.lifecycle import Change, Task
from afterwards.registry.journal.base import Group
from afterwards.registry.journal.file import wal_path
from afterwards.registry.journal.journal import SqliteJournal
from tests.registry.peers import make_task


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    (tmp_path / "data").mkdir()
    with contextlib.closing(SqliteJournal(tmp_path / "data" / "journal.sqlite3")) as journal:
        yield journal


def add(journal: SqliteJournal, order: int) -> Task:
    task = make_task(order=order)
    journal.write(Group([Change(None, task)], Counter()))
    return task


def found(path: Path) -> list[str]:
    with contextlib.closing(SqliteJournal(path)) as journal:
        return [task.id for task in journal.load().unfinished]


def found_after_a_kill(journal: SqliteJournal) -> list[str]:
    """The contents that the next process would find in the files that there are."""
    survivor = journal._path.parent.with_name("survivor")
    shutil.copytree(journal._path.parent, survivor)
    return found(survivor / journal._path.name)


def cut_by_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    "sql",
    [
        *(f"PRAGMA wal_checkpoint({mode})" for mode in ("PASSIVE", "FULL", "RESTART", "TRUNCATE")),
        "VACUUM",
    ],
)
def test_a_checkpoint_or_vacuum_of_another_process_cuts_nothing(
    journal: SqliteJournal, sql: str
) -> None:
    for order in range(1, 100):
        add(journal, order)
    journal._writer.execute("DELETE FROM tasks WHERE ord < 90")
    with contextlib.closing(sqlite3.connect(journal._path, isolation_level=None)) as other:
        for order in range(100, 103):
            other.execute(sql)
            assert journal.astray() is None
            add(journal, order)
            assert journal.astray() is None
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            assert journal.astray() is None


def test_a_log_that_begins_anew_or_is_cut_to_what_is_kept_is_not_cut_short(
    journal: SqliteJournal,
) -> None:
    journal._writer.execute("PRAGMA wal_autocheckpoint = 20")
    journal._writer.execute("PRAGMA journal_size_limit = 40000")
    for order in range(1, 100):
        add(journal, order)
        assert journal.astray() is None


def test_a_transaction_that_is_rolled_back_cuts_nothing(journal: SqliteJournal) -> None:
    add(journal, 1)
    db = journal._writer
    db.execute("PRAGMA wal_checkpoint(RESTART)")
    db.execute("PRAGMA cache_size = 1")  # so that its pages are in the WAL before its end
    db.execute("BEGIN")
    db.executemany("INSERT INTO payloads VALUES (?, zeroblob(9000))", [(n,) for n in range(9, 99)])
    assert journal.astray() is None
    db.execute("ROLLBACK")
    assert journal.astray() is None


@pytest.mark.parametrize("bytes_left", [0, 16, 32, 5_000])
def test_a_log_that_was_cut_is_put_together_again(journal: SqliteJournal, bytes_left: int) -> None:
    task = add(journal, 1)
    os.truncate(wal_path(journal._path), bytes_left)

    assert journal.astray() == wal_path(journal._path)
    assert journal.safeguard(wal_path(journal._path)).startswith("restart the service")

    assert journal.astray() == wal_path(journal._path)
    assert found_after_a_kill(journal) == [task.id]
    journal.close()
    assert found(journal._path) == [task.id]


def test_a_log_that_was_cut_before_a_commit_has_a_hole(journal: SqliteJournal) -> None:
    tasks = [add(journal, 1)]
    os.truncate(wal_path(journal._path), 0)
    tasks.append(add(journal, 2))

    assert journal.astray() == wal_path(journal._path)
    journal.safeguard(wal_path(journal._path))

    assert found_after_a_kill(journal) == [task.id for task in tasks]


def test_a_journal_that_was_cut_is_put_together_again(journal: SqliteJournal) -> None:
    task = add(journal, 1)
    journal._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert journal.astray() is None
    cut_by_half(journal._path)

    assert journal.astray() == journal._path
    assert journal.safeguard(journal._path).startswith("restart the service")

    assert found_after_a_kill(journal) == [task.id]


def test_a_log_that_is_cut_just_before_the_stop_costs_nothing(journal: SqliteJournal) -> None:
    task = add(journal, 1)
    os.truncate(wal_path(journal._path), 0)

    journal.close()

    assert found(journal._path) == [task.id]


def test_what_cannot_be_put_together_is_left_as_it_is(journal: SqliteJournal) -> None:
    add(journal, 1)
    with contextlib.closing(sqlite3.connect(journal._path)) as other:
        # What another process has written is in nobody's memory.
        other.execute("CREATE TABLE other AS SELECT randomblob(100000)")
        other.commit()
    os.truncate(wal_path(journal._path), 0)
    before = journal._path.read_bytes()
    assert journal.astray() == wal_path(journal._path)

    assert "restore a backup" in journal.safeguard(wal_path(journal._path))
    journal.close()

    assert journal._path.read_bytes() == before
    assert not list(journal._path.parent.glob("*.rescued-*"))
