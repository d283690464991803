"""Lists and counts of tasks that take as long however many tasks there are.

What an index knows is walked through (`afterwards.registry.postgresql.walks`). Where a condition is
left that no index knows, the tasks of the walk are looked at one by one, for a bounded time. A text
is looked for here and not by the database, so that all registries find the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from afterwards.lifecycle import Task, TaskState
from afterwards.registry.journal.listing import page_of_members
from afterwards.registry.journal.scanning import SCAN_SECONDS, ids_between
from afterwards.registry.postgresql import columns, walks
from afterwards.registry.postgresql.database import Database, Statement, Transaction
from afterwards.registry.postgresql.ids import is_id
from afterwards.registry.postgresql.walks import Place
from afterwards.registry.protocol.answers import Counted, KeyWait, Page, ProgressMark, Scan
from afterwards.registry.protocol.base import PAGE_BYTES, SUMMARY_BYTES
from afterwards.registry.protocol.filters import SURE_DIGITS, Filter, Order, holds
from afterwards.registry.protocol.requests import Count, Find, Members

_FIRST_CHUNK: Final = 256
_LARGEST_CHUNK: Final = 4_096
_CHUNK_SECONDS: Final = 0.03
_CHUNK_BYTES: Final = 2**20
"""So much is looked through for a text at once, and a single larger task alone."""
_MOST_OF_AN_ID: Final = 1_000
"""Tasks that a beginning of an id may stand for, and still be one."""

_SIZE: Final = "length(payload) + coalesce(length(result), 0) + coalesce(length(error), 0)"
_SIZE_OF_SUMMARY: Final = f"least(length(payload), {SUMMARY_BYTES}) + coalesce(length(error), 0)"
_SELECT_TASKS: Final = (
    f"SELECT {columns.SELECTED} FROM afterwards.tasks WHERE id = ANY (%s::uuid[])"
)
_SELECT_SUMMARIES: Final = (
    f"SELECT {columns.SUMMARY_SELECTED} FROM afterwards.tasks WHERE id = ANY (%s::uuid[])"
)
_SELECT_PROGRESS: Final = """
SELECT p.task::text, p.attempt, p.fraction, p.message, p.at
FROM afterwards.progress AS p JOIN afterwards.tasks AS t ON t.id = p.task
WHERE p.task = ANY (%s::uuid[]) AND t.state = 'processing' AND t.attempt = p.attempt
"""
_SELECT_WAITING: Final = """
SELECT t.id::text, t.concurrency_key, (
    SELECT count(*) FROM afterwards.tasks AS r
    WHERE r.type = t.type AND r.concurrency_key = t.concurrency_key AND r.state = 'processing'
) FROM afterwards.tasks AS t
WHERE t.id = ANY (%s::uuid[]) AND t.concurrency_key IS NOT NULL AND t.state = 'pending'
    AND t.lane IS NULL
"""
_SELECT_IDS: Final = "SELECT id::text FROM afterwards.tasks WHERE id BETWEEN %s AND %s LIMIT %s"
_MEMBERS: Final = f"""
SELECT {columns.SELECTED} FROM afterwards.tasks WHERE id = ANY (ARRAY(
    SELECT id FROM (
        SELECT id, sum({_SIZE}) OVER (ORDER BY ord ROWS UNBOUNDED PRECEDING) - ({_SIZE}) AS before
        FROM (
            SELECT id, ord, payload, result, error FROM afterwards.tasks
            WHERE task_group = %s AND ord > %s ORDER BY ord LIMIT %s
        ) AS members
    ) AS sized WHERE before <= {PAGE_BYTES}
)) ORDER BY ord
"""


class _Found(NamedTuple):
    """A task of a walk."""

    place: Place
    id: str
    size: int
    """The number of bytes that it takes on a page."""


class _Progress:
    """The part of a walk that has been looked at."""

    def __init__(self) -> None:
        self.examined = 0
        self.last: Place | None = None
        self.complete = False


class _Look:
    """A look for tasks in a snapshot of the database.

    Attributes:
        progress: the extent of a look at tasks one by one; None: an index knows.
    """

    def __init__(self, transaction: Transaction, query: Find) -> None:
        self._transaction = transaction
        self._filter, self._order = query.filter, query.order
        self._size = _SIZE_OF_SUMMARY if query.summary else _SIZE
        self._ids = self._ids_that_begin(query.filter)
        self._left = walks.conditions(query.filter, query.order, by_id=bool(self._ids))
        alone = self._left is None and query.filter.search is None
        self.progress = None if alone else _Progress()

    def found(self, after: Place, most: int) -> Iterator[_Found]:
        """The tasks behind a place; with an index that knows, at most so many."""
        if self.progress is not None:
            return self._scanned(after, self.progress)
        return (
            _Found((at, order), task, size) for at, order, task, size in self._known(after, most)
        )

    def _ids_that_begin(self, wanted: Filter) -> list[str]:
        """The tasks whose ids begin with what is looked for, if it is an id's."""
        digits = "" if wanted.search is None else wanted.search.id_digits
        if len(digits) < SURE_DIGITS:
            return []
        first, last = (bound.hex() for bound in ids_between(digits))
        [rows] = self._transaction.run([(_SELECT_IDS, (first, last, _MOST_OF_AN_ID))])
        return [task for (task,) in rows]

    def _walk(self, after: Place, most: int | None) -> Statement:
        if self._ids:
            return walks.walk_of_ids(self._ids, self._order, after, most)
        return walks.walk(self._filter, self._order, after, most)

    def _known(self, after: Place, most: int) -> Sequence[tuple[float, int, str, int]]:
        walk, values = self._walk(after, most)
        sql = (
            f"SELECT w.at, w.ord, w.id::text, {self._size} FROM ({walk}) AS w "
            f"JOIN afterwards.tasks AS t USING (id) ORDER BY {_sorting(self._order)}"
        )
        [rows] = self._transaction.run([(sql, values)])
        return rows

    def _scanned(self, after: Place, progress: _Progress) -> Iterator[_Found]:
        """Those that meet all conditions, until the walk ends or the time is over."""
        until = time.monotonic() + SCAN_SECONDS
        size = _FIRST_CHUNK
        while True:
            started = time.monotonic()
            [rows] = self._transaction.run([self._chunk(after, size)])
            if not rows:
                progress.complete = True
                return
            for at, order, task, fits, bytes_of_it, payload, error in rows:
                progress.examined += 1
                progress.last = after = (at, order)
                if fits and self._holds(task, payload, error):
                    yield _Found(after, task, bytes_of_it)
            now = time.monotonic()
            if now >= until:
                return
            took = now - started
            size = min(4 * size, _LARGEST_CHUNK) if took < _CHUNK_SECONDS else max(1, size // 2)

    def _chunk(self, after: Place, most: int) -> Statement:
        """The next tasks of the walk, with what a text is looked for in where all else fits."""
        walk, values = self._walk(after, most)
        fits, more = ("TRUE", ()) if self._left is None else self._left
        looks = self._filter.search is not None
        texts = "payload, error" if looks else "NULL::bytea AS payload, NULL AS error"
        read = f"CASE WHEN {fits} THEN length(payload) ELSE 0 END" if looks else "0"
        read_values = more if looks else ()
        sql = f"""
SELECT at, ord, id::text, fits, size, CASE WHEN fits THEN payload END,
    CASE WHEN fits THEN error END
FROM (
    SELECT w.at, w.ord, w.id, ({fits}) AS fits, {self._size} AS size, {texts},
        sum({read}) OVER (ORDER BY {_sorting(self._order)} ROWS UNBOUNDED PRECEDING) AS so_far,
        row_number() OVER (ORDER BY {_sorting(self._order)}) AS number
    FROM ({walk}) AS w JOIN afterwards.tasks AS t USING (id)
) AS looked WHERE so_far <= {_CHUNK_BYTES} OR number = 1 ORDER BY {walks.sorting(self._order)}
"""
        return sql, (*more, *read_values, *values)

    def _holds(self, task_id: str, payload: bytes | None, error: str | None) -> bool:
        search = self._filter.search
        if search is None:
            return True
        looked_at = replace(_BLANK, id=task_id, payload=payload or b"", error=error)
        return holds(looked_at, search)


_BLANK: Final = Task("", "", b"", "", 0.0, 0.0)


def _sorting(order: Order) -> str:
    return "w.at, w.ord" if order is Order.DUE else "w.at DESC, w.ord DESC"


def find(database: Database, query: Find) -> Page:
    """A page of tasks."""
    if not walks.can_be_asked(query.filter):
        return Page([], None)
    with database.transaction(snapshot=True) as transaction:
        look = _Look(transaction, query)
        found, last = _page_of(look, query)
        progress = look.progress
        if last is None and progress is not None and not progress.complete:
            last = progress.last
        page = _with_tasks(transaction, found, query)
    if progress is None:
        return page._replace(next=last)
    reached = last or progress.last
    scan = Scan(progress.examined, reached and reached[0], complete=last is None)
    return page._replace(next=last, scan=scan)


def _page_of(look: _Look, query: Find) -> tuple[list[str], Place | None]:
    """The ids of the tasks of a page, and the last one's place if there are, or may be, more."""
    ids: list[str] = []
    size = 0
    last: Place | None = None
    after = walks.place_of(query.before, query.order)
    for one in look.found(after, query.limit + 1):
        size += one.size
        if len(ids) == query.limit or (ids and size > PAGE_BYTES):
            return ids, last
        ids.append(one.id)
        last = one.place
        if look.progress is not None and len(ids) == query.limit:
            # The next one may be a whole scan away.
            return ids, last
    return ids, None


def _with_tasks(transaction: Transaction, ids: Sequence[str], query: Find) -> Page:
    if not ids:
        return Page([], None)
    select = _SELECT_SUMMARIES if query.summary else _SELECT_TASKS
    rows, marks, waits = transaction.run(
        [(select, (ids,)), (_SELECT_PROGRESS, (ids,)), (_SELECT_WAITING, (ids,))]
    )
    tasks = {task.id: task for task in map(columns.to_task, rows)}
    return Page(
        [tasks[task_id] for task_id in ids],
        None,
        progress={task_id: ProgressMark(*mark) for task_id, *mark in marks},
        waiting={task_id: KeyWait(*wait) for task_id, *wait in waits},
    )


def members(database: Database, query: Members) -> Page:
    """A page of the members of a group."""
    if not is_id(query.group):
        return Page([], None)
    values = (query.group, query.after, query.limit + 1)
    with database.transaction(snapshot=True) as transaction:
        [rows] = transaction.run([(_MEMBERS, values)])
    return page_of_members(map(columns.to_task, rows), query)


def count(database: Database, query: Count) -> Counted:
    """The number of tasks that match."""
    if not walks.can_be_asked(query.filter):
        return Counted(0)
    most = None if query.most is None else query.most + 1
    with database.transaction(snapshot=True) as transaction:
        look = _Look(transaction, Find(query.filter))
        if look.progress is None:
            return _counted(transaction, query.filter, most)
        number = 0
        for _ in look.found(walks.place_of(None, Order.CREATED), 0):
            number += 1
            if number == most:
                return Counted(number - 1, exact=False)
    return Counted(number, exact=look.progress.complete)


def _counted(transaction: Transaction, wanted: Filter, most: int | None) -> Counted:
    start = walks.place_of(None, Order.CREATED)
    walk, values = walks.walk(wanted, Order.CREATED, start, most)
    [[(number,)]] = transaction.run([(f"SELECT count(*) FROM ({walk}) AS w", values)])
    if most is not None and number >= most:
        return Counted(most - 1, exact=False)
    return Counted(number)


def is_of_kinds(wanted: Filter, kind: tuple[str, TaskState]) -> bool:
    """True if a filter of types and states alone takes what is of this type and state."""
    type_name, state = kind
    return (not wanted.types or type_name in wanted.types) and (
        not wanted.states or state in wanted.states
    )
