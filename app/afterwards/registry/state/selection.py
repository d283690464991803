"""Lists and counts of tasks that are in memory: what is unfinished, or all without a journal.

The tasks are gathered by the thread that has the turn, and looked at in the thread of the asker.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Final

from afterwards.lifecycle import Task, TaskState
from afterwards.registry.journal.listing import as_listed, page_of_members, size_of
from afterwards.registry.journal.masks import kind_of
from afterwards.registry.journal.scanning import SCAN_SECONDS
from afterwards.registry.protocol.answers import Counted, Page, Scan
from afterwards.registry.protocol.base import PAGE_BYTES
from afterwards.registry.protocol.filters import Filter, Order, PageEnd, fits, holds
from afterwards.registry.protocol.requests import Count, Find, Members

_AT_ONCE: Final = 256
"""Tasks that are looked at before others get their turn: Python's lock is everybody's."""

_Entry = tuple[float, int, Task]
"""A task of a heap; the least entry comes first."""


def _fits(task: Task, wanted: Filter) -> bool:
    return fits(task, wanted) and (wanted.error is None or _has_error(task, wanted.error))


def _has_error(task: Task, group_id: str) -> bool:
    if task.state is not TaskState.FAILED:
        return False
    return kind_of(task.type, task.error or "").id.hex() == group_id


def count(tasks: Sequence[Task], query: Count) -> Counted:
    """The number of the tasks that are asked for."""
    number = 0
    for task in _in_turns(tasks):
        if _fits(task, query.filter) and holds(task, query.filter.search):
            number += 1
            if query.most is not None and number > query.most:
                return Counted(query.most, exact=False)
    return Counted(number)


def find(tasks: Sequence[Task], query: Find) -> Page:
    """A page of the tasks."""
    entries = [
        entry
        for task in _in_turns(tasks)
        if _fits(task, query.filter)
        and (entry := _entry(task, query.order)) is not None
        and (query.before is None or entry[:2] > _bound(query.before, query.order))
    ]
    heapq.heapify(entries)
    return _page(entries, query)


def members(tasks: Iterable[Task], query: Members) -> Page:
    """A page of the members of a group."""
    found = [t for t in _in_turns(tasks) if t.group == query.group and t.order > query.after]
    return page_of_members(sorted(found, key=attrgetter("order")), query)


def _page(entries: list[_Entry], query: Find) -> Page:
    """Take from the heap until the page is full or the time is over."""
    page: list[Task] = []
    size = examined = 0
    last: Task | None = None
    until = time.monotonic() + SCAN_SECONDS
    search = query.filter.search

    def ended(position: PageEnd | None) -> Page:
        scan = None
        if search is not None:
            reached = None if last is None else moment_of(last, query.order)
            scan = Scan(examined, reached, complete=position is None)
        return Page([as_listed(task, query) for task in page], position, scan=scan)

    while entries:
        task = entries[0][2]
        if holds(task, search):
            size += size_of(task)
            if len(page) == query.limit or (page and size > PAGE_BYTES and not query.summary):
                return ended(position_of(page[-1], query.order))
            page.append(task)
        examined += 1
        last = task
        heapq.heappop(entries)
        if search is not None and examined % _AT_ONCE == 0:
            time.sleep(0)
            if time.monotonic() >= until and entries:
                return ended(position_of(task, query.order))
    return ended(None)


def moment_of(task: Task, order: Order) -> float:
    """The time that tasks are listed by."""
    if order is Order.DUE:
        return task.run_at
    return task.created_at if order is Order.CREATED else task.finished_at or 0.0


def position_of(task: Task, order: Order) -> PageEnd:
    """The end of a page whose last task this is."""
    return task.order if order is Order.CREATED else (moment_of(task, order), task.order)


def _entry(task: Task, order: Order) -> _Entry | None:
    if order is Order.CREATED:
        return (0.0, -task.order, task)
    if order is Order.DUE:
        return None if task.state.is_final else (task.run_at, task.order, task)
    return None if task.finished_at is None else (-task.finished_at, -task.order, task)


def _bound(position: PageEnd, order: Order) -> tuple[float, int]:
    if isinstance(position, int):
        return (0.0, -position)
    at, number = position
    return (at, number) if order is Order.DUE else (-at, -number)


def _in_turns(tasks: Iterable[Task]) -> Iterator[Task]:
    for number, task in enumerate(tasks, 1):
        if number % _AT_ONCE == 0:
            time.sleep(0)
        yield task
