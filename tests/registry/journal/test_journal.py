"""The journal: the acknowledged is on disk, a full disk refuses, a strange file is left alone."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from afterwards.errors import JournalError, JournalLocked, JournalUnavailable, JournalUnreadable
from afterwards.lifecycle import Change, Task, TaskState, Usage
from afterwards.registry.journal.base import Group
from afterwards.registry.journal.history import kept_log
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.registry.journal.nowhere import NullJournal
from afterwards.registry.journal.schema import VERSION
from afterwards.registry.protocol.answers import AttemptRecord
from afterwards.registry.protocol.requests import Add, Cancel, Find, Get, Probe, Retry, Succeeded
from tests.registry.bench import Bench
from tests.registry.peers import ask, counts, get, make_task, raised


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(path)
    try:
        yield journal
    finally:
        journal.close()


def written(*tasks: Task) -> Group:
    return Group([Change(None, task) for task in tasks], Counter({("submitted", "note", ""): 1}))


NEW_IN_PROTOCOL_2: dict[str, Any] = {
    "crowd": 78,
    "generation": 3,
    "owner": "ann",
    "labels": '{"tenant":"acme"}',
    "parent": "00000000-0000-4000-8000-000000000001",
    "group": "00000000-0000-4000-8000-000000000002",
    "concurrency_key": "acme",
    "unique_key": "nightly",
    "webhook": 1,
}


# -- durability -----------------------------------------------------------------------------------


def test_everything_acknowledged_is_there_after_a_crash(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry, {"async": 10})
    done, failed, backing_off = (peer.run(bench.task(payload=b'{"a":1}')) for _ in range(3))
    peer.succeed(done, b'{"ok":true}')
    peer.fail(failed, error="no ☃")
    peer.fail(backing_off, retry_in=60.0)
    running = peer.run(bench.task(timeout_seconds=2.5, priority=7))
    scheduled = bench.task(due_in=60.0)
    waiting = bench.task(executor="thread")
    peer.add(scheduled, waiting)
    before = {task_id: get(registry, task_id) for task_id in registry}
    numbers = counts(registry)

    registry = bench.registry(journal=bench.crash())

    assert {task_id: get(registry, task_id) for task_id in registry} == before
    assert len(before) == 6
    assert counts(registry) == numbers
    assert get(registry, running.task_id).attempt == 1


def test_a_task_is_found_and_retried_and_not_added_again_after_a_restart(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry)
    task = bench.task()
    peer.fail(peer.run(task))

    registry = bench.registry(journal=bench.crash())

    assert registry.rules.store.get(task.id) is None
    assert ask(registry, Add(task, again=True)) is None
    assert counts(registry) == {TaskState.FAILED: 1}
    assert ask(registry, Retry(task.id)).state is TaskState.PENDING
    assert ask(registry, Add(task)) is None
    assert counts(registry) == {TaskState.PENDING: 1}


def test_new_tasks_come_after_the_old_ones_after_a_restart(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    first, second = bench.task(), bench.task()
    ask(registry, Add(first))

    registry = bench.registry(journal=bench.crash())
    ask(registry, Add(second))

    assert list(registry) == [second.id, first.id]
    assert list(bench.peer(registry).table) == [first.id, second.id]


def test_a_task_survives_the_journal_in_every_field(path: Path) -> None:
    task = make_task(
        order=3,
        payload=b'{"n": [1, 2.5, "\xc3\xa9"]}',
        executor="process",
        state=TaskState.CANCELLED,
        result=None,
        error="Cancelled while running",
        delay_seconds=1.5,
        started_at=10.25,
        finished_at=11.125,
        attempt=4,
        attempts_used=2,
        lost_attempts=1,
        max_attempts=9,
        timeout_seconds=0.5,
        deadline=12.5,
        schedule="nightly",
        idempotency_key="k",
        fingerprint=b"f",
        priority=0,
        retries=6,
        worker="service:1:2",
        cancel_requested=True,
        reason="because",
        **NEW_IN_PROTOCOL_2,
    )
    with opened(path) as journal:
        journal.write(written(task))

        assert journal.read(task.id) == task


@pytest.mark.parametrize("changed", ["crowd", "generation", "webhook"])
def test_what_changes_seldom_survives_the_journal_when_it_does(path: Path, changed: str) -> None:
    task = make_task(order=1, **NEW_IN_PROTOCOL_2)
    unmarked: dict[str, Any] = {changed: 0}
    later = replace(task, **unmarked, state=TaskState.SCHEDULED)
    with opened(path) as journal:
        journal.write(written(task))
        journal.write(Group([Change(task, later)], Counter()))

        assert journal.read(task.id) == later


def test_the_labels_of_a_task_are_found_as_long_as_the_task_is(path: Path) -> None:
    tasks = [make_task(order=n, labels='{"a":"b","c":"d=e"}' if n == 2 else None) for n in (1, 2)]
    found = []
    with opened(path) as journal:
        journal.write(written(*tasks))
        for change in (Change(tasks[0], None), Change(tasks[1], None)):
            journal.write(Group([change], Counter()))
            found.append(journal._writer.execute("SELECT pair, ord FROM labels").fetchall())

    assert found == [[("a", 2), ("a=b", 2), ("c", 2), ("c=d=e", 2)], []]


def test_the_trace_of_a_task_is_stored_as_long_as_the_task_is(path: Path) -> None:
    trace = f"00-{'4' * 32}-{'2' * 16}-01 a=1"
    tasks = [make_task(order=n, trace=trace if n == 2 else None) for n in (1, 2)]
    done = replace(tasks[1], state=TaskState.SUCCESS, finished_at=5.0)
    with opened(path) as journal:
        journal.write(written(*tasks))
        journal.write(Group([Change(tasks[1], done)], Counter()))
    with opened(path) as journal:
        found = [journal.read(task.id) for task in tasks]
        assert [task and task.trace for task in found] == [None, trace]
        [unfinished] = journal.load().unfinished
        assert unfinished.trace is None
        # Retention looks at the heads of tasks only.
        [overdue], _ = journal.overdue(6.0, 0)
        journal.write(Group([Change(overdue, None)], Counter()))
        assert journal._writer.execute("SELECT * FROM traces").fetchall() == []


def test_an_attempt_survives_the_journal_in_every_field(path: Path) -> None:
    task = make_task(order=1, crowd=9)
    held = task.claim("service:1:2", 5.0, 2)
    done = held.succeed(1, b"1", 6.0)
    end = Change(held, done, "success", 0.75, Usage(34_000_000, 0.5), ["hello", "☃ \ud800"])
    with opened(path) as journal:
        journal.write(Group([Change(None, task), Change(task, held), end], Counter()))
        found = journal.details(task.id)

    assert found is not None
    assert list(found.attempts) == [
        AttemptRecord(
            *(1, "service:1:2", task.run_at, 5.0, 6.0, 0.75, "success", None),
            generation=2,
            crowd=9,
            peak_memory_bytes=34_000_000,
            cpu_seconds=0.5,
            log_lines=("hello", "☃ ?"),
        )
    ]


@pytest.mark.parametrize("in_one_group", [True, False])
def test_only_the_last_attempt_keeps_its_log(path: Path, in_one_group: bool) -> None:
    task = make_task(order=1)
    changes = [Change(None, task)]
    for number in (1, 2, 3):
        held = task.claim("service:1:2", 5.0)
        task = held.release(number, "stopped", 6.0)
        lines = ["first", "second"][: 3 - number]
        changes.append(Change(changes[-1].new, held))
        changes.append(Change(held, task, "released", log_lines=lines))
    logs: list[list[Sequence[str]]] = []
    with opened(path) as journal, closing(NullJournal()) as memory:
        for group in [changes] if in_one_group else [changes[:3], changes[3:5], changes[5:]]:
            for store in (journal, memory):
                store.write(Group(group, Counter()))
                found = store.details(task.id)
                assert found is not None
                logs.append([attempt.log_lines for attempt in found.attempts])

    assert logs[-2:] == [[(), (), ()]] * 2
    if not in_one_group:
        assert logs[:4] == [[("first", "second")]] * 2 + [[(), ("first",)]] * 2


def test_of_a_long_log_the_last_lines_are_kept() -> None:
    assert kept_log([str(n) for n in range(100)]) == tuple(str(n) for n in range(36, 100))
    assert kept_log(["x" * 5_000, "y" * 5_000, "z"]) == ("y" * 5_000, "z")
    assert kept_log(["é" * 5_000]) == ("é" * 4_096,)
    assert kept_log(["a\nb"]) == ("a b",)


def test_another_payload_is_as_durable_as_the_first(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    task = bench.task()
    ask(registry, Add(task))
    ask(registry, Cancel(task.id))
    ask(registry, Retry(task.id, b'{"n":2}'))

    registry = bench.registry(journal=bench.crash())

    assert get(registry, task.id).payload == b'{"n":2}'
    assert bench.peer(registry).table[task.id].payload == b'{"n":2}'


def test_a_commit_is_synced_before_it_is_acknowledged(path: Path) -> None:
    with opened(path) as journal:
        pragmas = {
            name: journal._writer.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "journal_size_limit")
        }

    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "journal_size_limit": 64 * 2**20}


def test_another_process_sees_a_write_as_soon_as_it_has_returned(path: Path) -> None:
    task = make_task(order=1)
    with opened(path) as journal, contextlib.closing(sqlite3.connect(path)) as other:
        journal.write(written(task))

        assert other.execute("SELECT count(*) FROM tasks").fetchone() == (1,)


def test_commits_seldom_wait_for_the_wal_to_be_moved_into_the_file(path: Path) -> None:
    with opened(path) as journal:
        for order in range(1, 301):
            journal.write(written(make_task(order=order)))

        # By itself SQLite would have begun it anew after 1,000 pages.
        assert path.with_name(f"{path.name}-wal").stat().st_size > 1_200 * 4_096


def test_a_group_is_written_whole_or_not_at_all(path: Path) -> None:
    task = make_task(order=1)
    with opened(path) as journal:
        journal.write(written(task))
        for bad in (make_task(order=1), make_task(order=2, priority=2**70)):
            with pytest.raises((JournalUnavailable, OverflowError)):
                journal.write(written(make_task(order=5), bad))

        assert [found.id for found in journal.find(Find()).tasks] == [task.id]
        assert journal.load().counts == {("submitted", "note", ""): 1}
        journal.write(written(make_task(order=6)))


def test_a_task_that_changed_often_in_a_group_is_written_as_it_was_last(path: Path) -> None:
    new = make_task(order=1)
    claimed = new.claim("a:1:2", 5.0)
    done = claimed.succeed(1, b"1", 6.0)
    gone = make_task(order=2)
    with opened(path) as journal:
        changes = [Change(None, new), Change(new, claimed), Change(claimed, done)]
        changes += [Change(None, gone), Change(gone, None)]
        journal.write(Group(changes, Counter()))

        assert journal.read(new.id) == done
        assert journal.read(gone.id) is None
        assert journal.was_deleted(gone.id)


@pytest.mark.parametrize("spelling", [str.upper, lambda i: i.replace("-", ""), lambda i: i + " "])
def test_an_id_is_found_under_its_one_spelling_only(path: Path, spelling: object) -> None:
    task = make_task(order=1)
    assert callable(spelling)
    with opened(path) as journal:
        journal.write(written(task))

        assert journal.read(spelling(task.id)) is None
        assert not journal.was_deleted(spelling(task.id))


# -- a full disk ----------------------------------------------------------------------------------


def fill(journal: SqliteJournal) -> None:
    """Let the file grow no more: SQLite says what it says of a full disk."""
    (pages,) = journal._writer.execute("PRAGMA page_count").fetchone()
    journal._writer.execute(f"PRAGMA max_page_count = {pages}")


def empty(journal: SqliteJournal) -> None:
    journal._writer.execute("PRAGMA max_page_count = 1000000")


def test_a_full_disk_refuses_new_tasks_and_nothing_else(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal)
    peer = bench.peer(registry, {"async": 10})
    claim = peer.run(bench.task())
    fill(journal)
    large = bench.task(payload=b"x" * 100_000)

    answer, reported, read = peer.exchange(
        Add(large), Succeeded(claim.task_id, 1, b'"ok"', 0.1), Get(claim.task_id)
    ).answers

    assert isinstance(answer, JournalUnavailable)
    assert "full" in str(answer)
    assert reported is None
    assert isinstance(read, Task)
    assert get(registry, claim.task_id).state is TaskState.SUCCESS
    assert raised(ask(registry, Get(large.id))) is not None
    assert len(registry) == 1


def test_accepting_resumes_by_itself_when_there_is_room_again(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal)
    fill(journal)
    large = bench.task(payload=b"x" * 100_000)
    for _ in range(3):
        assert raised(ask(registry, Add(large))) is JournalUnavailable
        assert raised(ask(registry, Probe())) in (JournalUnavailable, None)

    empty(journal)

    assert ask(registry, Add(large)) is None
    assert ask(registry, Probe()) is None
    assert get(bench.registry(journal=bench.crash()), large.id).payload == large.payload


def test_a_journal_that_may_only_be_read_is_noticed_by_a_probe(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal)
    journal._writer.execute("PRAGMA query_only = 1")

    assert raised(ask(registry, Probe())) is JournalUnavailable
    journal._writer.execute("PRAGMA query_only = 0")
    assert ask(registry, Probe()) is None


# -- files that are no journal --------------------------------------------------------------------


def test_a_lock_of_another_process_is_said_soon_and_reading_goes_on(path: Path) -> None:
    task = make_task()
    with opened(path) as journal, contextlib.closing(sqlite3.connect(path)) as foreign:
        journal.write(written(task))
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalLocked, match="locked by another process"):
            journal.write(written(make_task()))
        assert journal.read(task.id) is not None
        foreign.execute("ROLLBACK")
        journal.write(written(make_task(order=2)))


def garbage(path: Path) -> None:
    path.write_bytes(b"These are notes of mine, and no database.\n" * 200)


def other_program(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript("CREATE TABLE recipes (name TEXT); INSERT INTO recipes VALUES ('soup');")


def later_version(path: Path) -> None:
    with opened(path) as journal:
        journal.write(written(make_task(order=1)))
        journal._writer.execute(f"PRAGMA user_version = {VERSION + 1}")


def damaged(path: Path, first: int = 8_192, last: int = 12_288) -> None:
    with opened(path) as journal:
        journal.write(written(*[make_task(order=n, payload=b"x" * 3000) for n in range(1, 60)]))
    content = bytearray(path.read_bytes())
    content[first:last] = b"\xff" * (last - first)
    path.write_bytes(content)


def damaged_in_its_schema(path: Path) -> None:
    """Behind the header, which alone makes it a file of SQLite."""
    damaged(path, 100, 4_096)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (garbage, "not a database"),
        (other_program, "another program"),
        (later_version, f"version {VERSION + 1}"),
        (damaged, "it is damaged"),
        (damaged_in_its_schema, "it is damaged"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_left_as_it_is(
    path: Path, make: object, problem: str
) -> None:
    assert callable(make)
    make(path)
    before = hashlib.sha256(path.read_bytes()).hexdigest()

    with pytest.raises(JournalError, match=problem) as caught:
        SqliteJournal(path)

    assert str(path) in str(caught.value)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


def test_damage_is_told_though_it_is_not_looked_for(path: Path) -> None:
    damaged_in_its_schema(path)

    with pytest.raises(JournalError, match="it is damaged"):
        SqliteJournal(path, check=False)


@pytest.mark.parametrize("planted", ["journal.sqlite3", "journal.sqlite3-wal"])
def test_a_journal_is_not_opened_through_a_link(path: Path, planted: str) -> None:
    victim = path.with_name("victim")
    path.with_name(planted).symlink_to(victim)

    with pytest.raises(JournalError, match=rf"{planted} cannot be used: it is a symbolic link"):
        SqliteJournal(path)

    assert not victim.exists()


def test_a_wal_that_cannot_be_opened_is_not_said_to_be_unsynced(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: Path, *_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(name))

    monkeypatch.setattr("afterwards.registry.journal.journal.sync_again", refuse)
    with pytest.raises(JournalError, match=rf"used: Permission denied \({path}\)"):
        SqliteJournal(path)


def test_a_directory_that_is_not_there_is_a_journal_error(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="unable to open"):
        SqliteJournal(tmp_path / "missing" / "journal.sqlite3")


def test_a_journal_opens_as_often_as_one_likes(path: Path) -> None:
    for order in (1, 2, 3):
        with opened(path) as journal:
            assert journal.load().next_order == order
            journal.write(written(make_task(order=order)))


# -- a journal that cannot be read ----------------------------------------------------------------


def test_what_cannot_be_read_is_refused_and_what_can_be_written_is_accepted(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal)
    peer = bench.peer(registry)
    journal._reader.close()
    task = bench.task()

    reply = peer.exchange(Get(make_task().id), Retry(make_task().id), Find(), Add(task))

    assert str(reply.answers[0]).startswith("The journal cannot be read: ")
    assert [raised(answer) for answer in reply.answers] == [JournalUnreadable] * 3 + [None]
    assert get(registry, task.id).id == task.id


def test_retention_that_cannot_read_stops_nobody(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal)
    journal._reader.close()

    for _ in range(3):
        bench.clock.turn(120)
        ask(registry, Add(bench.task()))

    assert sum(counts(registry).values()) == 3


def test_retention_does_not_read_what_may_be_large(path: Path) -> None:
    now = 1_000.0
    task = make_task(payload=b"x" * 1_000_000).accepted(1).claim("w", now)
    with opened(path) as journal:
        journal.write(written(task.succeed(1, b'"large"', now)))

        overdue, after = journal.overdue(now + 1, 0)

    assert after is None
    assert [(t.id, t.state, t.payload, t.result) for t in overdue] == [
        (task.id, TaskState.SUCCESS, b"", None)
    ]


def test_retention_goes_on_behind_times_of_creation_that_are_ahead_of_the_clock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterwards.registry.journal.journal.RETENTION_STEP_ROWS", 2)
    tasks = [make_task(order=n, created_at=9_000.0).claim("w", 10.0) for n in range(1, 5)]
    with opened(path) as journal:
        journal.write(written(*[task.succeed(1, b"1", 10.0) for task in tasks]))

        overdue, after = journal.overdue(20.0, 0)

        assert [task.order for task in overdue] == [1, 2]
        assert after == 2
        assert journal.overdue(10.0, 0) == ([], None)


def test_a_page_is_bounded_in_bytes_and_the_next_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterwards.registry.journal.listing.PAGE_BYTES", 2_500)
    tasks = [make_task(payload=b"x" * 1_000).accepted(order) for order in range(1, 6)]
    found: list[str] = []
    with opened(path) as journal:
        journal.write(written(*tasks))
        page = journal.find(Find())
        while True:
            found += [task.id for task in page.tasks]
            assert len(page.tasks) <= 2
            if page.next is None:
                break
            page = journal.find(Find(before=page.next))

    assert found == [task.id for task in reversed(tasks)]


def test_why_it_cannot_be_written_is_told_without_where_it_lies(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j")
    with contextlib.closing(sqlite3.connect(tmp_path / "j")) as other:
        other.execute("DROP TABLE probe")
        other.commit()
    with contextlib.closing(journal), pytest.raises(JournalUnavailable) as caught:
        journal.write(Group([], Counter(), probe=True))
    assert "an unexpected error; the log has it" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.place == str(tmp_path / "j")
