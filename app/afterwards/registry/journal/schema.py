"""The journal's tables, and tasks as their rows."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from afterwards.lifecycle import Task, TaskState

APPLICATION_ID: Final = 0x62677473
"""Marks a SQLite file as a journal of this program. It stays, so that every version is opened."""

VERSION: Final = 3

_MUTABLE: Final = (
    "state",
    "deadline",
    "run_at",
    "delay_seconds",
    "started_at",
    "finished_at",
    "attempt",
    "attempts_used",
    "lost_attempts",
    "retries",
    "worker",
    "cancel_requested",
    "reason",
    "error",
    "result",
)
_IMMUTABLE: Final = (
    "type",
    "executor",
    "created_at",
    "max_attempts",
    "timeout_seconds",
    "priority",
    "idempotency_key",
    "fingerprint",
    "schedule",
)

# Plans: pauses, the starts that rates go by, schedules (see `afterwards.registry.journal.plans`).
# Due times move often and definitions hardly ever, and those have payloads, so they are in tables
# of their own. The migration to version 3 makes them, too: whoever changes them for a later version
# leaves these to it, because what a migration makes stays as it was.
_PLANS: Final = """
CREATE TABLE task_types (name TEXT PRIMARY KEY, paused_at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE starts (
    type TEXT NOT NULL, number INTEGER NOT NULL, wall REAL NOT NULL, elapsed REAL NOT NULL,
    PRIMARY KEY (type, number)
) WITHOUT ROWID;
CREATE TABLE schedules (
    name TEXT PRIMARY KEY,
    cron TEXT,
    every_seconds REAL,
    timezone TEXT NOT NULL,
    catch_up INTEGER NOT NULL,
    created_at REAL NOT NULL,
    paused INTEGER NOT NULL,
    type TEXT NOT NULL,
    executor TEXT NOT NULL,
    payload BLOB NOT NULL,
    priority INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    timeout_seconds REAL
);
CREATE TABLE due_times (
    name TEXT PRIMARY KEY, next_due REAL, last_due REAL, last_task_id TEXT
) WITHOUT ROWID;
"""

# Payloads have a table of their own: SQLite writes a changed row whole, and a task's row changes
# at least twice while its payload hardly ever does. Results come last for a like reason: what
# stands behind a large value in a row cannot be read without it. The index by type and state ends
# with the order, as every index does: it finds the unfinished tasks at the start, and every list of
# tasks, without reading the others. An attempt has a row once it has ended; the running one is told
# by its task's row.
SCHEMA: Final = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
CREATE TABLE tasks (
    ord INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    type TEXT NOT NULL,
    executor TEXT NOT NULL,
    created_at REAL NOT NULL,
    max_attempts INTEGER NOT NULL,
    timeout_seconds REAL,
    priority INTEGER NOT NULL,
    idempotency_key TEXT,
    fingerprint BLOB,
    schedule TEXT,
    state TEXT NOT NULL,
    deadline REAL,
    run_at REAL NOT NULL,
    delay_seconds REAL,
    started_at REAL,
    finished_at REAL,
    attempt INTEGER NOT NULL,
    attempts_used INTEGER NOT NULL,
    lost_attempts INTEGER NOT NULL,
    retries INTEGER NOT NULL,
    worker TEXT,
    cancel_requested INTEGER NOT NULL,
    reason TEXT NOT NULL,
    error TEXT,
    result BLOB
);
CREATE UNIQUE INDEX tasks_by_id ON tasks (id);
CREATE INDEX tasks_by_type_and_state ON tasks (type, state);
CREATE UNIQUE INDEX tasks_by_idempotency_key ON tasks (idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE TABLE payloads (ord INTEGER PRIMARY KEY, payload BLOB NOT NULL);
CREATE TABLE attempts (
    ord INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    worker TEXT NOT NULL,
    due_at REAL NOT NULL,
    started_at REAL NOT NULL,
    finished_at REAL NOT NULL,
    run_seconds REAL,
    outcome TEXT NOT NULL,
    error TEXT,
    PRIMARY KEY (ord, attempt)
) WITHOUT ROWID;
CREATE TABLE counts (
    counter TEXT NOT NULL, type TEXT NOT NULL, label TEXT NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (counter, type, label)
) WITHOUT ROWID;
CREATE TABLE deleted (id BLOB PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX deleted_by_time ON deleted (at);
CREATE TABLE probe (one INTEGER PRIMARY KEY, at REAL NOT NULL);
{_PLANS}
"""

MIGRATIONS: Final[Mapping[int, str]] = MappingProxyType(
    {
        1: """
ALTER TABLE tasks ADD COLUMN idempotency_key TEXT;
ALTER TABLE tasks ADD COLUMN fingerprint BLOB;
CREATE UNIQUE INDEX tasks_by_idempotency_key ON tasks (idempotency_key)
    WHERE idempotency_key IS NOT NULL;
""",
        # The times of creation become as what is accepted from now on has them: in order.
        # Nothing was ever written to the schedules of version 2.
        2: f"""
ALTER TABLE tasks ADD COLUMN schedule TEXT;
ALTER TABLE tasks ADD COLUMN deadline REAL;
DROP INDEX tasks_unfinished;
CREATE INDEX tasks_by_type_and_state ON tasks (type, state);
UPDATE tasks SET created_at = latest FROM (
    SELECT ord AS late, latest FROM (
        SELECT ord, created_at, max(created_at) OVER (ORDER BY ord) AS latest FROM tasks
    ) WHERE latest > created_at
) WHERE ord = late;
CREATE TABLE attempts (
    ord INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    worker TEXT NOT NULL,
    due_at REAL NOT NULL,
    started_at REAL NOT NULL,
    finished_at REAL NOT NULL,
    run_seconds REAL,
    outcome TEXT NOT NULL,
    error TEXT,
    PRIMARY KEY (ord, attempt)
) WITHOUT ROWID;
DROP TABLE schedules;
{_PLANS}
""",
    }
)
"""What makes the next version of each."""

_COLUMNS: Final = ("ord", "id", *_IMMUTABLE, *_MUTABLE)

INSERT_TASK: Final = (
    f"INSERT INTO tasks ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
)
UPDATE_TASK: Final = f"UPDATE tasks SET {', '.join(f'{c} = ?' for c in _MUTABLE)} WHERE ord = ?"
SELECT_TASK: Final = f"SELECT {', '.join(_COLUMNS)}, payload FROM tasks JOIN payloads USING (ord)"
PUT_PAYLOAD: Final = "REPLACE INTO payloads VALUES (?, ?)"
# Two times have their row in `probe`: when it was written to for the sake of writing, and the time
# that ages went by (`afterwards.registry.state.ages`).
PUT_PROBE: Final = "REPLACE INTO probe VALUES (1, ?)"
PUT_TRUSTED_TIME: Final = "REPLACE INTO probe VALUES (2, ?)"
SELECT_TRUSTED_TIME: Final = "SELECT at FROM probe WHERE one = 2"
INSERT_ATTEMPT: Final = "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
SELECT_ATTEMPTS: Final = (
    "SELECT attempt, worker, due_at, started_at, finished_at, run_seconds, outcome, error "
    "FROM attempts"
)
"""Rows that are `AttemptRecord`s."""
SELECT_HEADS: Final = f"SELECT {', '.join(_COLUMNS[:-2])}, NULL, NULL, x'' FROM tasks"
"""Tasks without what may be large: their error, result and payload."""


def key(task_id: str) -> bytes:
    """A task id as the journal stores it: 16 bytes instead of 36 characters."""
    return bytes.fromhex(task_id.replace("-", ""))


def lookup_key(task_id: str) -> bytes | None:
    """The key of a task id that may be none; None, as SQL's NULL, is the key of nothing."""
    try:
        raw = key(task_id)
    except ValueError:
        return None
    return raw if task_id == _text(raw) else None


def mutable_columns(task: Task) -> tuple[Any, ...]:
    """What a transition may change, in the order of `UPDATE_TASK`."""
    return (
        task.state.value,
        task.deadline,
        task.run_at,
        task.delay_seconds,
        task.started_at,
        task.finished_at,
        task.attempt,
        task.attempts_used,
        task.lost_attempts,
        task.retries,
        task.worker,
        task.cancel_requested,
        task.reason,
        task.error,
        task.result,
    )


def task_columns(task: Task) -> tuple[Any, ...]:
    """A whole task, in the order of `INSERT_TASK`."""
    return (
        task.order,
        key(task.id),
        task.type,
        task.executor,
        task.created_at,
        task.max_attempts,
        task.timeout_seconds,
        task.priority,
        task.idempotency_key,
        task.fingerprint,
        task.schedule,
        *mutable_columns(task),
    )


def to_task(row: tuple[Any, ...]) -> Task:
    """The inverse of `task_columns`, from a row of `SELECT_TASK`."""
    columns = dict(zip(_COLUMNS, row, strict=False))
    order, raw_id = columns.pop("ord"), columns.pop("id")
    columns["state"] = TaskState(columns["state"])
    columns["cancel_requested"] = bool(columns["cancel_requested"])
    return Task(
        id=_text(raw_id),
        order=order,
        payload=row[-1],
        **columns,
    )


def _text(raw_id: bytes) -> str:
    digits = raw_id.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
