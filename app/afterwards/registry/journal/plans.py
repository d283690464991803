"""Pauses, the starts that rates go by, and schedules, as a journal keeps them besides tasks."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from afterwards.lifecycle import Task
from afterwards.registry.journal.sealing import Seal
from afterwards.schedules.schedule import Schedule

_PATTERN: Final = ("type", "executor", "payload", "priority", "max_attempts", "timeout_seconds")
_DEFINITION: Final = (
    "name", "cron", "every_seconds", "timezone", "catch_up", "created_at", "paused",
)  # fmt: skip
_DUE: Final = ("next_due", "last_due", "last_task_id", "last_skipped")
_KEYS: Final = ("concurrency_key", "unique_key")
_BESIDE: Final = ("labels", *_KEYS)
"""The members of a pattern that few have; they are in tables of their own."""
_DECLARED: Final = ("module", "gone")
"""The members of those that task modules declare; they are in a table of their own, too."""


class Start(NamedTuple):
    """That an attempt at a task of a rate-limited type began."""

    type: str
    number: int
    """Grows with each start of the type."""
    wall: float
    elapsed: float
    """The clocks of these names then."""


@dataclass(frozen=True)
class PlanChanges:
    """The changes of pauses, starts and schedules in a group."""

    paused: Mapping[str, float | None]
    """Task types, and since when they are paused; None: not any more."""
    starts: Sequence[Start]
    forgettable_starts: Mapping[str, int]
    """By type: those with lower numbers are forgotten."""
    schedules: Mapping[str, Schedule | None]
    """New definitions by name; None: deleted."""
    moved: Sequence[Schedule]
    """Schedules whose due times have moved."""


class Plans(NamedTuple):
    """All of it, as it was committed last."""

    paused: Mapping[str, float] = {}
    starts: Sequence[Start] = ()
    """By type in the order of their numbers."""
    schedules: Sequence[Schedule] = ()


def write(db: sqlite3.Connection, changes: PlanChanges, seal: Seal | None = None) -> None:
    """Write the changes as a part of the transaction at work.

    Args:
        seal: seals the payloads of schedules; None: those are not sealed.
    """
    _write_task_types(db, changes)
    _write_schedules(db, changes, seal)


def _write_task_types(db: sqlite3.Connection, changes: PlanChanges) -> None:
    for name, since in changes.paused.items():
        if since is None:
            db.execute("DELETE FROM task_types WHERE name = ?", (name,))
        else:
            db.execute("INSERT OR REPLACE INTO task_types VALUES (?, ?)", (name, since))
    db.executemany("INSERT INTO starts VALUES (?, ?, ?, ?)", changes.starts)
    db.executemany(
        "DELETE FROM starts WHERE type = ? AND number < ?", changes.forgettable_starts.items()
    )


def _write_schedules(db: sqlite3.Connection, changes: PlanChanges, seal: Seal | None) -> None:
    for name, schedule in changes.schedules.items():
        if schedule is None:
            db.execute("DELETE FROM schedules WHERE name = ?", (name,))
            db.execute("DELETE FROM due_times WHERE name = ?", (name,))
            _forget_beside(db, name)
        else:
            pattern = _values(schedule.pattern, _PATTERN)
            if seal is not None:
                payload = seal.seal(schedule.pattern.payload, name, "payload")
                pattern[_PATTERN.index("payload")] = payload
            _put(db, "schedules", [*_values(schedule, _DEFINITION), *pattern])
            _forget_beside(db, name)
            if schedule.pattern.labels is not None:
                _put(db, "schedule_labels", [name, schedule.pattern.labels])
            keys = _values(schedule.pattern, _KEYS)
            if any(key is not None for key in keys):
                _put(db, "schedule_keys", [name, *keys])
            if schedule.module is not None:
                _put(db, "schedule_modules", [name, *_values(schedule, _DECLARED)])
    for schedule in changes.moved:
        _put(db, "due_times", [schedule.name, *_values(schedule, _DUE)])


def _forget_beside(db: sqlite3.Connection, name: str) -> None:
    for table in ("schedule_labels", "schedule_keys", "schedule_modules"):
        db.execute(f"DELETE FROM {table} WHERE name = ?", (name,))


def _put(db: sqlite3.Connection, table: str, row: Sequence[object]) -> None:
    db.execute(f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(row))})", row)


def load(db: sqlite3.Connection) -> Plans:
    """The pauses, starts and schedules in the journal."""
    paused = dict(db.execute("SELECT name, paused_at FROM task_types"))
    starts = db.execute("SELECT type, number, wall, elapsed FROM starts ORDER BY type, number")
    columns = ", ".join((*_DEFINITION, *_DUE, *_DECLARED, *_PATTERN, *_BESIDE))
    schedules = db.execute(
        f"SELECT {columns} FROM schedules JOIN due_times USING (name) "
        "LEFT JOIN schedule_labels USING (name) LEFT JOIN schedule_keys USING (name) "
        "LEFT JOIN schedule_modules USING (name)"
    )
    return Plans(paused, [Start(*row) for row in starts], [_to_schedule(row) for row in schedules])


def _values(of: object, names: Sequence[str]) -> list[Any]:
    return [getattr(of, name) for name in names]


def _to_schedule(row: tuple[Any, ...]) -> Schedule:
    definition = dict(zip((*_DEFINITION, *_DUE, *_DECLARED), row, strict=False))
    for name in ("catch_up", "paused", "gone"):
        definition[name] = bool(definition[name])
    members = (*_PATTERN, *_BESIDE)
    pattern = dict(zip(members, row[-len(members) :], strict=True))
    # It has neither an id nor times: its tasks have.
    return Schedule(pattern=Task(id="", created_at=0.0, run_at=0.0, **pattern), **definition)
