"""The names of the journal's files are looked at, and the files are left alone."""

from __future__ import annotations

import os
import shutil
import time
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


@pytest.fixture
def settled(journal: SqliteJournal) -> SqliteJournal:
    """Its directory has not changed for a while, and its names were right."""
    while journal._place._settled is None:
        assert journal.astray(by_names=True) is None
    return journal


def test_names_in_a_directory_that_has_not_changed_are_not_looked_at_again(
    settled: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[object] = []
    stat = os.stat

    def look(path: str) -> os.stat_result:
        looked_at.append(path)
        return stat(path)

    monkeypatch.setattr(os, "stat", look)

    assert settled.astray(by_names=True) is None
    assert looked_at == [str(settled._path.parent)]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_is_moved_out_of_a_directory_at_rest_is_noticed_by_the_next_look_at_names(
    settled: SqliteJournal, suffix: str
) -> None:
    path = settled._path.with_name(f"j{suffix}")
    path.rename(path.with_name("elsewhere"))
    assert settled.astray(by_names=True) == path

    path.with_name("elsewhere").rename(path)
    assert settled.astray(by_names=True) is None


def test_a_directory_at_rest_that_is_replaced_by_a_copy_is_noticed(settled: SqliteJournal) -> None:
    directory = settled._path.parent
    shutil.copytree(directory, directory.with_name("copy"), copy_function=shutil.copy2)
    directory.rename(directory.with_name("before"))
    directory.with_name("copy").rename(directory)

    assert settled.astray(by_names=True) == settled._path


def test_a_directory_that_has_just_changed_is_not_taken_to_be_at_rest(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Within one step of the file system's clock two changes have the same time.
    changed = journal._path.parent.stat().st_ctime
    monkeypatch.setattr(time, "time", lambda: changed + 0.01)
    assert journal.astray(by_names=True) is None
    assert journal._place._settled is None

    monkeypatch.setattr(time, "time", lambda: changed + 1)
    assert journal.astray(by_names=True) is None
    assert journal._place._settled is not None
