"""Lists of stored tasks, newest first, that take as long however many tasks there are.

No query passes over tasks that it does not list. Tasks of one type in one state stand in the index
in the order in which they came; a list of several types or states merges as many walks through it.
Bounds of time become bounds of that order by bisection, because tasks come in the order of their
`created_at` (`Task.accepted`).
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import sqlite3
from collections.abc import Generator, Iterator
from typing import Final

from afterwards.lifecycle import FINAL_STATES, Task, TaskState
from afterwards.registry.journal import failures
from afterwards.registry.journal.columns import SELECT_TASK, to_task
from afterwards.registry.protocol.answers import Page
from afterwards.registry.protocol.base import PAGE_BYTES
from afterwards.registry.protocol.requests import Count, Find

_HIGHEST: Final = 2**63 - 1

# Each step is one look into the index, for the next type after the one before.
_TYPES: Final = """
WITH RECURSIVE types (type) AS (
    SELECT min(type) FROM tasks
    UNION ALL
    SELECT (SELECT min(tasks.type) FROM tasks WHERE tasks.type > types.type)
    FROM types WHERE types.type IS NOT NULL
)
SELECT type FROM types WHERE type IS NOT NULL
"""
_UNFINISHED: Final = ", ".join(f"'{state}'" for state in TaskState if state not in FINAL_STATES)

SELECT_UNFINISHED: Final = f"""
{SELECT_TASK} WHERE ord IN (
    SELECT ord FROM tasks WHERE type IN ({_TYPES}) AND state IN ({_UNFINISHED})
) ORDER BY ord
"""
_IN_RANGE: Final = "FROM tasks WHERE ord >= ? AND ord < ?"
_OF_CELL: Final = f"{_IN_RANGE} AND type = ? AND state = ?"


def find(db: sqlite3.Connection, query: Find) -> Page:
    """A page of tasks; `db` has to be in a transaction."""
    tasks: list[Task] = []
    size = 0
    with contextlib.closing(_orders(db, query)) as orders:
        for order in orders:
            if len(tasks) == query.limit:
                return Page(tasks, tasks[-1].order)
            task = to_task(db.execute(f"{SELECT_TASK} WHERE ord = ?", (order,)).fetchone())
            size += size_of(task)
            if tasks and size > PAGE_BYTES:
                return Page(tasks, tasks[-1].order)
            tasks.append(task)
    return Page(tasks, None)


def size_of(task: Task) -> int:
    """How many bytes its payload, result and error have."""
    return len(task.payload) + len(task.result or b"") + len(task.error or "")


def count(db: sqlite3.Connection, query: Count) -> int:
    """How many tasks there are; `db` has to be in a transaction. Reads nothing but the index."""
    span = _span(db, query)
    if query.error is not None:
        if query.state not in (None, TaskState.FAILED):
            return 0
        return failures.count(db, query.error, span, query.type)
    numbers = (
        db.execute(f"SELECT count(*) {_OF_CELL}", (*span, *cell)).fetchone()
        for cell in _cells(db, query)
    )
    return sum(number for (number,) in numbers)


def _orders(db: sqlite3.Connection, query: Find) -> Generator[int]:
    """The orders of what is asked for, highest first, read as they are taken."""
    low, high = _span(db, query)
    if query.before is not None:
        high = min(high, max(query.before, 0))
    if query.error is not None:
        is_possible = query.state in (None, TaskState.FAILED)
        span = (low, high)
        walks = [failures.orders(db, query.error, span, query.type)] if is_possible else []
    elif query.state is None and query.type is None:
        walks = [db.execute(f"SELECT ord {_IN_RANGE} ORDER BY ord DESC", (low, high))]
    else:
        walks = [
            db.execute(f"SELECT ord {_OF_CELL} ORDER BY ord DESC", (low, high, *cell))
            for cell in _cells(db, query)
        ]
    try:
        for (order,) in heapq.merge(*walks, reverse=True):
            yield order
    finally:
        # A walk that is left open would keep its transaction, and with it the WAL, from ending.
        for walk in walks:
            walk.close()


def _cells(db: sqlite3.Connection, query: Find | Count) -> Iterator[tuple[str, str]]:
    """The types and states to look into."""
    types = db.execute(_TYPES).fetchall() if query.type is None else [(query.type,)]
    states = list(TaskState) if query.state is None else [query.state]
    return ((name, state.value) for (name,), state in itertools.product(types, states))


def _span(db: sqlite3.Connection, query: Find | Count) -> tuple[int, int]:
    """The bounds of time as bounds of order: from the first, up to before the second."""
    after, before = query.created_after, query.created_before
    low = 0 if after is None else _first_created_at(db, after)
    high = _HIGHEST if before is None else _first_created_at(db, before)
    return low, high


def _first_created_at(db: sqlite3.Connection, moment: float) -> int:
    """The lowest order of a task created at `moment` or later; beyond all if there is none."""
    low, (last,) = 0, db.execute("SELECT max(ord) FROM tasks").fetchone()
    high = 0 if last is None else last + 1
    while low < high:
        middle = (low + high) // 2
        # Orders have gaps. There is always one at or above it: the last.
        order, created_at = db.execute(
            "SELECT ord, created_at FROM tasks WHERE ord >= ? ORDER BY ord LIMIT 1", (middle,)
        ).fetchone()
        if created_at < moment:
            low = order + 1
        else:
            high = middle
    return low
