"""Schedules as rows of the database: what a transaction works with, changes and shows.

All that change schedules have a lock in common, which is taken before any row of a task.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from afterwards.errors import ScheduleNotFound
from afterwards.lifecycle import Task, TaskState
from afterwards.registry.journal.due_tasks import MOST as MOST_DUE_TASKS
from afterwards.registry.postgresql.database import Database, Rows, Statement
from afterwards.registry.protocol.answers import Answer, DueTask, SchedulePage
from afterwards.registry.protocol.base import PAGE_BYTES
from afterwards.registry.protocol.requests import (
    DeclareSchedules,
    DeleteSchedule,
    GetSchedule,
    PauseSchedule,
    PutSchedule,
    Request,
    RunSchedule,
    Schedules,
)
from afterwards.registry.state.rules import DUE_AT_ONCE, Rules
from afterwards.schedules.schedule import Schedule, due_keys, due_of

_DEFINITION: Final = (
    "cron", "every_seconds", "timezone", "catch_up", "created_at", "paused", "module", "gone",
)  # fmt: skip
_PATTERN: Final = (
    "type", "executor", "priority", "max_attempts", "timeout_seconds", "labels", "concurrency_key",
    "unique_key",
)  # fmt: skip
_DUE: Final = "next_due, last_due, last_task_id, last_skipped"
_COLUMNS: Final = f"name, definition, payload, {_DUE}"

LOCK: Final[Statement] = ("SELECT pg_advisory_xact_lock(1634104425, 0)", ())
SUM_UP: Final[Statement] = ("SELECT schedules, schedule_bytes FROM afterwards.service", ())
_MARKED: Final = f"SELECT {_COLUMNS}, held_until, searched_until FROM afterwards.schedules"
_SELECT_NAMED: Final = f"{_MARKED} WHERE name = ANY (%s)"
SELECT_DUE: Final[Statement] = (
    f"{_MARKED} WHERE next_due <= afterwards.wall() ORDER BY next_due, name LIMIT {DUE_AT_ONCE}",
    (),
)
# A mark of what is held moves four times a second; a row of it need not.
_MARK_SECONDS: Final = 10.0

_PUT: Final = """
INSERT INTO afterwards.schedules (name, definition, payload) VALUES (%s, %s::json, %b)
ON CONFLICT (name) DO UPDATE SET definition = excluded.definition, payload = excluded.payload
"""
_DELETE: Final = "DELETE FROM afterwards.schedules WHERE name = ANY (%s)"
_MOVE: Final = """
UPDATE afterwards.schedules AS old SET next_due = new.next_due, last_due = new.last_due,
    last_task_id = new.last_task_id, last_skipped = new.last_skipped
FROM json_to_recordset(%s::json) AS new (
    name text, next_due float8, last_due float8, last_task_id text, last_skipped float8
) WHERE old.name = new.name
"""
_MARK: Final = """
UPDATE afterwards.schedules SET held_until = %s, searched_until = %s WHERE name = %s
"""
_PUT_SUMS: Final = "UPDATE afterwards.service SET schedules = %s, schedule_bytes = %s"


@dataclass
class ScheduleNeeds:
    """The schedules that requests change, or make tasks of."""

    names: set[str] = field(default_factory=set)
    all: bool = False

    @classmethod
    def of(cls, requests: Iterable[Request]) -> ScheduleNeeds:
        """The needs of these requests together."""
        needs = cls()
        for request in requests:
            match request:
                case PutSchedule():
                    needs.names.add(request.schedule.name)
                case PauseSchedule() | DeleteSchedule() | RunSchedule():
                    needs.names.add(request.name)
                case DeclareSchedules():
                    needs.all = True
        return needs

    def statements(self) -> dict[str, Statement]:
        """Locks and reads, by the name of their part; none if no schedule is needed."""
        if not (self.names or self.all):
            return {}
        select = (_MARKED, ()) if self.all else (_SELECT_NAMED, (sorted(self.names),))
        return {"schedule lock": LOCK, "schedules": select}


def load(rules: Rules, rows: Rows, sums: Sequence[int]) -> list[Schedule]:
    """Have the rules know these schedules, and how many there are besides.

    Args:
        rows: of a statement of `ScheduleNeeds`, or of `SELECT_DUE`.
        sums: the row of `SUM_UP`.
    """
    found = [_to_schedule(row[:-2]) for row in rows]
    for schedule, row in zip(found, rows, strict=True):
        rules.schedules.load(schedule)
        rules.schedules.missed.load(schedule.name, *row[-2:])
    rules.schedules.table.sum_up(*sums)
    return found


def written(rules: Rules, sums: Sequence[int]) -> list[Statement]:
    """Statements for what a transaction has changed; the sums as they were before it."""
    book = rules.schedules
    if not book.has_changed:
        return []
    definitions = book.definitions()
    statements: list[Statement] = []
    gone = [name for name, schedule in definitions.items() if schedule is None]
    if gone:
        statements.append((_DELETE, (gone,)))
    statements += [
        (_PUT, (name, _definition(schedule), schedule.pattern.payload))
        for name, schedule in definitions.items()
        if schedule is not None
    ]
    moved = [_due(schedule) for schedule in book.moved()]
    if moved:
        statements.append((_MOVE, (orjson.dumps(moved).decode(),)))
    now = (len(book.table), book.table.payload_bytes)
    if now != tuple(sums):
        statements.append((_PUT_SUMS, now))
    return statements


def marks_written(rules: Rules, rows: Rows) -> list[Statement]:
    """Statements for what is late and not missed, among schedules that were loaded from these rows.

    It comes after `written`: what has changed is taken as done.
    """
    book = rules.schedules
    book.commit()
    statements: list[Statement] = []
    for name, *_, held, searched in rows:
        before, after = (held, searched), book.missed.marks(name)
        if any(map(_moved, before, after)):
            statements.append((_MARK, (*after, name)))
    return statements


def _moved(before: float | None, after: float | None) -> bool:
    if before is None or after is None:
        return before is not after
    return abs(after - before) >= _MARK_SECONDS


def _definition(schedule: Schedule) -> str:
    columns: dict[str, Any] = {name: getattr(schedule, name) for name in _DEFINITION}
    columns["pattern"] = {name: getattr(schedule.pattern, name) for name in _PATTERN}
    return orjson.dumps(columns).decode()


def _due(schedule: Schedule) -> dict[str, Any]:
    return {
        "name": schedule.name,
        "next_due": schedule.next_due,
        "last_due": schedule.last_due,
        "last_task_id": schedule.last_task_id,
        "last_skipped": schedule.last_skipped,
    }


def _to_schedule(row: Sequence[Any]) -> Schedule:
    name, definition, payload, next_due, last_due, last_task_id, last_skipped = row
    members: Mapping[str, Any] = definition["pattern"]
    return Schedule(
        name=name,
        # It has neither an id nor times: its tasks have.
        pattern=Task(id="", payload=payload, created_at=0.0, run_at=0.0, **members),
        next_due=next_due,
        last_due=last_due,
        last_task_id=last_task_id,
        last_skipped=last_skipped,
        **{column: definition[column] for column in _DEFINITION},
    )


def foresee(requests: Iterable[Request], now: float) -> None:
    """Find before a transaction which due times come next: it may take long, and is remembered."""
    for request in requests:
        schedules: Sequence[Schedule] = ()
        if isinstance(request, PutSchedule):
            schedules = [request.schedule]
        elif isinstance(request, DeclareSchedules):
            schedules = request.schedules
        for schedule in schedules:
            # What is not understood is refused, or told of, by the rules.
            with contextlib.suppress(ValueError):
                schedule.recurrence.after(now)


# -- reading ---------------------------------------------------------------------------------------

_GET: Final = f"SELECT {_COLUMNS} FROM afterwards.schedules WHERE name = %s"
# As many as were asked for and fit on a page, and one more if there is one. Payloads that are not
# asked for are not read.
_PAGE: Final = f"""
SELECT name, definition, CASE WHEN %(payloads)s THEN payload ELSE '' END, {_DUE} FROM (
    SELECT *, sum(length(payload)) OVER (ORDER BY name) AS size,
        row_number() OVER (ORDER BY name) AS place
    FROM (
        SELECT * FROM afterwards.schedules WHERE name > %(after)s ORDER BY name LIMIT %(limit)s
    ) AS listed
) AS sized
WHERE NOT %(payloads)s OR place <= 1 OR size <= {PAGE_BYTES} ORDER BY name
"""
_HAS_MORE: Final = "SELECT EXISTS (SELECT FROM afterwards.schedules WHERE name > %s)"
_DUE_TASKS: Final = f"""
SELECT id::text, idempotency_key, state FROM afterwards.tasks
WHERE schedule IS NOT NULL AND idempotency_key IS NOT NULL
    AND idempotency_key COLLATE "C" > %s AND idempotency_key COLLATE "C" < %s
ORDER BY idempotency_key COLLATE "C" DESC LIMIT {MOST_DUE_TASKS}
"""


class ScheduleReads:
    """Answers reads of schedules."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def one(self, request: GetSchedule) -> Answer:
        """The schedule of a name."""
        [rows] = self._database.read((_GET, (request.name,)))
        return _to_schedule(rows[0]) if rows else ScheduleNotFound(request.name)

    def page(self, request: Schedules) -> SchedulePage:
        """Schedules by name, as many as were asked for and fit on a page."""
        values: Any = {
            "payloads": request.payloads,
            "after": request.after or "",
            "limit": request.limit,
        }
        with self._database.transaction(snapshot=True) as transaction:
            [rows] = transaction.run([(_PAGE, values)])
            found = [_to_schedule(row) for row in rows]
            if not found:
                return SchedulePage([], None, {} if request.results else None)
            last = found[-1].name
            asked: list[Statement] = [(_HAS_MORE, (last,))]
            if request.results:
                asked += [(_DUE_TASKS, due_keys(schedule.name)) for schedule in found]
            [(more,)], *due = transaction.run(asked)
        page = SchedulePage(found, last if more else None)
        if not request.results:
            return page
        results = {
            schedule.name: [DueTask(task_id, due_of(key), TaskState(s)) for task_id, key, s in each]
            for schedule, each in zip(found, due, strict=True)
        }
        return page._replace(results=results)
