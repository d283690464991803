"""Walks through the indexes: the places of tasks, in the order in which they are listed.

A walk is a query that gives so many places behind another one, and reads about as many entries of
an index. Tasks of one type in one state stand in the index in the order of their creation; a walk
over several types or states merges as many. What a task is found by besides them, it has a mark
for (`afterwards.registry.postgresql.marks`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from afterwards.lifecycle import WAITING_STATES, TaskState
from afterwards.registry.postgresql.database import Statement
from afterwards.registry.postgresql.ids import is_id
from afterwards.registry.postgresql.marks import KINDS, LABEL
from afterwards.registry.protocol.filters import Filter, Order, PageEnd

Place = tuple[float, int]
"""A task's place in a walk: the time that the walk goes by, and the task's order."""

_HIGHEST: Final = 2**63 - 1
_BEHIND_ALL: Final[Place] = (-math.inf, 0)

# Each step is one look into the index, for the next type after the one before.
_TYPES: Final = """
WITH RECURSIVE types (type) AS (
    SELECT min(type) FROM afterwards.tasks
    UNION ALL
    SELECT (SELECT min(t.type) FROM afterwards.tasks AS t WHERE t.type > types.type)
    FROM types WHERE types.type IS NOT NULL
)
SELECT type FROM types WHERE type IS NOT NULL
"""
_GIVEN_TYPES: Final = "SELECT unnest(%s::text[])"
_CREATED: Final = """
created_at >= %s AND (created_at, ord) < (%s, %s::bigint)
ORDER BY created_at DESC, ord DESC LIMIT %s
"""
_LATEST_FIRST: Final = "ORDER BY at DESC, ord DESC LIMIT %s"
_OF_MARK: Final = f"""
SELECT created_at AS at, ord, task AS id FROM afterwards.marks
WHERE kind = %s AND value = %s AND {_CREATED}
"""
_OF_ERROR: Final = f"""
SELECT created_at AS at, ord, task AS id FROM afterwards.failures
WHERE error = %s AND (%s OR EXISTS (
    SELECT FROM afterwards.error_groups AS g WHERE g.id = error AND g.type = ANY (%s)
)) AND {_CREATED}
"""
_FINISHED: Final = f"""
SELECT w.at, w.ord, w.id FROM unnest(%s::text[]) AS s (state), LATERAL (
    SELECT finished_at AS at, ord, id FROM afterwards.tasks AS t
    WHERE t.state = s.state AND finished_at IS NOT NULL AND finished_at >= %s
        AND (finished_at, ord) < (%s, %s::bigint)
    ORDER BY finished_at DESC, ord DESC LIMIT %s
) AS w {_LATEST_FIRST}
"""
# Few are listed by when they are due but those that are scheduled, which have an index for it.
# Of the others as many are sorted as there are, which is bounded.
_SCHEDULED: Final = """
SELECT run_at AS at, ord, id FROM afterwards.tasks
WHERE state = 'scheduled' AND (run_at, ord) > (%s, %s::bigint) ORDER BY run_at, ord LIMIT %s
"""
_OTHERS_DUE: Final = f"""
SELECT t.run_at AS at, t.ord, t.id FROM ({_TYPES}) AS k, afterwards.tasks AS t
WHERE t.type = k.type AND t.state = '{{state}}' AND (t.run_at, t.ord) > (%s, %s::bigint)
ORDER BY t.run_at, t.ord LIMIT %s
"""
_TIMES: Final = {Order.CREATED: "created_at", Order.FINISHED: "finished_at", Order.DUE: "run_at"}
_NONE: Final[Statement] = ("SELECT 0::float8 AS at, 0::bigint AS ord, NULL::uuid AS id LIMIT 0", ())


def of_cells(types: str) -> str:
    """A walk over all pairs of types, which a query gives, and states."""
    return f"""
SELECT w.at, w.ord, w.id FROM ({types}) AS k (type), unnest(%s::text[]) AS s (state), LATERAL (
    SELECT created_at AS at, ord, id FROM afterwards.tasks AS t
    WHERE t.type = k.type AND t.state = s.state AND {_CREATED}
) AS w {_LATEST_FIRST}
"""


_OF_ALL_TYPES: Final = of_cells(_TYPES)
_OF_TYPES: Final = of_cells(_GIVEN_TYPES)


def sorting(order: Order) -> str:
    """The order of places of a walk, in SQL."""
    return "at, ord" if order is Order.DUE else "at DESC, ord DESC"


def place_of(before: PageEnd | None, order: Order) -> Place:
    """The place behind which a page begins.

    A number alone is no place here. All tasks come behind one that an order could have.
    """
    if before is None:
        return (-math.inf, -1) if order is Order.DUE else (math.inf, _HIGHEST)
    if isinstance(before, int):
        return (math.inf, _HIGHEST) if before > 0 else _BEHIND_ALL
    at, number = before
    return at, max(-_HIGHEST, min(number, _HIGHEST))


def walk(wanted: Filter, order: Order, after: Place, most: int | None) -> Statement:
    """The places behind one, at most so many: the time that is gone by, order and id."""
    states = _values(wanted.walked_states(order))
    if not states or (order is Order.DUE and wanted.by_end):
        return _NONE
    if order is Order.DUE:
        return _due(states, after, most)
    if order is Order.FINISHED:
        span = _span(wanted.finished_after, wanted.finished_before, after)
        return _FINISHED, (states, *span, most, most)
    span = _span(wanted.created_after, wanted.created_before, after)
    return _by_creation(wanted, states, (*span, most))


def _by_creation(wanted: Filter, states: Sequence[str], span: Sequence[Any]) -> Statement:
    by = walked_by(wanted)
    if by == "error":
        error = bytes.fromhex(wanted.error or "")
        return _OF_ERROR, (error, not wanted.types, sorted(wanted.types), *span)
    if by is not None:
        value = wanted.labels[0] if by == LABEL else getattr(wanted, KINDS[by])
        return _OF_MARK, (by, value, *span)
    if wanted.types:
        return _OF_TYPES, (sorted(wanted.types), states, *span, span[-1])
    return _OF_ALL_TYPES, (states, *span, span[-1])


def walk_of_ids(ids: Sequence[str], order: Order, after: Place, most: int | None) -> Statement:
    """The same of these tasks alone."""
    at = _TIMES[order]
    sign = ">" if order is Order.DUE else "<"
    sql = (
        f"SELECT {at} AS at, ord, id FROM afterwards.tasks WHERE id = ANY (%s::uuid[]) "
        f"AND {at} IS NOT NULL AND ({at}, ord) {sign} (%s, %s::bigint) "
        f"ORDER BY {sorting(order)} LIMIT %s"
    )
    return sql, (ids, *after, most)


def walked_by(wanted: Filter) -> str | None:
    """The kind of mark, or `error`, that a walk by creation goes by; None: types and states."""
    if wanted.error is not None:
        return "error"
    marked = (kind for kind, name in KINDS.items() if getattr(wanted, name) is not None)
    return next(marked, LABEL if wanted.labels else None)


def can_be_asked(wanted: Filter) -> bool:
    """False if no task that the database can hold is meant."""
    texts: list[str | None] = [wanted.parent, wanted.concurrency_key, wanted.unique_key]
    of_group = wanted.group is None or is_id(wanted.group)
    return of_group and not any(
        "\0" in text for text in (*texts, *wanted.types, *wanted.labels) if text is not None
    )


def conditions(wanted: Filter, order: Order, *, by_id: bool = False) -> Statement | None:
    """The conditions, but for the search, that a walk leaves to be looked at; None: none.

    Args:
        by_id: the walk is one over ids, and knows nothing else.
    """
    by = None if by_id or order is not Order.CREATED else walked_by(wanted)
    by_state = by is None and not by_id
    parts: list[Statement] = []
    if by != "error":
        parts += _of_kind(
            wanted, order, by_state=by_state, by_type=by_state and order is Order.CREATED
        )
    if wanted.error is not None and by != "error":
        sql = "EXISTS (SELECT FROM afterwards.failures AS f WHERE f.task = t.id AND f.error = %s)"
        parts.append((sql, (bytes.fromhex(wanted.error),)))
    for kind, name in KINDS.items():
        if by != kind and (value := getattr(wanted, name)) is not None:
            parts.append((f"t.{_COLUMNS.get(name, name)} = %s", (value,)))
    parts += [(_HAS_LABEL, (label,)) for label in wanted.labels[int(by == LABEL) :]]
    walked = "" if by_id else _BOUNDED.get(order, "")
    for name in ("created", "finished"):
        bounds = (getattr(wanted, f"{name}_after"), getattr(wanted, f"{name}_before"))
        if name != walked and bounds != (None, None):
            parts.append((f"t.{name}_at >= %s AND t.{name}_at < %s", _bounds(*bounds)))
    return _all_of(parts) if parts else None


_BOUNDED: Final = {Order.CREATED: "created", Order.FINISHED: "finished"}
"""The time whose bounds a walk knows."""
_COLUMNS: Final = {"group": "task_group"}
_HAS_LABEL: Final = f"""
EXISTS (SELECT FROM afterwards.marks AS m WHERE m.kind = '{LABEL}' AND m.value = %s
    AND m.created_at = t.created_at AND m.ord = t.ord)
"""


def _of_kind(wanted: Filter, order: Order, *, by_state: bool, by_type: bool) -> Iterator[Statement]:
    """Conditions of states and types, unless the walk goes by them."""
    walked = wanted.walked_states(order)
    if not by_state and walked != frozenset(TaskState):
        yield "t.state = ANY (%s)", (_values(walked),)
    if wanted.retrying and not wanted.states >= WAITING_STATES:
        yield "(t.state = ANY (%s) OR t.attempts_used > 0)", (_values(wanted.states),)
    if wanted.types and not by_type:
        yield "t.type = ANY (%s)", (sorted(wanted.types),)


def _all_of(parts: Sequence[Statement]) -> Statement:
    values: list[Any] = [value for _, part in parts for value in part]
    return " AND ".join(sql for sql, _ in parts), values


def _due(states: Iterable[str], after: Place, most: int | None) -> Statement:
    parts = [
        _SCHEDULED if state == TaskState.SCHEDULED else _OTHERS_DUE.format(state=state)
        for state in states
    ]
    together = " UNION ALL ".join(f"({part})" for part in parts)
    return f"SELECT * FROM ({together}) AS w ORDER BY at, ord LIMIT %s", (
        *(*after, most) * len(parts),
        most,
    )


def _values(states: Iterable[TaskState]) -> list[str]:
    return sorted(state.value for state in states)


def _span(earliest: float | None, end: float | None, after: Place) -> tuple[float, float, int]:
    """The bounds of a walk backwards in time: it begins behind the earlier of two places.

    With one condition for its beginning the database looks no further than it has to.
    """
    at, order = after if end is None else min(after, (end, -1))
    return -math.inf if earliest is None else earliest, at, order


def _bounds(after: float | None, before: float | None) -> tuple[float, float]:
    return -math.inf if after is None else after, math.inf if before is None else before
