"""Backups: sound, whole or not at all, and never put under a running service."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from afterwards.cli import main
from afterwards.errors import (
    AfterwardsError,
    JournalError,
    NotBackedUp,
    NotDurable,
    NotRestored,
    RegistryLocked,
)
from afterwards.lifecycle import Change, Task
from afterwards.registry.journal.base import Group
from afterwards.registry.journal.file import inspect, journal_path
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.registry.journal.schema import VERSION
from afterwards.registry.process.lock import DataDirLock, Endpoint
from afterwards.server import backup
from afterwards.server.backup import back_up, restore
from tests.registry.bench import keys_of
from tests.registry.peers import make_task

NOBODY = 2**22 + 1
"""More than any pid (proc(5), pid_max)."""


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    directory.mkdir()
    return directory


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "backup.sqlite3"


@contextlib.contextmanager
def journal_of(data_dir: Path, *tasks: Task) -> Iterator[SqliteJournal]:
    """The journal of a service that runs; everything is in its WAL still."""
    data_dir.mkdir(exist_ok=True)
    journal = SqliteJournal(journal_path(data_dir))
    try:
        journal.write(Group([Change(None, task) for task in tasks], Counter()))
        yield journal
    finally:
        journal.close()


def unfinished(data_dir: Path) -> set[str]:
    with journal_of(data_dir) as journal:
        return {task.id for task in journal.load().unfinished}


def files(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def make_backup(tmp_path: Path, *tasks: Task) -> Path:
    with journal_of(tmp_path / "elsewhere", *tasks):
        back_up(tmp_path / "elsewhere", tmp_path / "backup.sqlite3")
    return tmp_path / "backup.sqlite3"


def large_tasks() -> list[Task]:
    return [make_task(order=n, payload=b"x" * 9_000) for n in range(1, 9)]


def damage(path: Path) -> bytes:
    """Overwrite the second half, where no table is described; return the whole."""
    content = path.read_bytes()
    half = len(content) // 2
    content = content[:half] + b"\xff" * (len(content) - half)
    path.write_bytes(content)
    return content


# -- backup ---------------------------------------------------------------------------------------


def test_a_backup_has_what_is_committed_while_the_journal_is_open(
    data_dir: Path, file: Path
) -> None:
    waiting, done = make_task(order=1), make_task(order=2, finished_at=1.0)

    with journal_of(data_dir, waiting, done):
        assert back_up(data_dir, file) == 1

    assert restore(data_dir.with_name("other"), file) == (1, None, [])
    with journal_of(data_dir.with_name("other")) as journal:
        assert {journal.read(task.id) for task in (waiting, done)} == {waiting, done}


def test_a_backup_is_one_file_for_its_owner_s_eyes(data_dir: Path, file: Path) -> None:
    with journal_of(data_dir, make_task(order=1)):
        back_up(data_dir, file)

    assert files(file.parent) == {"data", file.name}
    assert file.stat().st_mode & 0o777 == 0o600
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_backup_takes_the_place_of_an_earlier_one(data_dir: Path, file: Path) -> None:
    with journal_of(data_dir, make_task(order=1)) as journal:
        back_up(data_dir, file)
        journal.write(Group([Change(None, make_task(order=2))], Counter()))

        assert back_up(data_dir, file) == 2


def test_a_damaged_journal_is_not_backed_up_and_the_earlier_backup_stays(
    data_dir: Path, file: Path
) -> None:
    with journal_of(data_dir, *large_tasks()):
        pass
    damage(journal_path(data_dir))
    file.write_text("earlier")

    with pytest.raises(JournalError, match=r"journal\.sqlite3 cannot be used: it is damaged"):
        back_up(data_dir, file)

    assert file.read_text() == "earlier"
    assert files(file.parent) == {"data", file.name}


def test_without_a_journal_there_is_no_backup(data_dir: Path, file: Path) -> None:
    with pytest.raises(NotBackedUp, match=f"there is no journal in {data_dir}"):
        back_up(data_dir, file)

    assert not file.exists()


def test_the_journal_is_not_replaced_by_its_own_backup(data_dir: Path) -> None:
    with (
        journal_of(data_dir, make_task(order=1)),
        pytest.raises(NotBackedUp, match="choose another"),
    ):
        back_up(data_dir, data_dir / ".." / "data" / "journal.sqlite3")


def test_a_backup_that_cannot_be_written_says_where(data_dir: Path, file: Path) -> None:
    with (
        journal_of(data_dir, make_task(order=1)),
        pytest.raises(NotBackedUp, match=r"No such file or directory \(.*/nowhere/"),
    ):
        back_up(data_dir, file.parent / "nowhere" / "b")


# -- restore --------------------------------------------------------------------------------------


def test_a_restored_journal_is_the_backup_and_the_former_is_kept(
    tmp_path: Path, data_dir: Path
) -> None:
    old, new = make_task(order=1), make_task(order=1)
    make_backup(tmp_path, old)
    with journal_of(data_dir, new):
        pass

    count, former, _ = restore(data_dir, tmp_path / "backup.sqlite3")

    assert (count, former) == (1, data_dir / "journal.sqlite3.replaced")
    assert unfinished(data_dir) == {old.id}
    assert former is not None
    assert restore(data_dir, former)[0] == 1
    assert unfinished(data_dir) == {new.id}


def test_a_wal_left_by_a_crash_goes_with_the_former_journal(tmp_path: Path, data_dir: Path) -> None:
    old, crashed = make_task(order=1), make_task(order=1)
    file = make_backup(tmp_path, old)
    leave_as_after_a_crash(tmp_path, data_dir, crashed)
    assert journal_path(data_dir).with_name("journal.sqlite3-wal").stat().st_size > 0

    _, former, _ = restore(data_dir, file)

    assert files(data_dir) == {"journal.sqlite3", "journal.sqlite3.replaced", "registry.lock"}
    assert unfinished(data_dir) == {old.id}
    assert former is not None
    restore(data_dir, former)
    assert unfinished(data_dir) == {crashed.id}


def test_a_damaged_journal_is_kept_as_it_was_with_its_wal(tmp_path: Path, data_dir: Path) -> None:
    old = make_task(order=1)
    file = make_backup(tmp_path, old)
    with journal_of(tmp_path / "killed", *large_tasks()):
        pass
    leave_as_after_a_crash(tmp_path, data_dir, make_task(order=9))
    wal = journal_path(data_dir).with_name("journal.sqlite3-wal").read_bytes()
    damaged = damage(journal_path(data_dir))

    restore(data_dir, file)

    assert (data_dir / "journal.sqlite3.replaced").read_bytes() == damaged
    assert (data_dir / "journal.sqlite3.replaced-wal").read_bytes() == wal
    assert unfinished(data_dir) == {old.id}


def test_a_wal_that_was_kept_goes_when_its_journal_goes(tmp_path: Path, data_dir: Path) -> None:
    file = make_backup(tmp_path, make_task(order=1))
    leave_as_after_a_crash(tmp_path, data_dir, make_task(order=1))
    journal_path(data_dir).with_name("journal.sqlite3.replaced-wal").write_bytes(b"older")

    restore(data_dir, file)

    assert files(data_dir) == {"journal.sqlite3", "journal.sqlite3.replaced", "registry.lock"}


def leave_as_after_a_crash(tmp_path: Path, data_dir: Path, task: Task) -> None:
    """A journal with its WAL, as a killed service leaves them."""
    with journal_of(tmp_path / "killed", task):
        shutil.copytree(tmp_path / "killed", data_dir, dirs_exist_ok=True)


class Killed(BaseException):
    """An exception that no handler is for."""


def kill_before(patch: pytest.MonkeyPatch, step: int) -> None:
    """End the process before its step-th change to a directory."""
    steps = itertools.count()
    for name in ("unlink", "replace", "hardlink_to"):

        def change(*args: Any, change: Any = getattr(Path, name), **options: Any) -> Any:
            if next(steps) == step:
                raise Killed
            return change(*args, **options)

        patch.setattr(Path, name, change)


def test_a_restore_killed_anywhere_leaves_a_journal_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = make_task(order=1), make_task(order=1)
    file = make_backup(tmp_path, old)
    for step in itertools.count():
        data_dir = tmp_path / f"data-{step}"
        with journal_of(data_dir, new):
            pass
        try:
            with monkeypatch.context() as patch:
                kill_before(patch, step)
                restore(data_dir, file)
        except Killed:
            assert journal_path(data_dir).exists()
            assert unfinished(data_dir) in ({new.id}, {old.id})
            restore(data_dir, file)
            assert unfinished(data_dir) == {old.id}
        else:
            break
    assert step > 3


def test_directories_that_a_restore_makes_are_for_their_owner_s_eyes(tmp_path: Path) -> None:
    restore(tmp_path / "deeper" / "data", make_backup(tmp_path, make_task(order=1)))

    for made in (tmp_path / "deeper", tmp_path / "deeper" / "data"):
        assert made.stat().st_mode & 0o777 == 0o700
    assert journal_path(tmp_path / "deeper" / "data").stat().st_mode & 0o777 == 0o600


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "planted"),
    [
        ("hard link", "registry.lock"),
        *itertools.product(
            ("symlink", "fifo"), ("registry.lock", "journal.sqlite3", "journal.sqlite3-wal")
        ),
    ],
)
def test_what_somebody_has_planted_in_the_directory_is_not_followed(
    tmp_path: Path, data_dir: Path, planted: str, how: str
) -> None:
    file = make_backup(tmp_path, make_task(order=1))
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    data_dir.mkdir(exist_ok=True)
    if how == "symlink":
        (data_dir / planted).symlink_to(victim)
    elif how == "hard link":
        (data_dir / planted).hardlink_to(victim)
    else:
        os.mkfifo(data_dir / planted)

    with pytest.raises(NotRestored, match=r"symbolic link|second name|no regular file"):
        restore(data_dir, file)

    assert victim.read_bytes() == b""


def test_a_data_directory_whose_lock_is_held_is_refused(tmp_path: Path, data_dir: Path) -> None:
    file = make_backup(tmp_path, make_task(order=1))
    lock = DataDirLock(data_dir)
    # As in another container: the process is not to be seen, but its lock is.
    lock.acquire(Endpoint("s", "/nowhere"), NOBODY, take_over=False)
    try:
        with pytest.raises(RegistryLocked):
            restore(data_dir, file)
    finally:
        lock.close()
    assert files(data_dir) == {"registry.lock"}

    restore(data_dir, file)


def test_a_service_whose_registry_is_just_being_started_again_is_refused(
    tmp_path: Path, data_dir: Path
) -> None:
    file = make_backup(tmp_path, make_task(order=1))
    lock = DataDirLock(data_dir)
    lock.acquire(Endpoint("s", "/nowhere"), os.getpid(), take_over=False)
    lock.close()

    with pytest.raises(RegistryLocked, match=f"process {os.getpid()}"):
        restore(data_dir, file)


def test_a_service_that_starts_during_a_restore_waits(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make_backup(tmp_path, make_task(order=1))
    put = backup._put
    took: list[bool] = []

    def looked_at(copy: Path, path: Path) -> None:
        lock = DataDirLock(data_dir)
        took.append(lock.try_once())
        lock.close()
        put(copy, path)

    monkeypatch.setattr(backup, "_put", looked_at)
    restore(data_dir, file)

    assert took == [False]


def broken(file: Path, how: str) -> None:
    if how == "damaged":
        damage(file)
    elif how == "no database":
        file.write_text("notes" * 1_000)
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "another program's":
        file.unlink()
        with contextlib.closing(sqlite3.connect(file)) as db:
            db.execute("CREATE TABLE t (c)")
    elif how == "later":
        with contextlib.closing(sqlite3.connect(file)) as db:
            db.execute(f"PRAGMA user_version = {VERSION + 1}")
    elif how == "missing":
        file.unlink()
    else:
        file.unlink()
        file.mkdir()


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ("damaged", "it is damaged"),
        ("no database", "file is not a database"),
        ("empty", "it is empty"),
        ("another program's", "it is a SQLite file of another program"),
        (
            "later",
            f"it has version {VERSION + 1}, and this program knows {VERSION}; use a later program",
        ),
        ("missing", "No such file or directory"),
        ("a directory", "Is a directory"),
    ],
)
def test_what_is_no_sound_backup_is_refused_and_the_journal_stays(
    tmp_path: Path, data_dir: Path, how: str, problem: str
) -> None:
    file = make_backup(tmp_path, *large_tasks())
    broken(file, how)
    present = make_task(order=1)
    with journal_of(data_dir, present):
        pass

    with pytest.raises(NotRestored) as refused:
        restore(data_dir, file)

    assert str(refused.value).startswith(f"{file} was not restored: {problem}")
    assert files(data_dir) <= {"journal.sqlite3", "registry.lock"}
    assert unfinished(data_dir) == {present.id}


# -- the command line -----------------------------------------------------------------------------


def test_the_commands_say_in_one_line_what_they_did(
    data_dir: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with journal_of(data_dir, make_task(order=1)):
        assert main(["backup", str(file), "--data-dir", str(data_dir)]) == 0
    assert capsys.readouterr().out == f"{file}: backup of {data_dir}; unfinished tasks: 1\n"

    assert main(["restore", str(file), "--data-dir", str(data_dir)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{data_dir}: restored from {file}; unfinished tasks: 1",
        f"{data_dir}/journal.sqlite3.replaced: the journal as it was before",
    ]


def test_the_data_directory_may_come_from_the_environment(
    data_dir: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFTERWARDS_DATA_DIR", str(data_dir))
    with journal_of(data_dir, make_task(order=1)):
        assert main(["backup", str(file)]) == 0


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_a_refusal_is_one_line_and_status_1(
    command: str, data_dir: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(file), "--data-dir", str(data_dir)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("afterwards: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("error", [NotBackedUp("f", "p"), NotRestored("f", "p")])
def test_the_errors_can_be_built_again_from_their_arguments(error: AfterwardsError) -> None:
    assert str(type(error)(*error.args)) == str(error)


def test_what_is_no_regular_file_is_left_alone(data_dir: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with journal_of(data_dir, make_task()), pytest.raises(NotBackedUp, match="no regular file"):
        back_up(data_dir, fifo)
    assert fifo.is_fifo()


def test_the_file_a_link_leads_to_is_replaced_and_not_the_link(
    data_dir: Path, file: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    with journal_of(data_dir, make_task()):
        back_up(data_dir, link)
    assert link.is_symlink()
    assert inspect(file, check=True)


# -- disks that do not sync ------------------------------------------------------------------------


def fail_syncs(monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    """Have the syncs of files and directories fail whose path the pattern matches."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if re.match(pattern, str(Path(f"/proc/self/fd/{descriptor}").readlink())):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_backup_that_cannot_be_synced_leaves_the_earlier_one(
    data_dir: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_bytes(b"earlier")
    fail_syncs(monkeypatch, str(file.with_name(f".{file.name}")))
    with journal_of(data_dir, make_task(order=1)), pytest.raises(NotBackedUp):
        back_up(data_dir, file)

    assert file.read_bytes() == b"earlier"
    assert files(file.parent) == {"data", file.name}


def test_a_backup_whose_name_cannot_be_synced_is_said_to_be_there(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "backups" / "b"
    file.parent.mkdir()
    fail_syncs(monkeypatch, str(file.parent) + "$")
    with journal_of(data_dir, make_task(order=1)), pytest.raises(NotDurable, match="in its place"):
        back_up(data_dir, file)

    assert inspect(file, check=True)


def test_a_restore_that_cannot_be_synced_leaves_the_journal_with_its_wal(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup_file = make_backup(tmp_path, make_task(order=1))
    kept = make_task(order=1)
    with journal_of(tmp_path / "running", kept):
        shutil.copytree(tmp_path / "running", data_dir, dirs_exist_ok=True)
    before = {path.name: path.read_bytes() for path in data_dir.glob("journal*-wal")}
    assert before
    fail_syncs(monkeypatch, str(data_dir / ".journal"))

    with pytest.raises(NotRestored, match=os.strerror(errno.EIO)):
        restore(data_dir, backup_file)

    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in data_dir.glob("journal*-wal")} == before
    assert unfinished(data_dir) == {kept.id}


# -- encrypted journals ---------------------------------------------------------------------------


def test_a_backup_is_encrypted_as_the_journal_is_and_needs_no_key(
    tmp_path: Path,
    data_dir: Path,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    task = make_task(order=1, payload=b'{"to":"geheimnis"}')
    journal = SqliteJournal(journal_path(data_dir), keys=keys_of("k1"))
    journal.write(Group([Change(None, task)], Counter()))
    assert back_up(data_dir, file) == 1
    journal.close()
    assert b"geheimnis" not in file.read_bytes()

    assert main(["restore", str(file), "--data-dir", str(data_dir)]) == 0
    said = capsys.readouterr().out
    assert "does not start without these keys in AFTERWARDS_ENCRYPTION_KEYS: k1\n" in said
    monkeypatch.setenv("AFTERWARDS_ENCRYPTION_KEYS", keys_of("k2", "k1").text)
    assert main(["restore", str(file), "--data-dir", str(data_dir)]) == 0
    assert "without" not in capsys.readouterr().out

    assert files(data_dir) == {"journal.sqlite3", "journal.sqlite3.replaced", "registry.lock"}
    with pytest.raises(JournalError, match="a key that is not given: k1"):
        SqliteJournal(journal_path(data_dir))
    with contextlib.closing(SqliteJournal(journal_path(data_dir), keys=keys_of("k1"))) as restored:
        assert [one.payload for one in restored.load().unfinished] == [task.payload]
