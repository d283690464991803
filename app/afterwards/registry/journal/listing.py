"""Lists and counts of stored tasks that take as long however many tasks there are.

What an index knows is walked through, and no task is passed over that is not listed
(`afterwards.registry.journal.walks`). Where a condition is left that no index knows, the tasks of
the walk are looked at one by one, for a bounded time (`afterwards.registry.journal.scanning`).
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from afterwards.lifecycle import FINAL_STATES, Task, TaskState
from afterwards.registry.journal.columns import SELECT_SUMMARY, SELECT_TASK, to_task
from afterwards.registry.journal.scanning import (
    Conditions,
    Place,
    Progress,
    conditions,
    ids_between,
    scan,
)
from afterwards.registry.journal.walks import (
    MOST_SUCCESSES,
    TYPES,
    leaves_out,
    looks_through,
    parts_of,
    span_of,
    walk,
)
from afterwards.registry.protocol.answers import Counted, Page, Scan
from afterwards.registry.protocol.base import PAGE_BYTES, SUMMARY_BYTES
from afterwards.registry.protocol.filters import SURE_DIGITS, Filter, Order, PageEnd
from afterwards.registry.protocol.requests import Count, Find, Members

_MOST_OF_AN_ID: Final = 1_000
"""Tasks that a beginning of an id may stand for, and still be one."""

_UNFINISHED: Final = ", ".join(f"'{state}'" for state in TaskState if state not in FINAL_STATES)

SELECT_UNFINISHED: Final = f"""
{SELECT_TASK} WHERE ord IN (
    SELECT ord FROM tasks WHERE type IN ({TYPES}) AND state IN ({_UNFINISHED})
) ORDER BY ord
"""


def scans(query: Find | Count) -> bool:
    """True if tasks have to be looked at one by one."""
    order = query.order if isinstance(query, Find) else Order.CREATED
    return looks_through(query.filter, order) or conditions(query.filter, order) is not None


def find(db: sqlite3.Connection, query: Find) -> Page:
    """A page of tasks; `db` has to be in a transaction."""
    left = conditions(query.filter, query.order)
    progress = None if left is None else Progress()
    tasks: list[Task] = []
    size = 0
    last: Place | None = None
    select = SELECT_SUMMARY if query.summary else SELECT_TASK
    with contextlib.closing(walk(db, query.filter, query.order, query.before)) as walked:
        for place in _found(db, walked, query, left, progress):
            if len(tasks) == query.limit:
                return _page(db, query, tasks, last, progress)
            task = to_task(db.execute(f"{select} WHERE ord = ?", (place[1],)).fetchone())
            size += size_of(task)
            if tasks and size > PAGE_BYTES:
                return _page(db, query, tasks, last, progress)
            tasks.append(task)
            last = place
            if left is not None and len(tasks) == query.limit:
                # The next one may be a whole scan away.
                return _page(db, query, tasks, last, progress)
    went_on = None if progress is None or progress.complete else progress.last
    return _page(db, query, tasks, went_on, progress)


def _found(
    db: sqlite3.Connection,
    walked: Iterator[Place],
    query: Find,
    left: Conditions | None,
    progress: Progress | None,
) -> Iterator[Place]:
    if left is None or progress is None:
        return walked
    ids = _of_id(db, query.filter)
    by_id = conditions(query.filter, query.order, by_id=True)
    if ids and by_id is not None:
        left = by_id
        walked = (place for place in _places(db, ids, query) if _is_after(place, query.before))
    return scan(db, walked, left, progress)


def _page(
    db: sqlite3.Connection,
    query: Find,
    tasks: list[Task],
    last: Place | None,
    progress: Progress | None,
) -> Page:
    position: PageEnd | None = None
    if last is not None:
        position = last[1] if query.order is Order.CREATED else last
    left_out = leaves_out(db, query.filter, query.order, query.before)
    if progress is None:
        if not left_out:
            return Page(tasks, position)
        return Page(tasks, position, scan=Scan(MOST_SUCCESSES, last and last[0], complete=False))
    reached = _moment(db, last or progress.last, query.order)
    return Page(
        tasks,
        position,
        scan=Scan(progress.examined, reached, complete=position is None and not left_out),
    )


def _moment(db: sqlite3.Connection, place: Place | None, order: Order) -> float | None:
    if place is None:
        return None
    if order is not Order.CREATED:
        return place[0]
    row = db.execute("SELECT created_at FROM tasks WHERE ord = ?", (place[1],)).fetchone()
    return None if row is None else float(row[0])


def members(db: sqlite3.Connection, query: Members) -> Page:
    """A page of the members of a group."""
    rows = db.execute(
        f"{SELECT_TASK} WHERE task_group = ? AND ord > ? ORDER BY ord LIMIT ?",
        (query.group, query.after, query.limit + 1),
    )
    return page_of_members(map(to_task, rows), query)


def page_of_members(tasks: Iterable[Task], query: Members) -> Page:
    """As many of these as fit on a page; there may be one more of them than that has."""
    page: list[Task] = []
    size = 0
    for task in tasks:
        size += size_of(task)
        if len(page) == query.limit or (page and size > PAGE_BYTES):
            return Page(page, page[-1].order)
        page.append(task)
    return Page(page, None)


def count(db: sqlite3.Connection, query: Count) -> Counted:
    """The number of tasks that match; `db` has to be in a transaction."""
    most = -1 if query.most is None else query.most + 1
    left, progress = conditions(query.filter, Order.CREATED), Progress()
    number = 0
    if left is None:
        span = span_of(db, query.filter)
        for sql, values in parts_of(db, query.filter):
            rows = f"SELECT count(*) FROM (SELECT 1 {sql} LIMIT ?)"
            number += db.execute(rows, (*span, *values, most)).fetchone()[0]
            if 0 <= most <= number:
                return Counted(most - 1, exact=False)
        return Counted(number)
    with contextlib.closing(walk(db, query.filter, Order.CREATED, None)) as walked:
        for _ in _found(db, walked, Find(query.filter), left, progress):
            number += 1
            if number == most:
                return Counted(most - 1, exact=False)
    return Counted(number, exact=progress.complete)


def size_of(task: Task) -> int:
    """The size of a task's payload, result and error in bytes."""
    return len(task.payload) + len(task.result or b"") + len(task.error or "")


def as_listed(task: Task, query: Find) -> Task:
    """A task that is in memory as a list shows it."""
    if not query.summary:
        return task
    return replace(task, payload=task.payload[:SUMMARY_BYTES], result=None)


def _of_id(db: sqlite3.Connection, wanted: Filter) -> list[int]:
    """The tasks whose ids begin with what is looked for, the newest first, if it is an id's."""
    digits = "" if wanted.search is None else wanted.search.id_digits
    if len(digits) < SURE_DIGITS:
        return []
    sql = "SELECT ord FROM tasks WHERE id BETWEEN ? AND ? LIMIT ?"
    rows = db.execute(sql, (*ids_between(digits), _MOST_OF_AN_ID)).fetchall()
    return sorted((order for (order,) in rows), reverse=True)


def _places(db: sqlite3.Connection, orders: list[int], query: Find) -> Iterator[Place]:
    if query.order is Order.CREATED:
        return ((0.0, order) for order in orders)
    ends = (
        (at, order)
        for order in orders
        for (at,) in db.execute("SELECT finished_at FROM tasks WHERE ord = ?", (order,))
        if at is not None
    )
    return iter(sorted(ends, reverse=True))


def _is_after(place: Place, before: PageEnd | None) -> bool:
    if before is None:
        return True
    return place[1] < before if isinstance(before, int) else place < before
