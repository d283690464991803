"""Lists and counts: filters, orders, searches, and the extent of a scan."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from afterwards.lifecycle import FINAL_STATES, Change, Task, TaskState
from afterwards.registry.journal import scanning, walks
from afterwards.registry.journal.base import Group
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.registry.protocol.answers import Counted, Page
from afterwards.registry.protocol.base import SUMMARY_BYTES
from afterwards.registry.protocol.filters import Filter, Order, Search
from afterwards.registry.protocol.requests import Add, Count, Find, TypeLimits
from tests.registry.conftest import Reach
from tests.registry.peers import make_task

PENDING, PROCESSING, SCHEDULED = TaskState.PENDING, TaskState.PROCESSING, TaskState.SCHEDULED
SUCCESS, FAILED, CANCELLED = TaskState.SUCCESS, TaskState.FAILED, TaskState.CANCELLED

START = 1_750_000_000.0

PAYLOADS: tuple[object, ...] = (
    {"customer": {"id": 7, "name": 'Zoë "Z" 100%'}, "rows": [{"sku": "a_b"}]},
    {"customer": {"id": "7", "paid": True, "note": None}},
    {"customer": {"id": 7.0}, "7": 1},
    {},
)


def states(*wanted: TaskState) -> frozenset[TaskState]:
    return frozenset(wanted)


def types(*wanted: str) -> frozenset[str]:
    return frozenset(wanted)


@pytest.fixture
def stored(reach: Reach) -> list[Task]:
    """Tasks of three types in all states but one, with labels and various payloads."""
    limits = {name: TypeLimits(concurrency_per_key=9) for name in ("note", "report", "file")}
    peer = reach.peer({"async": 9}, limits)
    labels = (None, '{"plan":"pro","tenant":"acme"}', '{"tenant":"b=c"}')
    for second in range(24):
        created_at = START + second
        later = second % 6 == 5
        peer.add(
            make_task(
                type=("note", "report", "note", "file")[second % 4],
                created_at=created_at,
                run_at=created_at + 1e9 if later else created_at,
                state=SCHEDULED if later else PENDING,
                labels=labels[second % 3],
                concurrency_key=(None, "a", "b", "a")[second % 4],
                unique_key=f"u{second}" if second % 2 else None,
                payload=json.dumps(PAYLOADS[second % 4], ensure_ascii=False).encode(),
            )
        )
    for number, claim in enumerate(list(peer.table.values())):
        if number % 3 == 0:
            peer.succeed(claim)
        else:
            peer.fail(claim, error="Card declined", retry_in=None if number % 3 == 1 else 60.0)
    return [reach.get(make_task(id=task_id)) for task_id in reach.ids()]


def walk(reach: Reach, query: Find) -> list[str]:
    found: list[str] = []
    while True:
        page: Page = reach.ask(query)
        found += [task.id for task in page.tasks]
        if page.next is None:
            return found
        query = query._replace(before=page.next)


def ids(tasks: Iterable[Task]) -> list[str]:
    return [task.id for task in tasks]


FILTERS = [
    Filter(chosen, retrying, of_types, labels, after, before, finished)
    for chosen, retrying in (
        (states(), False),
        (states(FAILED, PENDING), False),
        (states(), True),
        (states(SUCCESS), True),
    )
    for of_types in (types(), types("note", "file"))
    for labels in ((), ("tenant",), ("tenant=b=c",), ("plan=pro", "tenant=acme"), ("x",))
    for after, before in ((None, None), (START + 3.0, START + 19.0))
    for finished in (None, START)
][::3] + [
    Filter(chosen, retrying, of_types, labels, concurrency_key=key, unique_key=unique)
    for chosen, retrying in ((states(), False), (states(FAILED), True))
    for of_types in (types(), types("report"))
    for labels in ((), ("tenant",))
    for key, unique in (("a", None), (None, "u5"), ("a", "u5"), ("b", "u5"), ("x", None))
]


def expected(tasks: Iterable[Task], wanted: Filter) -> list[Task]:
    """Written once more, without what is tested."""

    def labels(task: Task) -> set[str]:
        pairs = json.loads(task.labels or "{}").items()
        return {text for key, value in pairs for text in (key, f"{key}={value}")}

    return [
        task
        for task in tasks
        if (
            not (wanted.states or wanted.retrying)
            or task.state in wanted.states
            or (wanted.retrying and task.attempts_used and not task.state.is_final)
        )
        and (not wanted.types or task.type in wanted.types)
        and labels(task).issuperset(wanted.labels)
        and wanted.concurrency_key in (None, task.concurrency_key)
        and wanted.unique_key in (None, task.unique_key)
        and (wanted.created_after is None or task.created_at >= wanted.created_after)
        and (wanted.created_before is None or task.created_at < wanted.created_before)
        and (wanted.finished_after is None or task.finished_at is not None)
    ]


def test_every_filter_lists_and_counts_what_fits(reach: Reach, stored: list[Task]) -> None:
    assert {task.state for task in stored} >= {SUCCESS, FAILED, PROCESSING, SCHEDULED}
    assert len({len(expected(stored, wanted)) for wanted in FILTERS}) > 5
    for wanted in FILTERS:
        fitting = ids(expected(stored, wanted))
        assert walk(reach, Find(wanted, limit=4)) == fitting, wanted
        assert reach.ask(Count(wanted)) == Counted(len(fitting)), wanted


def test_tasks_are_listed_by_their_end_the_latest_first(reach: Reach, stored: list[Task]) -> None:
    ended = sorted(
        (task for task in stored if task.state in FINAL_STATES),
        key=lambda task: (task.finished_at, task.order),
        reverse=True,
    )
    for wanted in FILTERS:
        found = walk(reach, Find(wanted, limit=3, order=Order.FINISHED))
        assert found == ids(expected(ended, wanted)), wanted


def test_tasks_are_listed_by_when_they_are_due_the_soonest_first(
    reach: Reach, stored: list[Task]
) -> None:
    waiting = sorted(
        (task for task in stored if task.state not in FINAL_STATES),
        key=lambda task: (task.run_at, task.order),
    )
    for wanted in FILTERS:
        found = walk(reach, Find(wanted, limit=3, order=Order.DUE))
        assert found == ids(expected(waiting, wanted)), wanted


@pytest.mark.parametrize(
    ("search", "payloads"),
    [
        (Search("7", ("customer", "id")), {0, 1, 2}),
        (Search("7.0", ("customer", "id")), {0, 2}),
        (Search("a_b", ("rows", "0", "sku")), {0}),
        (Search("a_b", ("rows", "1", "sku")), set()),
        (Search("true", ("customer", "paid")), {1}),
        (Search("1", ("customer", "paid")), set()),
        (Search("null", ("customer", "note")), {1}),
        (Search("7", ("customer",)), set()),
        (Search('zoë "z" 100%'), {0}),
        (Search('"id": 7}'), set()),
        (Search('"name": "Zo'), {0}),
        (Search("A_B"), {0}),
        (Search("a%b"), set()),
        (Search("azb"), set()),
    ],
)
def test_a_search_finds_text_and_members_of_payloads(
    reach: Reach, stored: list[Task], search: Search, payloads: set[int]
) -> None:
    raw = [json.dumps(PAYLOADS[one], ensure_ascii=False).encode() for one in payloads]
    fitting = [task for task in stored if task.payload in raw]

    assert walk(reach, Find(Filter(search=search), limit=5)) == ids(fitting)
    assert reach.ask(Count(Filter(search=search))) == Counted(len(fitting))


def test_a_search_finds_text_in_errors_without_regard_to_case(
    reach: Reach, stored: list[Task]
) -> None:
    wanted = Filter(states(FAILED), search=Search("card DECLINED"))
    failed = [task for task in stored if task.state is FAILED]

    assert walk(reach, Find(wanted, limit=2)) == ids(failed) != []


@pytest.mark.parametrize("length", [36, 23, 9, 8, 6])
@pytest.mark.parametrize("order", [Order.CREATED, Order.DUE])
def test_a_search_finds_an_id_by_its_beginning(
    reach: Reach, stored: list[Task], length: int, order: Order
) -> None:
    task = next(task for task in stored if task.state is PROCESSING)

    page = reach.ask(Find(Filter(search=Search(task.id[:length].upper())), order=order))

    assert ids(page.tasks) == [task.id]


def test_a_summary_has_the_beginning_of_the_payload_and_no_result(reach: Reach) -> None:
    payload = b'"%b"' % (b"x" * 5_000)
    reach.ask(Add(make_task(payload=payload)))
    for order in (Order.CREATED, Order.DUE):
        [task] = reach.ask(Find(summary=True, order=order)).tasks
        assert (task.payload, task.result) == (payload[:SUMMARY_BYTES], None)


def test_a_count_ends_where_it_is_told_to(reach: Reach, stored: list[Task]) -> None:
    for wanted in (Filter(labels=("tenant",)), Filter(created_after=START, retrying=False)):
        number = len(expected(stored, wanted))
        assert reach.ask(Count(wanted, most=number)) == Counted(number)
        assert reach.ask(Count(wanted, most=3)) == Counted(3, exact=False)


# -- as quick however many ------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path: Path) -> Iterable[SqliteJournal]:
    """Two thousand tasks that have succeeded, and one that has failed before them."""
    journal = SqliteJournal(tmp_path / "many", check=False)
    tasks = []
    for n in range(1, 2_002):
        at = START + n
        task = make_task(order=n, created_at=at, run_at=at, labels='{"a":"b"}' if n < 100 else None)
        held = task.claim("service:1:2", at)
        tasks.append(held.fail(1, "no", at) if n == 1 else held.succeed(1, b"1", at))
    journal.write(Group([Change(None, task) for task in tasks], Counter()))
    yield journal
    journal.close()


def test_a_scan_says_how_far_it_came_and_goes_on_from_there(
    many: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "SCAN_SECONDS", 0.0)
    pages: list[Page] = []
    query = Find(Filter(search=Search("no")))
    while True:
        pages.append(page := many.find(query))
        if page.next is None:
            break
        query = query._replace(before=page.next)

    scans = [page.scan for page in pages]
    assert [scan.complete for scan in scans if scan] == [False] * (len(pages) - 1) + [True]
    assert sum(scan.examined for scan in scans if scan) == 2_001
    assert [task.order for page in pages for task in page.tasks] == [1]
    reached = [scan.reached for scan in scans if scan and scan.reached]
    assert reached == sorted(reached, reverse=True)
    assert many.count(Count(query.filter)) == Counted(0, exact=False)


def test_what_is_read_of_the_tasks_that_a_scan_finds_is_not_interrupted(
    many: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(scanning, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(scanning, "_INSTRUCTIONS", 1)
    with many._snapshot(scanning=True) as db:
        walked = ((0.0, order) for order in range(1, 2_001))
        found = scanning.scan(db, walked, scanning.Conditions("TRUE", {}), scanning.Progress())
        second_chunk = next(itertools.islice(found, 20, None))
        now = 1.0
        assert db.execute("SELECT count(*) FROM tasks").fetchone() == (2_001,)
    assert second_chunk == (0.0, 21)


def test_what_an_index_knows_is_not_looked_at_one_by_one(many: SqliteJournal) -> None:
    alone = (
        Filter(),
        Filter(states(FAILED, SUCCESS), types=types("note", "file")),
        Filter(labels=("a=b",), created_after=START + 50.0),
    )
    ended = states(FAILED, CANCELLED)
    by_end = (Filter(ended), Filter(states(FAILED)), Filter(ended, finished_after=START + 5.0))
    queries = [
        *(Find(wanted, limit=5) for wanted in alone),
        *(Find(wanted, limit=5, order=Order.FINISHED) for wanted in by_end),
    ]
    for query in queries:
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        many._reader.set_progress_handler(count, 1)
        assert many.find(query).scan is None
        many._reader.set_progress_handler(None, 1)
        assert 0 < steps < 3_000, query


def test_successes_by_their_ends_are_looked_for_among_the_newest(
    many: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = Find(Filter(states(SUCCESS)), limit=5, order=Order.FINISHED)
    every = many.find(query._replace(limit=10_000))
    assert every.scan is None
    monkeypatch.setattr(walks, "MOST_SUCCESSES", 20)

    page = many.find(query)

    assert page.tasks == every.tasks[:5]
    assert page.next is not None
    assert page.scan is not None
    assert not page.scan.complete
    assert page.scan.reached == page.tasks[-1].finished_at
    of_before = many.find(query._replace(before=page.next))
    assert not {task.id for task in of_before.tasks} & {task.id for task in page.tasks}


def test_a_scan_takes_another_connection_than_status_reads(many: SqliteJournal) -> None:
    task = many.find(Find(limit=1)).tasks[0]
    with many._snapshot(scanning=True):
        assert many.read(task.id) == task


def test_an_id_that_is_found_is_the_whole_answer(many: SqliteJournal) -> None:
    task = many.find(Find(limit=1, before=5)).tasks[0]

    page = many.find(Find(Filter(search=Search(task.id))))

    assert page.scan is not None
    assert (ids(page.tasks), page.scan.examined, page.scan.complete) == ([task.id], 1, True)
    other = Filter(states(FAILED), search=Search(task.id))
    assert many.find(Find(other)).tasks == []


def test_json_that_is_too_deep_for_sqlite_is_no_error(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "deep", check=False)
    deep = b'{"a":' + b"[" * 3_000 + b"]" * 3_000 + b"}"
    task = replace(make_task(order=1), payload=deep)
    journal.write(Group([Change(None, task)], Counter()))
    assert journal.find(Find(Filter(search=Search("7", ("a",))))).tasks == []
    journal.close()


def test_the_orders_of_an_equal_time_are_told_apart(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "equal", check=False)
    tasks = [make_task(order=n).claim("s:1:2", START).succeed(1, b"1", START) for n in range(1, 8)]
    journal.write(Group([Change(None, task) for task in tasks], Counter()))
    found: list[int] = []
    query = Find(limit=2, order=Order.FINISHED)
    for _ in itertools.count():
        page = journal.find(query)
        found += [task.order for task in page.tasks]
        if page.next is None:
            break
        query = query._replace(before=page.next)
    journal.close()
    assert found == [7, 6, 5, 4, 3, 2, 1]
