"""Groups of the tasks that are failed now: as exact as the tasks, whatever happens to these."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from afterwards.errors import JournalUnavailable
from afterwards.lifecycle import Change, Task, TaskState
from afterwards.registry.journal import failures
from afterwards.registry.journal.base import Group
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.registry.protocol.answers import ErrorGroup, ErrorPage
from afterwards.registry.protocol.base import Registry
from afterwards.registry.protocol.filters import Filter, Order, Search
from afterwards.registry.protocol.requests import (
    Cancel,
    Count,
    Errors,
    Failed,
    Find,
    Retry,
)
from tests.registry.bench import Bench
from tests.registry.conftest import Reach
from tests.registry.peers import ask, make_task, raised


def page(registry: Registry, **query: Any) -> ErrorPage:
    found = ask(registry, Errors(**query))
    assert isinstance(found, ErrorPage), found
    return found


def groups(registry: Registry, **query: Any) -> list[tuple[str, str, int]]:
    return [(one.type, one.message, one.number) for one in page(registry, **query).groups]


def fail(reach: Reach, *errors: str, name: str = "note") -> list[str]:
    """Tasks that fail with these errors, one after the other."""
    peer = reach.peer()
    failed = []
    for error in errors:
        claim = peer.run(make_task(type=name))
        peer.fail(claim, error=error)
        failed.append(claim.task_id)
    return failed


def test_failed_tasks_are_grouped_by_type_and_kind_of_error(reach: Reach) -> None:
    before = time.time()
    ids = fail(reach, "order 1 is late", "no 'a'", "order 2 is late", "order 3 is late", "no 'b'")
    fail(reach, "order 4 is late", name="file")
    ids += fail(reach, "order 5 is late")

    assert groups(reach.registry) == [
        ("note", "order # is late", 4),
        ("note", "no '…'", 2),
        ("file", "order # is late", 1),
    ]
    assert groups(reach.registry, type="file") == [("file", "order # is late", 1)]
    assert groups(reach.registry, limit=1) == [("note", "order # is late", 4)]
    latest = page(reach.registry, latest_first=True).groups
    assert [(one.type, one.number) for one in latest] == [("note", 4), ("file", 1), ("note", 2)]
    assert list(latest[0].sample_ids) == [ids[5], ids[3], ids[2]]
    assert before <= latest[0].first_seen <= latest[0].last_seen <= time.time()
    assert sum(latest[0].series) == sum(latest[0].series[-2:]) == 4
    assert page(reach.registry, id=latest[1].id).groups == [latest[1]]
    assert page(reach.registry, id="0" * 16).groups == []
    assert page(reach.registry).ungrouped == 0


def test_a_group_lists_and_counts_its_tasks(reach: Reach) -> None:
    ids = fail(reach, "no 1", "other", "no 2", "no 3")
    error = page(reach.registry).groups[0].id

    def found(**query: Any) -> tuple[list[str], int]:
        wanted = Filter(error=error, **query)
        listed, counted = reach.ask(Find(wanted)), reach.ask(Count(wanted))
        assert listed.scan is None or listed.scan.complete
        return [task.id for task in listed.tasks], counted.number

    every = ([ids[3], ids[2], ids[0]], 3)
    failed, note = frozenset({TaskState.FAILED}), frozenset({"note"})
    assert found() == found(types=note, states=failed) == every
    assert (
        found(types=frozenset({"file"}))
        == found(states=frozenset({TaskState.CANCELLED}))
        == ([], 0)
    )
    assert found(retrying=True) == found(labels=("tenant",)) == ([], 0)
    assert found(search=Search("o 2")) == ([ids[2]], 1)
    assert found(finished_after=0.0) == every
    by_end = reach.ask(Find(Filter(error=error), order=Order.FINISHED))
    assert [task.id for task in by_end.tasks] == every[0]
    first = reach.get(make_task(id=ids[0]))
    assert found(created_before=first.created_at) == ([], 0)
    assert found(created_after=first.created_at)[1] == 3
    newest = reach.ask(Find(Filter(error=error), limit=1))
    rest = reach.ask(Find(Filter(error=error), before=newest.next))
    assert [task.id for task in rest.tasks] == [ids[2], ids[0]]


def test_a_task_that_is_retried_leaves_its_group_and_the_last_one_takes_it_along(
    reach: Reach,
) -> None:
    ids = fail(reach, "no 1", "no 2")
    peer = reach.peer({"async": 0})
    assert isinstance(peer.ask(Retry(ids[0])), Task)

    [group] = page(reach.registry).groups
    assert (group.number, list(group.sample_ids), sum(group.series)) == (1, [ids[1]], 2)
    assert isinstance(peer.ask(Retry(ids[1])), Task)
    assert groups(reach.registry) == []
    assert reach.ask(Find(Filter(error=group.id))).tasks == []


def bench_fail(bench: Bench, registry: Any, *errors: str) -> list[str]:
    peer = bench.peer(registry)
    failed = []
    for error in errors:
        claim = peer.run(bench.task())
        peer.fail(claim, error=error)
        failed.append(claim.task_id)
    return failed


def test_groups_survive_a_crash(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    bench_fail(bench, registry, "no 1", "other", "no 2")
    before = page(registry)

    registry = bench.registry(journal=bench.crash())

    assert page(registry) == before
    assert [one.number for one in before.groups] == [2, 1]


def test_a_failure_that_could_not_be_written_is_in_no_group(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal)
    [failed] = bench_fail(bench, registry, "no 1")
    peer = bench.peer(registry)
    claim = peer.run(bench.task())
    journal.failures = 2
    assert raised(peer.ask(Failed(claim.task_id, 1, "no 2", 0.1, None))) is JournalUnavailable
    assert [one[2] for one in groups(registry)] == [1]
    journal.failures = 2
    assert raised(peer.ask(Retry(failed))) is JournalUnavailable
    assert [one[2] for one in groups(registry)] == [1]

    peer.fail(claim, error="no 2")
    assert [one[2] for one in groups(registry)] == [2]


def test_a_group_goes_with_its_tasks(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal, retention_seconds=100.0)
    bench_fail(bench, registry, "no 1", "no 2")
    for _ in range(3):
        bench.clock.turn(100.0)
        registry.tick()

    assert groups(registry) == []
    for table in ("failures", "error_groups"):
        assert journal._writer.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_the_hours_go_by(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal(), retention_seconds=7 * 86_400.0)
    bench_fail(bench, registry, "no 1", "no 2")
    bench.clock.turn(5 * 3600.0)
    bench_fail(bench, registry, "no 3")
    bench.clock.turn(18 * 3600.0)

    [group] = page(registry).groups
    assert group.series == (2, *(0,) * 4, 1, *(0,) * 18)
    bench.clock.turn(3600.0)
    assert page(registry).groups[0].series == (*(0,) * 4, 1, *(0,) * 19)
    bench.clock.turn(30 * 3600.0)
    assert set(page(registry).groups[0].series) == {0}


def test_of_too_many_groups_the_rest_is_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MOST_GROUPS", 2)
    for journal in (None, bench.journal()):
        registry = bench.registry(journal=journal)
        ids = bench_fail(bench, registry, "a", "b", "c", "d", "a")
        assert [one[1:] for one in groups(registry)] == [("a", 2), ("b", 1)]
        assert page(registry).ungrouped == 2

        # There is room again for what fails from now on.
        for task_id in ids[1:3]:
            ask(registry, Retry(task_id))
            ask(registry, Cancel(task_id))
        bench_fail(bench, registry, "e")
        assert page(registry).ungrouped == 1
        assert {one[1] for one in groups(registry)} == {"a", "e"}


def failed_task(order: int, error: str, at: float = 1_000.0) -> Task:
    return replace(
        make_task(order=order), state=TaskState.FAILED, error=error, attempt=1, finished_at=at
    )


def test_what_fails_and_is_retried_and_fails_in_one_group_is_there_once(tmp_path: Path) -> None:
    task = make_task(order=1)
    held = task.claim("service:1:2", 5.0)
    failed = held.fail(1, "no 1", 6.0)
    again = failed.retry(7.0)
    held_again = again.claim("service:1:2", 8.0)
    failed_again = held_again.fail(2, "other", 9.0)
    journal = SqliteJournal(tmp_path / "j")
    changes = [Change(None, task), Change(task, held), Change(held, failed, "failure")]
    journal.write(Group(changes, Counter()))
    more = [Change(failed, again), Change(again, held_again)]
    journal.write(Group([*more, Change(held_again, failed_again, "failure")], Counter()))

    found = journal.errors(Errors(), 10.0).groups
    journal.close()

    assert [(one.message, one.number) for one in found] == [("other", 1)]


def test_listing_groups_reads_no_more_of_many_failed_tasks(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j")

    def steps() -> int:
        count = 0

        def step() -> int:
            nonlocal count
            count += 1
            return 0

        journal._reader.set_progress_handler(step, 1)
        found: list[ErrorGroup] = list(journal.errors(Errors(), 1_000.0).groups)
        journal._reader.set_progress_handler(None, 0)
        assert [len(one.sample_ids) for one in found] == [3, 3, 3]
        return count

    def add(orders: range) -> None:
        tasks = [failed_task(order, f"kind {'abc'[order % 3]} of {order}") for order in orders]
        journal.write(Group([Change(None, task) for task in tasks], Counter()))

    add(range(1, 31))
    few = steps()
    add(range(31, 3_031))
    assert steps() <= few * 1.1
    journal.close()
