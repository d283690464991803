"""Tasks and attempts as rows of the database.

A statement writes any number of rows. What is text or number goes as one JSON document, because a
driver makes an array for each column far slower; what is binary goes as arrays beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from afterwards.lifecycle import Task, TaskState
from afterwards.registry.journal.history import MOST_TRACEBACKS
from afterwards.registry.protocol.answers import AttemptRecord
from afterwards.registry.protocol.base import SUMMARY_BYTES

SUSPECTED_LANE: Final = "suspected"

_IMMUTABLE: Final[Mapping[str, str]] = {
    "id": "uuid",
    "ord": "bigint",
    "created_at": "float8",
    "timeout_seconds": "float8",
    "priority": "smallint",
    "idempotency_key": "text",
    "schedule": "text",
    "owner": "text",
    "labels": "text",
    "parent": "text",
    "task_group": "uuid",
    "concurrency_key": "text",
    "unique_key": "text",
    "webhook": "int",
    "depth": "int",
    "follows": "text",
    "members": "int",
    "trace": "text",
    "callback": "text",
}
_MUTABLE: Final[Mapping[str, str]] = {
    "type": "text",
    "executor": "text",
    "max_attempts": "int",
    "state": "text",
    "deadline": "float8",
    "run_at": "float8",
    "delay_seconds": "float8",
    "started_at": "float8",
    "finished_at": "float8",
    "attempt": "int",
    "attempts_used": "int",
    "lost_attempts": "int",
    "retries": "int",
    "crowd": "int",
    "generation": "int",
    "artifacts": "text",
    "worker": "text",
    "cancel_requested": "boolean",
    "reason": "text",
    "error": "text",
    # What no `Task` has: its place among those that wait, and what finds it.
    "lane": "text",
    "age": "bigint",
    "solo": "boolean",
    "backoff_due": "float8",
}
_BESIDES: Final = ("lane", "age", "solo", "backoff_due")

_FIELDS: Final = (
    *(name for name in (*_IMMUTABLE, *_MUTABLE) if name not in _BESIDES),
    "fingerprint",
    "payload",
    "result",
)
NAMES: Final = tuple(_FIELDS)
"""The names of a task's columns, in the order of `SELECTED`."""
_SELECTED: Final = {"id": "id::text", "task_group": "task_group::text"}
SELECTED: Final = ", ".join(_SELECTED.get(name, name) for name in _FIELDS)
"""A task's columns, as `to_task` takes them."""
SELECTED_TO_WORK: Final = f"{SELECTED}, age, solo, backoff_due"
"""A task's columns, as `to_stored` takes them."""
_LEFT_OUT: Final = ("result", "trace", "callback", "artifacts")
SUMMARY_SELECTED: Final = ", ".join(
    "NULL"
    if name in _LEFT_OUT
    else f"substring(payload FROM 1 FOR {SUMMARY_BYTES})"
    if name == "payload"
    else _SELECTED.get(name, name)
    for name in _FIELDS
)
"""The same of a task without what is large, and with the beginning of its payload."""

# A task that waits, or runs and may wait again, has an age; those that come now get the next ones.
_AGE: Final = (
    "CASE WHEN new.state IN ('pending', 'processing') "
    "THEN coalesce(new.age, nextval('afterwards.ages')) END"
)


def _typed(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in columns.items())


def _value(name: str) -> str:
    return _AGE if name == "age" else f"new.{name}"


_INSERTED: Final = {**_IMMUTABLE, **_MUTABLE}
_BINARY: Final = ("fingerprint", "payload", "result")
INSERT_TASKS: Final = f"""
INSERT INTO afterwards.tasks ({", ".join((*_INSERTED, *_BINARY))})
SELECT {", ".join(_value(name) for name in (*_INSERTED, *_BINARY))}
FROM ROWS FROM (
    json_to_recordset(%s::json) AS ({_typed(_INSERTED)}),
    unnest(%b::bytea[]), unnest(%b::bytea[]), unnest(%b::bytea[])
) AS new ({", ".join((*_INSERTED, *_BINARY))})
"""
_UPDATED: Final = {"id": "uuid", **_MUTABLE}
UPDATE_TASKS: Final = f"""
UPDATE afterwards.tasks SET {", ".join(f"{n} = {_value(n)}" for n in (*_MUTABLE, "result"))}
FROM ROWS FROM (
    json_to_recordset(%s::json) AS ({_typed(_UPDATED)}), unnest(%b::bytea[])
) AS new ({", ".join((*_UPDATED, "result"))})
WHERE tasks.id = new.id
"""
UPDATE_PAYLOADS: Final = """
UPDATE afterwards.tasks SET payload = new.payload
FROM unnest(%s::uuid[], %b::bytea[]) AS new (id, payload) WHERE tasks.id = new.id
"""

_ATTEMPT: Final[Mapping[str, str]] = {
    "task": "uuid",
    "attempt": "int",
    "worker": "text",
    "due_at": "float8",
    "started_at": "float8",
    "finished_at": "float8",
    "run_seconds": "float8",
    "outcome": "text",
    "error": "text",
    "generation": "int",
    "crowd": "int",
    "peak_memory_bytes": "bigint",
    "cpu_seconds": "float8",
    "log": "text",
    "traceback": "text",
}
INSERT_ATTEMPTS: Final = f"""
INSERT INTO afterwards.attempts
SELECT * FROM json_to_recordset(%s::json) AS new ({_typed(_ATTEMPT)})
"""
_RECORD: Final = tuple(_ATTEMPT)[1:]
SELECTED_OF_ATTEMPT: Final = ", ".join(_RECORD)
# The last attempt alone keeps its log, and the latest failed ones their tracebacks.
FORGET_LOGS: Final = """
UPDATE afterwards.attempts SET log = NULL
FROM json_to_recordset(%s::json) AS old (task uuid, attempt int)
WHERE attempts.task = old.task AND attempts.attempt = old.attempt AND log IS NOT NULL
"""
FORGET_TRACEBACKS: Final = f"""
UPDATE afterwards.attempts SET traceback = NULL
WHERE task = ANY (%s::uuid[]) AND traceback IS NOT NULL AND attempt NOT IN (
    SELECT kept.attempt FROM afterwards.attempts AS kept
    WHERE kept.task = attempts.task AND kept.traceback IS NOT NULL
    ORDER BY kept.attempt DESC LIMIT {MOST_TRACEBACKS}
)
"""


class Stored(NamedTuple):
    """A task as the database has it."""

    task: Task
    age: int | None
    """Its place among those that wait, or did when it was claimed; None: it has none."""
    solo: bool
    """Once it has to be alone, it is so over all workers."""
    backoff_due: float | None
    """The time, on the `elapsed` clock, at which it is due; None: it does not back off."""


def to_task(row: Sequence[Any]) -> Task:
    """A task, from a row of `SELECTED`."""
    columns = dict(zip(_FIELDS, row, strict=False))
    columns["order"] = columns.pop("ord")
    columns["group"] = columns.pop("task_group")
    columns["state"] = TaskState(columns["state"])
    return Task(**columns)


def to_stored(row: Sequence[Any]) -> Stored:
    """A task with what it waits by, from a row of `SELECTED_TO_WORK`."""
    return Stored(to_task(row), *row[-3:])


def inserted(stored: Stored, lane: str | None) -> dict[str, Any]:
    """A new task for `INSERT_TASKS`, but for what is binary."""
    task = stored.task
    return {
        "id": task.id,
        "ord": task.order,
        "created_at": task.created_at,
        "timeout_seconds": task.timeout_seconds,
        "priority": task.priority,
        "idempotency_key": task.idempotency_key,
        "schedule": task.schedule,
        "owner": task.owner,
        "labels": task.labels,
        "parent": task.parent,
        "task_group": task.group,
        "concurrency_key": task.concurrency_key,
        "unique_key": task.unique_key,
        "webhook": task.webhook,
        "depth": task.depth,
        "follows": task.follows,
        "members": task.members,
        "trace": task.trace,
        "callback": task.callback,
        **updated(stored, lane),
    }


def updated(stored: Stored, lane: str | None) -> dict[str, Any]:
    """A changed task for `UPDATE_TASKS`, but for its result."""
    task = stored.task
    return {
        "id": task.id,
        "type": task.type,
        "executor": task.executor,
        "max_attempts": task.max_attempts,
        "state": task.state.value,
        "deadline": task.deadline,
        "run_at": task.run_at,
        "delay_seconds": task.delay_seconds,
        "started_at": task.started_at,
        "finished_at": task.finished_at,
        "attempt": task.attempt,
        "attempts_used": task.attempts_used,
        "lost_attempts": task.lost_attempts,
        "retries": task.retries,
        "crowd": task.crowd,
        "generation": task.generation,
        "artifacts": task.artifacts,
        "worker": task.worker,
        "cancel_requested": task.cancel_requested,
        "reason": storable(task.reason),
        "error": storable(task.error),
        "lane": lane,
        "age": stored.age,
        "solo": stored.solo,
        "backoff_due": stored.backoff_due,
    }


def attempt_columns(task_id: str, record: AttemptRecord) -> dict[str, Any]:
    """An attempt that has ended, for `INSERT_ATTEMPTS`."""
    columns: dict[str, Any] = dict(zip(_RECORD, record, strict=True))
    log = columns.pop("log")
    return {
        **columns,
        "task": task_id,
        "error": storable(record.error),
        "log": storable("\n".join(log)) if log else None,
        "traceback": storable(record.traceback),
    }


def to_attempt(row: Sequence[Any], *, tracebacks: bool) -> AttemptRecord:
    """The inverse, from a row of `SELECTED_OF_ATTEMPT`."""
    *columns, log, traceback = row
    lines = () if log is None else tuple(log.split("\n"))
    return AttemptRecord._make((*columns, lines, traceback if tracebacks else None))


def storable(text: str | None) -> str | None:
    """Foreign text as PostgreSQL can hold it: the character U+0000 is shown as its picture."""
    return text.replace("\0", "\N{SYMBOL FOR NULL}") if text and "\0" in text else text
