"""Walks through the indexes: the orders of tasks, as they are listed, read as they are taken.

Tasks of one type in one state stand in the index in the order in which they came; a walk over
several types or states merges as many. Bounds of time become bounds of that order by bisection,
because tasks come in the order of their `created_at` (`Task.accepted`).
"""

from __future__ import annotations

import heapq
import itertools
import math
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from afterwards.lifecycle import TaskState
from afterwards.registry.journal.scanning import INDEXED, Place
from afterwards.registry.protocol.filters import Filter, Order, PageEnd

_HIGHEST: Final = 2**63 - 1

# Each step is one look into the index, for the next type after the one before.
TYPES: Final = """
WITH RECURSIVE types (type) AS (
    SELECT min(type) FROM tasks
    UNION ALL
    SELECT (SELECT min(tasks.type) FROM tasks WHERE tasks.type > types.type)
    FROM types WHERE types.type IS NOT NULL
)
SELECT type FROM types WHERE type IS NOT NULL
"""
_BETWEEN: Final = "ord >= ? AND ord < ?"
OF_CELL: Final = f"FROM tasks WHERE {_BETWEEN} AND type = ? AND state = ?"
OF_ERROR: Final = f"FROM failures WHERE {_BETWEEN} AND error_id = ?"
OF_LABEL: Final = f"FROM labels WHERE {_BETWEEN} AND pair = ?"
OF_INDEXED: Final = {
    name: f"FROM tasks WHERE {_BETWEEN} AND {column} = ?" for name, column in INDEXED.items()
}
OF_ALL: Final = f"FROM tasks WHERE {_BETWEEN}"

MOST_SUCCESSES: Final = 10_000
"""That are looked through, the newest, for those that were finished last: no index knows. It would
cost each task that succeeds more than its share, and few are looked for by that."""

_EVER: Final = 1e99
_ENDED: Final = (
    "AND finished_at >= ? AND finished_at < ? AND (finished_at, ord) < (?, ?) "
    "ORDER BY finished_at DESC, ord DESC"
)
_NEWEST: Final = f"SELECT finished_at, ord {OF_CELL} ORDER BY ord DESC LIMIT ?"


def walk(
    db: sqlite3.Connection, wanted: Filter, order: Order, before: PageEnd | None
) -> Generator[Place]:
    """The places of tasks, in the order of a list; `db` has to be in a transaction."""
    if order is Order.FINISHED:
        return _by_end(db, wanted, before)
    low, high = span_of(db, wanted)
    if isinstance(before, int):
        high = min(high, max(before, 0))
    return _merged(
        [
            db.execute(f"SELECT 0.0, ord {sql} ORDER BY ord DESC", (low, high, *values))
            for sql, values in parts_of(db, wanted)
        ]
    )


def parts_of(db: sqlite3.Connection, wanted: Filter) -> Iterable[tuple[str, Sequence[str | bytes]]]:
    """The parts to walk through within a span of orders: the SQL of each, and its values."""
    if wanted.error is not None:
        return _of_error(db, bytes.fromhex(wanted.error), wanted)
    for name, of_value in OF_INDEXED.items():
        if (value := getattr(wanted, name)) is not None:
            return [(of_value, [value])]
    if wanted.labels:
        return [(OF_LABEL, [wanted.labels[0]])]
    states = wanted.walked_states()
    if not wanted.types and states == frozenset(TaskState):
        return [(OF_ALL, [])]
    return [(OF_CELL, cell) for cell in _cells(db, wanted, states)]


def _of_error(
    db: sqlite3.Connection, error: bytes, wanted: Filter
) -> Iterable[tuple[str, Sequence[bytes]]]:
    group = db.execute("SELECT type FROM error_groups WHERE id = ?", (error,)).fetchone()
    of_type = group is not None and (not wanted.types or group[0] in wanted.types)
    return [(OF_ERROR, [error])] if of_type and wanted.walked_states() else []


def _by_end(db: sqlite3.Connection, wanted: Filter, before: PageEnd | None) -> Generator[Place]:
    after = -_EVER if wanted.finished_after is None else wanted.finished_after
    until = _EVER if wanted.finished_before is None else wanted.finished_before
    at, number = before if isinstance(before, tuple) else (_EVER, _HIGHEST)
    bounds = (after, until, at, max(-_HIGHEST, min(number, _HIGHEST)))
    states = wanted.walked_states(Order.FINISHED)
    walks = [
        db.execute(f"SELECT finished_at, ord FROM tasks WHERE state = '{state}' {_ENDED}", bounds)
        for state in sorted(states - {TaskState.SUCCESS})
    ]
    if TaskState.SUCCESS in states:
        walks += [
            db.execute(f"SELECT finished_at, ord FROM ({_NEWEST}) WHERE TRUE {_ENDED}", values)
            for values in ((*newest, *bounds) for newest in _newest(db, wanted, before))
        ]
    return _merged(walks)


def looks_through(wanted: Filter, order: Order) -> bool:
    """True if a walk looks for the ends of successes, which no index knows."""
    return order is Order.FINISHED and TaskState.SUCCESS in wanted.walked_states(order)


def leaves_out(
    db: sqlite3.Connection, wanted: Filter, order: Order, before: PageEnd | None
) -> bool:
    """True if there are tasks that a walk does not go by, though they may be asked for."""
    return looks_through(wanted, order) and _has_more(db, _newest(db, wanted, before))


class _Newest(NamedTuple):
    low: int
    high: int
    type: str
    state: str
    number: int


def _newest(db: sqlite3.Connection, wanted: Filter, before: PageEnd | None) -> list[_Newest]:
    """The successes, of each type, that are looked through for those that were finished last."""
    low, high = span_of(db, wanted)
    cells = list(_cells(db, wanted, frozenset({TaskState.SUCCESS})))
    newest = [_Newest(low, high, *cell, max(1, MOST_SUCCESSES // len(cells))) for cell in cells]
    if not _has_more(db, newest):
        return newest
    # What was created later was not finished by then, unless the clock was set back.
    ends = [wanted.finished_before, before[0] if isinstance(before, tuple) else None]
    later = [
        _first_created_at(db, math.nextafter(end, math.inf)) for end in ends if end is not None
    ]
    return [one._replace(high=min([high, *later])) for one in newest]


def _has_more(db: sqlite3.Connection, newest: Iterable[_Newest]) -> bool:
    sql = f"SELECT 1 {OF_CELL} ORDER BY ord DESC LIMIT 1 OFFSET ?"
    return any(db.execute(sql, one).fetchone() is not None for one in newest)


def _merged(walks: Sequence[sqlite3.Cursor]) -> Generator[Place]:
    try:
        yield from heapq.merge(*walks, reverse=True) if len(walks) != 1 else walks[0]
    finally:
        # A walk that is left open would keep its transaction, and with it the WAL, from ending.
        for one in walks:
            one.close()


def _cells(
    db: sqlite3.Connection, wanted: Filter, states: frozenset[TaskState]
) -> Iterator[tuple[str, str]]:
    """The types and states to look into."""
    types = sorted(wanted.types) or [name for (name,) in db.execute(TYPES).fetchall()]
    return ((name, state.value) for name, state in itertools.product(types, sorted(states)))


def span_of(db: sqlite3.Connection, wanted: Filter) -> tuple[int, int]:
    """The bounds of time as bounds of order: from the first, up to before the second."""
    after, before = wanted.created_after, wanted.created_before
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
