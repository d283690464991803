"""The rows of a group's tasks, and of all that they have, as the journal stores them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from afterwards.lifecycle import Task
from afterwards.registry.journal.columns import (
    FORGET_LOG,
    FORGET_TRACEBACKS,
    INSERT_ATTEMPT,
    INSERT_TASK,
    INSERT_WHOLE_ATTEMPT,
    INSERT_WHOLE_TASK,
    PUT_PAYLOAD,
    PUT_TRACEBACK,
    UPDATE_KIND,
    UPDATE_RARE,
    UPDATE_TASK,
    key,
    rare_columns,
)
from afterwards.registry.journal.history import MOST_TRACEBACKS
from afterwards.registry.journal.rows import Rows

AsColumns = Callable[[Task], tuple[Any, ...]]
"""A task as values of columns."""


def write(
    db: sqlite3.Connection, rows: Rows, at: float, inserted: AsColumns, updated: AsColumns
) -> None:
    """Write the rows of a group, within its transaction.

    Args:
        at: the time of the group.
        inserted: a new task as its row.
        updated: the part of a task's row that changes.
    """
    # First: a new task may have the idempotency key of one that goes.
    _delete(db, rows.gone)
    if rows.new:
        db.executemany(INSERT_TASK, map(inserted, rows.new))
    if rows.new_rare:
        whole = [(*inserted(task), *rare_columns(task)) for task in rows.new_rare]
        db.executemany(INSERT_WHOLE_TASK, whole)
        db.executemany("INSERT INTO labels VALUES (?, ?)", rows.labels)
    if rows.changed:
        db.executemany(UPDATE_TASK, [(*updated(t), t.order) for t in rows.changed])
    if rows.moved:
        db.executemany(UPDATE_KIND, rows.moved)
    if rows.rare:
        db.executemany(UPDATE_RARE, [(*rare_columns(t), t.order) for t in rows.rare])
    if rows.traces:
        db.executemany("INSERT INTO traces VALUES (?, ?)", rows.traces)
    if rows.callbacks:
        db.executemany("INSERT INTO callbacks VALUES (?, ?)", rows.callbacks)
    if rows.payloads:
        db.executemany(PUT_PAYLOAD, rows.payloads)
    if rows.artifacts:
        db.executemany("INSERT INTO artifacts VALUES (?, ?)", rows.artifacts)
    _write_attempts(db, rows)
    # Last: an attempt at one may have ended in this group.
    _delete_what_they_had(db, rows, at)


def _write_attempts(db: sqlite3.Connection, rows: Rows) -> None:
    if rows.attempts:
        db.executemany(INSERT_ATTEMPT, rows.attempts)
    if rows.whole_attempts:
        db.executemany(INSERT_WHOLE_ATTEMPT, rows.whole_attempts)
    if rows.old_logs:
        db.executemany(FORGET_LOG, rows.old_logs)
    if rows.tracebacks:
        db.executemany(PUT_TRACEBACK, rows.tracebacks)
        full = {(order,) for order, attempt, _ in rows.tracebacks if attempt > MOST_TRACEBACKS}
        db.executemany(FORGET_TRACEBACKS, full)


def _delete(db: sqlite3.Connection, gone: Sequence[Task]) -> None:
    if gone:
        orders = [(task.order,) for task in gone]
        db.executemany("DELETE FROM tasks WHERE ord = ?", orders)


def _delete_what_they_had(db: sqlite3.Connection, rows: Rows, at: float) -> None:
    if not rows.gone:
        return
    orders = [(task.order,) for task in rows.gone]
    for table in ("payloads", "attempts", "tracebacks", "traces", "artifacts"):
        db.executemany(f"DELETE FROM {table} WHERE ord = ?", orders)
    with_callback = [(task.order,) for task in rows.gone if task.webhook]
    if with_callback:
        db.executemany("DELETE FROM callbacks WHERE ord = ?", with_callback)
    db.executemany("DELETE FROM labels WHERE pair = ? AND ord = ?", rows.old_labels)
    remembered = [(key(task.id), at) for task in rows.gone]
    db.executemany("INSERT OR REPLACE INTO deleted VALUES (?, ?)", remembered)
