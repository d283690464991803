"""Lists and counts of tasks: right by whatever conditions, and as quick however many there are."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from afterwards.lifecycle import Change, Task, TaskState
from afterwards.registry.journal.base import Group
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.registry.protocol.answers import Counted
from afterwards.registry.protocol.base import Registry
from afterwards.registry.protocol.filters import Filter
from afterwards.registry.protocol.requests import Add, Cancel, Count, Find
from tests.registry.bench import Bench
from tests.registry.conftest import Reach
from tests.registry.peers import ask, make_task

PENDING, PROCESSING, SCHEDULED = TaskState.PENDING, TaskState.PROCESSING, TaskState.SCHEDULED
SUCCESS, FAILED, CANCELLED = TaskState.SUCCESS, TaskState.FAILED, TaskState.CANCELLED

START = 1_750_000_000.0


def of(state: TaskState | None, name: str | None, **bounds: float | None) -> Filter:
    states = frozenset[TaskState]() if state is None else frozenset({state})
    types = frozenset[str]() if name is None else frozenset({name})
    return Filter(states, types=types, **bounds)  # type: ignore[arg-type] # bounds only, which are times


def walk(registry: Registry, query: Find) -> list[str]:
    """All pages, one after the other."""
    found: list[str] = []
    while True:
        page = ask(registry, query)
        assert len(page.tasks) <= query.limit
        found += [task.id for task in page.tasks]
        if page.next is None:
            return found
        query = query._replace(before=page.next)


@pytest.fixture
def stored(reach: Reach) -> list[Task]:
    """Tasks of three types in four states, one created each second."""
    peer = reach.peer({"async": 4})
    for second, name in enumerate(["note", "report", "note", "file"] * 5):
        created_at = START + second
        task = make_task(type=name, created_at=created_at, run_at=created_at)
        if second % 6 == 5:
            task = replace(task, state=SCHEDULED, run_at=created_at + 1e9)
        peer.add(task)
    for number, claim in enumerate(list(peer.table.values())):
        peer.succeed(claim) if number % 2 else peer.fail(claim)
    return [reach.get(make_task(id=task_id)) for task_id in reach.ids()]


def test_every_combination_of_conditions_lists_and_counts_what_fits(
    reach: Reach, stored: list[Task]
) -> None:
    assert {task.state for task in stored} == {SUCCESS, FAILED, PROCESSING, PENDING, SCHEDULED}
    times = (None, START - 1.0, START + 4.0, START + 9.5, START + 99.0)
    for state, name, after, before in itertools.product(
        (None, PENDING, FAILED, CANCELLED), (None, "note", "nothing"), times, times
    ):
        expected = [
            task.id
            for task in stored
            if (state is None or task.state is state)
            and (name is None or task.type == name)
            and (after is None or task.created_at >= after)
            and (before is None or task.created_at < before)
        ]
        wanted = of(state, name, created_after=after, created_before=before)
        assert walk(reach.registry, Find(wanted, limit=4)) == expected, wanted
        assert reach.ask(Count(wanted)) == Counted(len(expected)), wanted


def test_a_page_that_is_just_full_is_the_last(reach: Reach, stored: list[Task]) -> None:
    page = reach.ask(Find(limit=len(stored)))

    assert (len(page.tasks), page.next) == (len(stored), None)


@pytest.mark.parametrize("before", [-(2**70), 0, 2**63, 2**70])
def test_a_position_that_no_page_has_given_does_no_harm(
    reach: Reach, stored: list[Task], before: int
) -> None:
    page = reach.ask(Find(before=before))

    assert len(page.tasks) == (len(stored) if before > 0 else 0)


def test_tasks_that_come_and_go_meanwhile_shift_no_page(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    old = [bench.task() for _ in range(9)]
    for task in old:
        ask(registry, Add(task))
    found: list[str] = []
    query = Find(limit=2)
    while query.before is None or query.before:
        page = ask(registry, query)
        found += [task.id for task in page.tasks]
        ask(registry, Add(bench.task()))
        ask(registry, Cancel(page.tasks[0].id))
        query = query._replace(before=page.next or 0)

    assert found == [task.id for task in reversed(old)]


def test_times_of_creation_follow_the_order_though_the_clock_is_set_back(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    ask(registry, Add(bench.task()))
    noon = bench.clock.wall()
    bench.clock.set_wall(-3600.0)
    ask(registry, Add(bench.task()))
    registry = bench.registry(journal=bench.crash())
    ask(registry, Add(bench.task()))

    tasks = ask(registry, Find()).tasks

    assert [task.created_at for task in tasks] == [noon] * 3
    assert ask(registry, Count(Filter(created_after=noon))) == Counted(3)
    assert ask(registry, Count(Filter(created_before=noon))) == Counted(0)


# -- as quick however many ------------------------------------------------------------------------


def in_state(task: Task, state: TaskState) -> Task:
    running = task.claim("service:1:2", task.created_at)
    match state:
        case TaskState.SUCCESS:
            return running.succeed(1, b"1", task.created_at)
        case TaskState.FAILED:
            return running.fail(1, "no", task.created_at)
        case TaskState.PROCESSING:
            return running
        case _:
            return task


@contextmanager
def filled(path: Path, number: int) -> Iterator[SqliteJournal]:
    """A journal of so many tasks: nearly all have succeeded, the first failed, the last runs."""
    journal = SqliteJournal(path, check=False)
    tasks = (
        in_state(
            make_task(
                type=("note", "report", "file")[n % 3],
                order=n,
                created_at=START + n,
                run_at=START + n,
            ),
            FAILED if n == 1 else PROCESSING if n == number else SUCCESS,
        )
        for n in range(1, number + 1)
    )
    while group := list(itertools.islice(tasks, 5_000)):
        journal.write(Group([Change(None, task) for task in group], Counter()))
    try:
        yield journal
    finally:
        journal.close()


QUERIES = [
    Find(of(state, name, created_after=after, created_before=before), limit=10)
    for state in (None, SUCCESS, FAILED, PROCESSING, CANCELLED)
    for name in (None, "note", "nothing")
    for after in (None, START + 50.0)
    for before in (None, START + 150.0)
]


def steps_of(journal: SqliteJournal, query: Find) -> int:
    """The instructions of SQLite's virtual machine for a page."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    journal._reader.set_progress_handler(count, 1)
    journal.find(query)
    journal._reader.set_progress_handler(None, 1)
    return steps


def test_a_page_costs_the_same_however_many_tasks_are_stored(tmp_path: Path) -> None:
    with filled(tmp_path / "few", 200) as few, filled(tmp_path / "many", 20_000) as many:
        for query in QUERIES:
            small, large = steps_of(few, query), steps_of(many, query)

            # A bisection's few more steps, and pages that are full only of many.
            assert large <= 2 * small, (query, small, large)


def test_a_start_reads_the_unfinished_tasks_only(tmp_path: Path) -> None:
    steps: Counter[int] = Counter()
    for number in (200, 20_000):

        def count(number: int = number) -> int:
            steps[number] += 1
            return 0

        with filled(tmp_path / str(number), number) as journal:
            journal._writer.set_progress_handler(count, 1)
            assert [task.order for task in journal.load().unfinished] == [number]

    assert steps[20_000] < 1.5 * steps[200]


def test_the_unfinished_are_loaded_in_their_order_whatever_their_types(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    tasks = [bench.task(type=name) for name in ("b", "a", "c", "b", "a")]
    tasks.insert(2, bench.task(type="a", due_in=60.0))
    for task in tasks:
        ask(registry, Add(task))

    loaded = [task.id for task in bench.crash().load().unfinished]

    assert loaded == [task.id for task in tasks]


def test_a_page_stops_at_4_mebibytes_and_the_next_goes_on(reach: Reach) -> None:
    payload = b'"%b"' % (b"x" * 1_500_000)
    tasks = [make_task(payload=payload) for _ in range(5)]
    for task in tasks:
        reach.ask(Add(task))
    found: list[list[str]] = []
    before = None
    while True:
        page = reach.ask(Find(before=before))
        found.append([task.id for task in page.tasks])
        before = page.next
        if before is None:
            break
    newest_first = [task.id for task in reversed(tasks)]
    assert found == [newest_first[:2], newest_first[2:4], newest_first[4:]]


def test_a_task_that_is_larger_than_a_page_is_one(reach: Reach) -> None:
    for letter in (b"a", b"b"):
        reach.ask(Add(make_task(payload=b'"%b"' % (letter * 5_000_000))))
    page = reach.ask(Find())
    assert [task.payload[1:2] for task in page.tasks] == [b"b"]
    assert page.next is not None
