"""The journal's file over the versions: an earlier one is brought up to date, or left as it was."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

import pytest

from afterwards.counts import RETRYING
from afterwards.errors import JournalError
from afterwards.lifecycle import Change, Task, TaskState
from afterwards.registry.journal.base import Group
from afterwards.registry.journal.file import wal_path
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.registry.journal.schema import MIGRATIONS, SCHEMA, VERSION
from afterwards.registry.protocol.activity import Entry
from afterwards.registry.protocol.filters import Filter
from afterwards.registry.protocol.requests import (
    Activity,
    Add,
    Count,
    Errors,
    Find,
    Get,
    GetSchedule,
    Inspect,
    Stats,
)
from tests.registry.bench import Bench, FailingSqlite
from tests.registry.peers import ask, make_task

FILES = Path(__file__).with_name("files")
"""`version_N.sqlite3` was written by the program when N was its version, with the tasks below.

There is none of the version at hand: whoever makes the next one writes it first."""

VERSIONS = range(1, VERSION)
"""The earlier ones."""
BEFORE_HISTORIES = (1, 2)
"""Versions without attempts, whose times of creation may be out of order."""

TASKS = {
    1: (TaskState.SUCCESS, b'{"message":"sent"}', None),
    2: (TaskState.FAILED, None, "no ☃"),
    3: (TaskState.SCHEDULED, None, "not now"),
    4: (TaskState.PROCESSING, None, None),
    5: (TaskState.PENDING, None, None),
    6: (TaskState.SCHEDULED, None, None),
    7: (TaskState.PENDING, None, None),
}


def task_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def of_version(version: int, directory: Path) -> Path:
    return Path(shutil.copy(FILES / f"version_{version}.sqlite3", directory / "journal.sqlite3"))


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        return int(version)


def columns(path: Path) -> dict[str, set[str]]:
    """The tables and indexes of a journal, and what they are of."""
    with closing(sqlite3.connect(path)) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master")]
        return {
            name: {row[1] for row in db.execute(f"PRAGMA table_xinfo({name})")}
            | {row[2] for row in db.execute(f"PRAGMA index_xinfo({name})")}
            for name in names
        }


def test_there_is_a_file_of_every_earlier_version_and_a_way_to_the_next() -> None:
    assert list(MIGRATIONS) == [*VERSIONS]
    found = [version_of(FILES / f"version_{version}.sqlite3") for version in VERSIONS]
    assert found == [*VERSIONS]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_journal_of_any_version_keeps_all_its_tasks(version: int, tmp_path: Path) -> None:
    journal = SqliteJournal(of_version(version, tmp_path))
    try:
        for number, (state, result, error) in TASKS.items():
            task = journal.read(task_id(number))
            assert task is not None
            assert (task.state, task.result, task.error) == (state, result, error)
            assert (task.order, task.payload) == (number, b'{"n":%d}' % number)
    finally:
        journal.close()
    assert version_of(tmp_path / "journal.sqlite3") == VERSION


@pytest.mark.parametrize("version", VERSIONS)
def test_an_updated_journal_is_what_a_new_one_is(version: int, tmp_path: Path) -> None:
    path = of_version(version, tmp_path)
    SqliteJournal(path).close()
    with closing(sqlite3.connect(tmp_path / "new")) as db:
        db.executescript(SCHEMA)
    assert columns(path) == columns(tmp_path / "new")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_registry_goes_on_where_an_earlier_one_stopped(version: int, bench: Bench) -> None:
    registry = bench.registry(journal=FailingSqlite(of_version(version, bench.directory)))
    peer = bench.peer(registry, {"async": 9, "process": 9})
    peer.take()

    claims = dict(peer.table)
    assert set(claims) == {task_id(number) for number in (4, 5, 7)}
    assert claims[task_id(4)].attempt == 2
    for claim in claims.values():
        peer.succeed(claim)
        assert ask(registry, Get(claim.task_id)).state is TaskState.SUCCESS
    new = make_task(idempotency_key="k", fingerprint=b"f")
    ask(registry, Add(new))
    assert ask(registry, Get(new.id)).order == len(TASKS) + 1


@pytest.mark.parametrize("version", VERSIONS)
def test_an_update_counts_the_tasks_that_are_tried_again(version: int, tmp_path: Path) -> None:
    journal = SqliteJournal(of_version(version, tmp_path))
    contents = journal.load()
    waiting = [task for task in contents.unfinished if task.is_retrying]
    journal.close()

    assert [task.id for task in waiting] == [task_id(3)]
    assert {cell: n for cell, n in contents.counts.items() if cell[0] == RETRYING} == {
        (RETRYING, waiting[0].type, ""): 1
    }


@pytest.mark.parametrize("version", BEFORE_HISTORIES)
def test_a_history_begins_with_the_attempts_that_end_after_the_update(
    version: int, bench: Bench
) -> None:
    registry = bench.registry(journal=FailingSqlite(of_version(version, bench.directory)))
    registry.tick()

    assert ask(registry, Inspect(task_id(1))).attempts == []
    assert [(a.attempt, a.outcome) for a in ask(registry, Inspect(task_id(4))).attempts] == [
        (1, "lost")
    ]


@pytest.mark.parametrize("version", BEFORE_HISTORIES)
def test_an_update_puts_the_times_of_creation_in_order(version: int, tmp_path: Path) -> None:
    path = of_version(version, tmp_path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE tasks SET created_at = created_at - 100 WHERE ord IN (3, 4, 6)")
        db.commit()
    journal = SqliteJournal(path)
    try:
        tasks = journal.find(Find()).tasks[::-1]
        assert [task.created_at - 1_760_000_000.0 for task in tasks] == [1, 2, 2, 2, 5, 5, 7]
        assert journal.count(Count(Filter(created_before=1_760_000_002.0))).number == 1
    finally:
        journal.close()


@pytest.mark.parametrize("version", [version for version in VERSIONS if version >= 2])
def test_a_key_is_still_known(version: int, bench: Bench) -> None:
    registry = bench.registry(journal=FailingSqlite(of_version(version, bench.directory)))

    repeated = ask(registry, Add(make_task(idempotency_key="k5", fingerprint=b"five")))

    assert repeated.id == task_id(5)


@pytest.mark.parametrize("version", [version for version in VERSIONS if version >= 3])
def test_histories_deadlines_pauses_and_schedules_are_still_there(
    version: int, bench: Bench
) -> None:
    registry = bench.registry(journal=FailingSqlite(of_version(version, bench.directory)))

    history = ask(registry, Inspect(task_id(2))).attempts
    assert [(a.attempt, a.outcome, a.error) for a in history] == [
        (1, "failure", "busy"),
        (2, "failure", "no ☃"),
    ]
    assert ask(registry, Get(task_id(6))).deadline == 4_100_000_000.0
    assert ask(registry, Stats()).paused_types == ["report"]
    schedule = ask(registry, GetSchedule("nightly"))
    assert (schedule.cron, schedule.timezone, schedule.catch_up) == (
        "30 2 * * *",
        "Europe/Berlin",
        True,
    )
    assert (schedule.next_due, schedule.last_task_id) == (4_000_000_000.0, task_id(7))
    assert (schedule.pattern.payload, schedule.pattern.priority) == (b'{"n":7}', 7)


@pytest.mark.parametrize("version", [version for version in VERSIONS if version >= 4])
def test_crowds_keys_logs_and_what_an_attempt_took_are_still_there(
    version: int, bench: Bench
) -> None:
    registry = bench.registry(journal=FailingSqlite(of_version(version, bench.directory)))

    task = ask(registry, Get(task_id(3)))
    assert (task.crowd, task.generation, task.webhook) == (78, 3, 1)
    assert (task.owner, task.labels, task.parent) == ("ann", '{"tenant":"acme"}', task_id(1))
    assert (task.group, task.concurrency_key, task.unique_key) == ("batch", "acme", "nightly")
    first, second = ask(registry, Inspect(task_id(2))).attempts
    assert (first.log_lines, second.log_lines) == ((), ("one", "two"))
    assert (second.generation, second.crowd) == (3, 9)
    assert (second.peak_memory_bytes, second.cpu_seconds) == (34_000_000, 0.5)


@pytest.mark.parametrize("version", [version for version in VERSIONS if version >= 4])
def test_a_task_is_found_by_the_labels_that_it_had(version: int, tmp_path: Path) -> None:
    path = of_version(version, tmp_path)
    SqliteJournal(path).close()
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT pair, ord FROM labels").fetchall()
    assert rows == [("tenant", 3), ("tenant=acme", 3)]


@pytest.mark.parametrize("version", [version for version in VERSIONS if version < 4])
def test_what_was_stored_before_has_none_of_what_is_new(version: int, bench: Bench) -> None:
    registry = bench.registry(journal=FailingSqlite(of_version(version, bench.directory)))

    task = ask(registry, Get(task_id(2)))
    assert (task.crowd, task.generation, task.webhook) == (0, 0, 0)
    assert (task.owner, task.labels, task.group, task.unique_key) == (None, None, None, None)
    for attempt in ask(registry, Inspect(task_id(2))).attempts:
        assert attempt[-6:] == (0, 0, None, None, (), None)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_done_by_hand_is_still_known(version: int, bench: Bench) -> None:
    registry = bench.registry(
        journal=FailingSqlite(of_version(version, bench.directory)), activity_seconds=1e9
    )

    entries = ask(registry, Activity()).entries
    if version < 5:
        assert entries == []
    else:
        assert entries[-1] == Entry(
            1_750_000_000.0,
            *("retry", "tasks", "status=failed", 3, "done", "another payload"),
            *("ann", "c1f7a9d2-1", "192.0.2.7", "b1"),
        )


@pytest.mark.parametrize("version", [version for version in VERSIONS if version < 5])
def test_what_was_failed_before_is_in_groups(version: int, tmp_path: Path) -> None:
    path = of_version(version, tmp_path)
    with closing(sqlite3.connect(path)) as db:
        (finished_at,) = db.execute("SELECT finished_at FROM tasks WHERE ord = 2").fetchone()
    journal = SqliteJournal(path)
    [group] = journal.errors(Errors(), finished_at).groups
    journal.close()

    assert (group.message, group.number, group.sample_ids) == ("no ☃", 1, [task_id(2)])
    assert group.first_seen == group.last_seen == finished_at
    assert group.series == (*(0,) * 23, 1)


def test_an_update_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = of_version(1, tmp_path)
    before = columns(path)
    broken = MappingProxyType({**MIGRATIONS, 1: MIGRATIONS[1] + "INSERT INTO nowhere VALUES (1);"})
    monkeypatch.setattr("afterwards.registry.journal.file.MIGRATIONS", broken)

    with pytest.raises(JournalError, match="nowhere"):
        SqliteJournal(path)

    assert (version_of(path), columns(path)) == (1, before)


def fail_syncs_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink() == path:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


def left_behind(directory: Path) -> tuple[Path, Task]:
    """A journal whose process has died; its task is in the WAL only."""
    running = directory / "running"
    running.mkdir()
    task = make_task(order=1)
    with closing(SqliteJournal(running / "j")) as journal:
        journal.write(Group([Change(None, task)], Counter()))
        shutil.copytree(running, directory / "left")
    return directory / "left" / "j", task


def test_what_a_dead_process_left_in_the_wal_is_synced_before_it_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, task = left_behind(tmp_path)
    content = wal_path(path).read_bytes()
    written: dict[int, bytes] = {}
    real = os.pwrite

    def pwrite(descriptor: int, block: bytes, position: int) -> int:
        written[position] = block
        return real(descriptor, block, position)

    monkeypatch.setattr(os, "pwrite", pwrite)
    fail_syncs_of(wal_path(path), monkeypatch)
    with pytest.raises(JournalError, match=f"cannot be synced: {os.strerror(errno.EIO)}"):
        SqliteJournal(path)

    # As written by nobody: a sync of what the kernel takes for clean says nothing.
    assert b"".join(block for _, block in sorted(written.items())) == content
    assert wal_path(path).read_bytes() == content
    monkeypatch.undo()
    with closing(SqliteJournal(path)) as journal:
        assert [found.id for found in journal.load().unfinished] == [task.id]


def test_a_journal_whose_name_cannot_be_synced_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_syncs_of(tmp_path, monkeypatch)

    with pytest.raises(JournalError, match="cannot be synced"):
        SqliteJournal(tmp_path / "j")

    monkeypatch.undo()
    SqliteJournal(tmp_path / "j").close()
