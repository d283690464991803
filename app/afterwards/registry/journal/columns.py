"""Tasks and attempts as rows of the journal, and the statements that write and read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from afterwards.lifecycle import Kind, Task, TaskState
from afterwards.registry.journal.history import MOST_TRACEBACKS
from afterwards.registry.protocol.answers import AttemptRecord
from afterwards.registry.protocol.base import SUMMARY_BYTES

MUTABLE: Final = (
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
# Tasks that have nothing of this are written by a statement of their own: every column that a
# statement names costs each task some of the registry's time.
_RARE: Final = (
    "crowd",
    "generation",
    "webhook",
    "owner",
    "labels",
    "parent",
    "task_group",
    "concurrency_key",
    "unique_key",
    "depth",
    "follows",
    "members",
)
INSERTED: Final = ("ord", "id", *_IMMUTABLE, *MUTABLE)
# What may be large comes last: the error and the result.
_COLUMNS: Final = (*_RARE, *INSERTED)
# "group" is a word of SQL's. Only tasks with a trace, a callback or artifacts have a row for it, in
# a table of its own.
_FIELDS: Final = (
    "trace",
    "callback",
    "artifacts",
    *("group" if column == "task_group" else column for column in _COLUMNS),
)
_TRACE: Final = "(SELECT trace FROM traces WHERE traces.ord = tasks.ord)"
_CALLBACK: Final = (
    "CASE WHEN webhook THEN (SELECT callback FROM callbacks WHERE callbacks.ord = tasks.ord) END"
)
_ARTIFACTS: Final = "(SELECT list FROM artifacts WHERE artifacts.ord = tasks.ord)"


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


def _update(columns: Sequence[str]) -> str:
    return f"UPDATE tasks SET {', '.join(f'{column} = ?' for column in columns)} WHERE ord = ?"


INSERT_TASK: Final = _insert("tasks", INSERTED)
INSERT_WHOLE_TASK: Final = _insert("tasks", (*INSERTED, *_RARE))
UPDATE_TASK: Final = _update(MUTABLE)
UPDATE_KIND: Final = _update(Kind._fields)
UPDATE_RARE: Final = _update(_RARE)
SELECT_TASK: Final = (
    f"SELECT {_TRACE}, {_CALLBACK}, {_ARTIFACTS}, {', '.join(_COLUMNS)}, payload "
    "FROM tasks JOIN payloads USING (ord)"
)
PUT_PAYLOAD: Final = "REPLACE INTO payloads VALUES (?, ?)"
# Two times have their row in `probe`: when it was written to for the sake of writing, and the time
# that ages went by (`afterwards.registry.state.ages`).
PUT_PROBE: Final = "REPLACE INTO probe VALUES (1, ?)"
PUT_TRUSTED_TIME: Final = "REPLACE INTO probe VALUES (2, ?)"
SELECT_TRUSTED_TIME: Final = "SELECT at FROM probe WHERE one = 2"

_ATTEMPT: Final = (
    "attempt",
    "worker",
    "due_at",
    "started_at",
    "finished_at",
    "run_seconds",
    "outcome",
    "error",
)
_RARE_OF_ATTEMPT: Final = ("generation", "crowd", "peak_memory_bytes", "cpu_seconds", "log")
_WHOLE_ATTEMPT: Final = (*_ATTEMPT, *_RARE_OF_ATTEMPT)
INSERT_ATTEMPT: Final = _insert("attempts", ("ord", *_ATTEMPT))
INSERT_WHOLE_ATTEMPT: Final = _insert("attempts", ("ord", *_WHOLE_ATTEMPT))
SELECT_ATTEMPTS: Final = f"SELECT {', '.join(_WHOLE_ATTEMPT)} FROM attempts"
FORGET_LOG: Final = "UPDATE attempts SET log = NULL WHERE ord = ? AND attempt = ?"
COUNT_CHILDREN: Final = "SELECT count(*) FROM tasks WHERE parent = ?"
SELECT_CHILDREN_SIZE: Final = (
    "SELECT count(*), coalesce(sum(length(payload)), 0) "
    "FROM tasks JOIN payloads USING (ord) WHERE parent = ?"
)
SELECT_SUMMARY: Final = (
    f"SELECT NULL, NULL, NULL, {', '.join(_COLUMNS[:-1])}, NULL, "
    f"substr(payload, 1, {SUMMARY_BYTES}) FROM tasks JOIN payloads USING (ord)"
)
"""Tasks without their result, trace, callback and artifacts, and with the beginning of their
payload."""
SELECT_HEADS: Final = (
    "SELECT NULL, NULL, (SELECT '' FROM main.artifacts WHERE artifacts.ord = tasks.ord), "
    f"{', '.join(_COLUMNS[:-3])}, '', NULL, NULL, x'' FROM main.tasks"
)
"""Tasks without their trace and callback, and without what may be large: reason, error, result and
payload. Of artifacts it is told whether there are any. Nothing is opened: the fingerprint is as it
is stored."""

PUT_TRACEBACK: Final = "REPLACE INTO tracebacks VALUES (?, ?, ?)"
FORGET_TRACEBACKS: Final = f"""
DELETE FROM tracebacks WHERE ord = ?1 AND attempt NOT IN (
    SELECT attempt FROM tracebacks WHERE ord = ?1 ORDER BY attempt DESC LIMIT {MOST_TRACEBACKS}
)
"""
"""All but those of the latest attempts that have one."""
SELECT_TRACEBACKS: Final = "SELECT attempt, text FROM tracebacks WHERE ord = ?"


def key(task_id: str) -> bytes:
    """A task id as the journal stores it: 16 bytes instead of 36 characters."""
    return bytes.fromhex(task_id.replace("-", ""))


def lookup_key(task_id: str) -> bytes | None:
    """The key of a task id that may be none; None, as SQL's NULL, is the key of nothing."""
    try:
        raw = key(task_id)
    except ValueError:
        return None
    return raw if task_id == id_of(raw) else None


def mutable_columns(task: Task) -> tuple[Any, ...]:
    """The columns that a transition may change, in the order of `UPDATE_TASK`."""
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


def rare_columns(task: Task) -> tuple[Any, ...]:
    """The columns that few tasks have, in the order of `UPDATE_RARE`."""
    return (
        task.crowd,
        task.generation,
        task.webhook,
        task.owner,
        task.labels,
        task.parent,
        task.group,
        task.concurrency_key,
        task.unique_key,
        task.depth,
        task.follows,
        task.members,
    )


NOTHING_RARE: Final = (0, 0, 0, None, None, None, None, None, None, 0, None, 0)
"""`rare_columns` of all others: as a row has them that was inserted without."""


def task_columns(task: Task) -> tuple[Any, ...]:
    """All else of a task, in the order of `INSERT_TASK`."""
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
    """The inverse, from a row of `SELECT_TASK`."""
    columns = dict(zip(_FIELDS, row, strict=False))
    order, raw_id = columns.pop("ord"), columns.pop("id")
    columns["state"] = TaskState(columns["state"])
    columns["cancel_requested"] = bool(columns["cancel_requested"])
    return Task(
        id=id_of(raw_id),
        order=order,
        payload=row[-1],
        **columns,
    )


_NOTHING_RARE_OF_ATTEMPT: Final = (0, 0, None, None, ())


def attempt_columns(order: int, record: AttemptRecord) -> tuple[Any, ...]:
    """An attempt that has ended, in the order of `INSERT_WHOLE_ATTEMPT`."""
    log = "\n".join(record.log_lines) if record.log_lines else None
    return (order, *record[: len(_WHOLE_ATTEMPT) - 1], log)


def plain_attempt_columns(order: int, record: AttemptRecord) -> tuple[Any, ...] | None:
    """The same in the order of `INSERT_ATTEMPT`; None: there is more to write."""
    if record[len(_ATTEMPT) : len(_WHOLE_ATTEMPT)] != _NOTHING_RARE_OF_ATTEMPT:
        return None
    return (order, *record[: len(_ATTEMPT)])


def to_attempt(row: tuple[Any, ...]) -> AttemptRecord:
    """The inverse, from a row of `SELECT_ATTEMPTS`."""
    log = row[-1]
    lines = () if log is None else tuple(log.split("\n"))
    return AttemptRecord._make((*row[:-1], lines, None))


def id_of(raw_id: bytes) -> str:
    """The task id of a key."""
    digits = raw_id.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
