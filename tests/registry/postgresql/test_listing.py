"""Lists of tasks that several processes have accepted, and the extent of a scan."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from afterwards.registry.postgresql import listing
from afterwards.registry.postgresql.registry import PostgresqlRegistry
from afterwards.registry.protocol.answers import Counted, Page
from afterwards.registry.protocol.base import Registry
from afterwards.registry.protocol.filters import Filter, Order, Search
from afterwards.registry.protocol.requests import Add, Cancel, Count, Delete, Find
from tests.registry.conftest import Reach
from tests.registry.peers import SERVICE, Processes, ask, make_task

pytestmark = [pytest.mark.machines, pytest.mark.processes]

START = 1_750_000_000.0


@pytest.fixture
def registries(empty_database: str) -> Iterator[list[PostgresqlRegistry]]:
    registries = [PostgresqlRegistry(empty_database, SERVICE) for _ in range(2)]
    yield registries
    for registry in registries:
        registry.close()


def pages(registry: Registry, query: Find) -> list[Page]:
    found: list[Page] = []
    while True:
        found.append(page := ask(registry, query))
        if page.next is None:
            return found
        query = query._replace(before=page.next)


def test_tasks_of_several_processes_are_listed_in_the_order_of_their_creation(
    registries: list[PostgresqlRegistry],
) -> None:
    tasks = [make_task(created_at=START + n, labels='{"a":"b"}') for n in range(8)]
    for number, task in enumerate(tasks):
        assert ask(registries[number % 2], Add(task)) is None

    newest_first = [task.id for task in reversed(tasks)]
    for wanted in (Filter(), Filter(labels=("a=b",))):
        found = pages(registries[0], Find(wanted, limit=3))
        assert [task.id for page in found for task in page.tasks] == newest_first
        assert [page.scan for page in found] == [None] * 3


def test_finished_tasks_by_their_end_are_known_to_an_index(
    registries: list[PostgresqlRegistry],
) -> None:
    cancelled = [make_task(executor="thread") for _ in range(3)]
    for task in cancelled:
        ask(registries[0], Add(task))
        ask(registries[1], Cancel(task.id))

    found = pages(registries[0], Find(limit=2, order=Order.FINISHED))

    assert [task.id for page in found for task in page.tasks] == [t.id for t in cancelled[::-1]]
    assert [page.scan for page in found] == [None] * 2


def test_a_scan_says_how_far_it_came_and_goes_on_from_there(
    registries: list[PostgresqlRegistry], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = registries[0]
    monkeypatch.setattr(listing, "SCAN_SECONDS", 0.0)
    monkeypatch.setattr(listing, "_FIRST_CHUNK", 16)
    texts = [b'"found"', *[b'"another"'] * 40]
    for n, payload in enumerate(texts):
        ask(registry, Add(make_task(created_at=START + n, payload=payload)))
    query = Find(Filter(search=Search("FOUND")))

    scans = [(page.scan, page.tasks) for page in pages(registry, query)]

    assert [scan.examined for scan, _ in scans if scan] == [16, 16, 9, 0]
    assert [scan.complete for scan, _ in scans if scan] == [False] * 3 + [True]
    assert [scan.reached for scan, _ in scans if scan] == [START + 25, START + 9, START, None]
    assert [task.payload for _, tasks in scans for task in tasks] == [b'"found"']
    assert ask(registry, Count(query.filter)) == Counted(0, exact=False)


def test_large_payloads_are_looked_through_a_few_at_once(
    registries: list[PostgresqlRegistry], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = registries[0]
    monkeypatch.setattr(listing, "SCAN_SECONDS", 0.0)
    for n in range(5):
        payload = b'"%b"' % (b"x" * 400_000)
        ask(registry, Add(make_task(created_at=START + n, payload=payload)))

    [first, *_] = pages(registry, Find(Filter(search=Search("y"))))

    assert first.scan is not None
    assert first.scan.examined == 2


def test_a_text_that_no_column_can_hold_is_in_no_task(
    registries: list[PostgresqlRegistry],
) -> None:
    ask(registries[0], Add(make_task(unique_key="a")))
    for wanted in (Filter(unique_key="a\0"), Filter(group="none"), Filter(labels=("\0",))):
        assert ask(registries[0], Find(wanted)) == Page([], None)
        assert ask(registries[0], Count(wanted)) == Counted(0)


def test_a_deleted_task_leaves_no_mark(empty_database: str, processes: Processes) -> None:
    registry = PostgresqlRegistry(empty_database, SERVICE)
    reach = Reach(lambda: registry, SERVICE, processes, "postgresql")
    peer = reach.peer()
    claim = peer.run(make_task(labels='{"a":"b"}', concurrency_key="c", unique_key="d"))
    peer.fail(claim, error="no")
    counted = "SELECT count(*) FROM afterwards.marks"
    failed = "SELECT count(*) FROM afterwards.failures"

    assert registry._database.read((counted, ()), (failed, ())) == [[(4,)], [(1,)]]
    assert reach.ask(Delete(claim.task_id)) is None
    assert registry._database.read((counted, ()), (failed, ())) == [[(0,)], [(0,)]]
    registry.close()
