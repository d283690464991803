"""The names of the journal's files are looked at, and the files are left alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterwards.registry.journal.file import paths_of
from afterwards.registry.journal.journal import SqliteJournal

SUFFIXES = ("", "-wal", "-shm")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    (tmp_path / "data").mkdir()
    journal = SqliteJournal(tmp_path / "data" / "j")
    yield journal
    journal.close()


def test_the_files_of_an_open_journal_are_in_their_places(journal: SqliteJournal) -> None:
    assert journal.astray() is None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_is_moved_away_is_noticed_until_it_is_back(
    journal: SqliteJournal, suffix: str
) -> None:
    path = journal._path.with_name(f"j{suffix}")
    path.rename(path.with_name("elsewhere"))
    assert journal.astray() == path

    path.with_name("elsewhere").rename(path)
    assert journal.astray() is None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_copy_at_the_place_of_a_file_is_another_file(journal: SqliteJournal, suffix: str) -> None:
    path = journal._path.with_name(f"j{suffix}")
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)

    assert journal.astray() == path


def test_a_directory_that_is_moved_takes_its_files_along(journal: SqliteJournal) -> None:
    directory = journal._path.parent
    directory.rename(directory.with_name("moved"))
    assert journal.astray() == journal._path
    directory.with_name("moved").rename(directory)


def test_looking_opens_no_file(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    # Closing it again would drop SQLite's locks.
    def refuse(*_: object, **__: object) -> int:
        raise AssertionError("a file was opened")

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("io.open", refuse)

    assert journal.astray() is None
    assert len(paths_of(journal._path)) == 3
