"""Reads by id: they wait for no commit, and see what is committed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from afterwards.lifecycle import Task, TaskState
from afterwards.registry.engine.memory import MemoryRegistry
from afterwards.registry.journal.base import Group
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.registry.journal.nowhere import NullJournal
from afterwards.registry.protocol.answers import Details
from afterwards.registry.protocol.requests import Add, Cancel, Find, Get, Inspect, ReadById
from tests.registry.bench import Bench, FailingNull, FailingSqlite
from tests.registry.peers import SERVICE, WAIT_SECONDS, ask, make_task

PENDING, CANCELLED = TaskState.PENDING, TaskState.CANCELLED


class Gate:
    """Holds up a write when it is closed, just before or just after its commit."""

    def __init__(self) -> None:
        self.closed_at: str | None = None
        self.reached = threading.Event()
        self.opened = threading.Event()

    def pass_(self, place: str) -> None:
        if place == self.closed_at:
            self.reached.set()
            assert self.opened.wait(WAIT_SECONDS)


class HeldNull(NullJournal):
    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate()

    def write(self, group: Group) -> None:
        self.gate.pass_("before")
        super().write(group)
        self.gate.pass_("after")


class HeldSqlite(SqliteJournal):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gate = Gate()

    def write(self, group: Group) -> None:
        self.gate.pass_("before")
        super().write(group)
        self.gate.pass_("after")


HeldJournal = HeldNull | HeldSqlite


@pytest.fixture(params=[HeldNull, HeldSqlite])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> HeldJournal:
    held: HeldJournal = HeldNull() if request.param is HeldNull else HeldSqlite(tmp_path / "j")
    return held


@pytest.fixture
def registry(journal: HeldJournal) -> Iterator[MemoryRegistry]:
    registry = MemoryRegistry(SERVICE, journal=journal)
    yield registry
    journal.gate.opened.set()
    registry.close()


@contextmanager
def held(journal: HeldJournal, place: str, carry_out: Callable[[], Any]) -> Iterator[None]:
    """Have a group carried out whose commit is held up; let it go on at the end."""
    journal.gate.closed_at = place
    caller = threading.Thread(target=carry_out)
    caller.start()
    try:
        assert journal.gate.reached.wait(WAIT_SECONDS)
        yield
    finally:
        journal.gate.opened.set()
        caller.join()


def state(answer: Any) -> TaskState | None:
    """None: there is no such task."""
    if isinstance(answer, Details):
        answer = answer.task
    return answer.state if isinstance(answer, Task) else None


def both(task: Task) -> list[ReadById]:
    return [Get(task.id), Inspect(task.id)]


def test_a_read_does_not_wait_for_a_commit_and_sees_what_was_before(
    registry: MemoryRegistry, journal: HeldJournal
) -> None:
    task, idle, new = make_task(), make_task(), make_task()
    registry.exchange(None, 0, [Add(task), Add(idle)])
    reads = [*both(task), Get(idle.id), *both(new)]

    with held(journal, "before", lambda: registry.exchange(None, 0, [Cancel(task.id), Add(new)])):
        seen = [state(answer) for answer in registry.read(reads)]
        assert seen == [PENDING, PENDING, PENDING, None, None]

    seen = [state(answer) for answer in registry.read(reads)]
    assert seen == [CANCELLED, CANCELLED, PENDING, PENDING, PENDING]


@pytest.mark.parametrize("journal", [HeldSqlite], indirect=True)
def test_what_the_journal_shows_already_a_read_sees(
    registry: MemoryRegistry, journal: HeldSqlite
) -> None:
    task, new = make_task(), make_task()
    registry.exchange(None, 0, [Add(task)])

    with held(journal, "after", lambda: registry.exchange(None, 0, [Cancel(task.id), Add(new)])):
        listed = {found.id: found.state for found in journal.find(Find()).tasks}
        assert listed == {task.id: CANCELLED, new.id: PENDING}
        seen = [state(answer) for answer in registry.read([Get(task.id), Get(new.id)])]
        assert seen == [CANCELLED, PENDING]


def test_no_read_sees_what_a_task_was_on_its_way_through_a_group(bench: Bench) -> None:
    shown: list[Task] = []

    class Shown(dict[str, Task]):
        def __setitem__(self, task_id: str, task: Task) -> None:
            shown.append(task)
            super().__setitem__(task_id, task)

    registry = bench.registry(journal=bench.journal())
    registry._committed._tasks = Shown()

    bench.peer(registry).run(bench.task())

    assert [task.state for task in shown] == [TaskState.PROCESSING], "accepted and claimed in one"


@pytest.mark.parametrize("make", [FailingNull, None], ids=["memory", "journal"])
def test_a_read_sees_nothing_of_a_group_that_was_taken_back(
    bench: Bench, make: type[FailingNull] | None
) -> None:
    journal: FailingNull | FailingSqlite = make() if make else bench.journal()
    registry = bench.registry(journal=journal)
    task, new = bench.task(), bench.task()
    assert ask(registry, Add(task)) is None
    journal.failures = 2

    registry.exchange(None, 0, [Cancel(task.id), Add(new)])

    assert [state(answer) for answer in registry.read([*both(task), *both(new)])] == [
        *(PENDING, PENDING),
        *(None, None),
    ]


def test_after_a_restart_unfinished_tasks_are_read_from_memory(bench: Bench) -> None:
    task = bench.task()
    assert ask(bench.registry(journal=bench.journal()), Add(task)) is None

    registry = bench.registry(journal=bench.crash())

    found = registry._committed.get(task.id)
    assert found is not None
    assert registry.read([Get(task.id)]) == [found]
