"""A journal whose files have lost their names keeps its tasks all the same."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from afterwards.errors import JournalError
from afterwards.lifecycle import Change, Task
from afterwards.registry.journal.base import Group
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.server.backup import restore
from tests.registry.peers import make_task


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    directory.mkdir()
    return directory


def opened(data_dir: Path) -> tuple[SqliteJournal, Task]:
    """A journal with a task that is in its WAL only."""
    journal = SqliteJournal(data_dir / "journal.sqlite3")
    task = make_task(order=1)
    journal.write(Group([Change(None, task)], Counter()))
    return journal, task


def tasks(path: Path) -> list[str]:
    journal = SqliteJournal(path)
    try:
        return [task.id for task in journal.load().unfinished]
    finally:
        journal.close()


def test_a_deleted_journal_is_saved_when_it_is_closed_and_can_be_restored(data_dir: Path) -> None:
    journal, task = opened(data_dir)
    path = journal._path
    path.unlink()
    journal.close()

    # Nothing is begun anew beside the latest tasks, of which SQLite would delete the log.
    with pytest.raises(JournalError, match="it is gone or empty, and its latest tasks are in"):
        SqliteJournal(path)
    path.touch()
    with pytest.raises(JournalError, match="it is gone or empty"):
        SqliteJournal(path)
    path.unlink()
    [saved] = list(data_dir.glob("*.rescued-*"))
    assert saved.stat().st_mode & 0o777 == 0o600
    assert restore(data_dir, saved)[0] == 1
    assert tasks(path) == [task.id]


def test_a_journal_that_was_moved_is_whole_when_it_is_moved_back(data_dir: Path) -> None:
    journal, task = opened(data_dir)
    path = journal._path
    path.rename(data_dir / "elsewhere")
    journal.close()
    (data_dir / "elsewhere").rename(path)

    assert tasks(path) == [task.id]


def test_another_journal_at_its_place_is_not_spoilt_by_the_wal(data_dir: Path) -> None:
    other = data_dir.with_name("other")
    other.mkdir()
    other_task = make_task(order=1)
    other_journal = SqliteJournal(other / "j")
    other_journal.write(Group([Change(None, other_task)], Counter()))
    other_journal.close()
    journal, task = opened(data_dir)
    (other / "j").replace(journal._path)
    journal.close()

    assert tasks(journal._path) == [other_task.id]
    [saved] = [file for file in data_dir.glob("*.rescued-*") if "former" not in file.name]
    assert tasks(saved) == [task.id]


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_what_is_in_a_log_without_a_name_is_moved_into_the_journal(
    data_dir: Path, suffix: str
) -> None:
    journal, task = opened(data_dir)
    lost = journal._path.with_name(f"journal.sqlite3{suffix}")
    lost.unlink()

    assert journal.safeguard(lost).startswith("restart the service")

    # As if the process was killed now: nothing but the files there are.
    survivor = data_dir.with_name("survivor")
    survivor.mkdir()
    shutil.copy(journal._path, survivor / "j")
    assert tasks(survivor / "j") == [task.id]
    journal.close()
