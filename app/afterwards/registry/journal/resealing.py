"""Values of tasks that are sealed anew, step by step, after the key that writes has changed.

A step is read and sealed beside the work, and written with a group of it. A value that has changed
meanwhile is left: whatever has changed it has sealed it with the new key.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from afterwards.logs import get_logger
from afterwards.registry.journal.sealing import Seal, Unsealable, Value, is_under
from afterwards.registry.journal.unsealed import named, of_attempt

log = get_logger(__name__)

STEP_TASKS: Final = 100
STEP_BYTES: Final = 256 * 1024
"""The size of the stored values after which a step ends; it has at least one task."""

_TASKS: Final = """
SELECT ord, id, fingerprint, reason, error, result, payload, callback, list
FROM main.tasks JOIN main.payloads USING (ord)
LEFT JOIN main.callbacks USING (ord) LEFT JOIN main.artifacts USING (ord)
WHERE ord >= ? AND ord <= ? ORDER BY ord LIMIT ?
"""
_ATTEMPTS: Final = "SELECT attempt, error, log FROM main.attempts WHERE ord = ?"
_TRACEBACKS: Final = "SELECT attempt, text FROM main.tracebacks WHERE ord = ?"

# What a transition may change is always written together, and its reason each time.
_PUT_MUTABLE: Final = """
UPDATE tasks SET reason = ?, error = ?, result = ? WHERE ord = ? AND reason IS ?
"""


def _put(table: str, column: str, *, of_attempt: bool = False) -> str:
    attempt = "AND attempt = ? " if of_attempt else ""
    return f"UPDATE {table} SET {column} = ? WHERE ord = ? {attempt}AND {column} IS ?"


_PUT_FINGERPRINT: Final = _put("tasks", "fingerprint")
_PUT_PAYLOAD: Final = _put("payloads", "payload")
_PUT_ARTIFACTS: Final = _put("artifacts", "list")
_PUT_CALLBACK: Final = _put("callbacks", "callback")
_PUT_ERROR: Final = _put("attempts", "error", of_attempt=True)
_PUT_LOG: Final = _put("attempts", "log", of_attempt=True)
_PUT_TRACEBACK: Final = _put("tracebacks", "text", of_attempt=True)


@dataclass
class Step:
    """The part of it that one group writes."""

    updates: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    """Statements, and their values."""
    next_order: int | None = None
    """The task that the next step begins with; None: this is the last step."""
    unreadable: int = 0
    """Values that cannot be opened, and stay as they are."""


class Resealing:
    """The progress through all tasks. One thread reads steps, the committer's writes them.

    Args:
        db: the connection that writes; its journal has adopted the key.
        seal: with the key that writes from now on.
    """

    def __init__(self, db: sqlite3.Connection, seal: Seal) -> None:
        self._seal = seal
        self._next, self._last, self._unreadable = db.execute(
            "SELECT next_ord, last_ord, unreadable FROM encryption"
        ).fetchone()
        if self._next is not None:
            # What is replaced is overwritten: it is plain, or under a key that others may know.
            db.execute("PRAGMA secure_delete = ON")
        else:
            # A crash or a backup may have kept the last step from it.
            _write_over_in_file(db)

    @property
    def left(self) -> int:
        """So many tasks, at most, are still to be looked at."""
        return 0 if self._next is None else max(1, self._last - self._next + 1)

    def step(self, db: sqlite3.Connection) -> Step | None:
        """Read and seal the next step; None: there is none. `db` has to be in a transaction."""
        if self._next is None:
            return None
        step, size = Step(), 0
        rows = db.execute(_TASKS, (self._next, self._last, STEP_TASKS))
        for number, (order, raw_id, *values) in enumerate(rows, start=1):
            size += self._reseal_task(db, step, order, raw_id, values)
            if size > STEP_BYTES or number == STEP_TASKS:
                if order < self._last:
                    step.next_order = order + 1
                break
        return step

    def write(self, db: sqlite3.Connection, step: Step) -> None:
        """Write a step as a part of the transaction at work."""
        for sql, values in step.updates:
            db.execute(sql, values)
        unreadable = self._unreadable + step.unreadable
        db.execute(
            "UPDATE encryption SET next_ord = ?, unreadable = ?", (step.next_order, unreadable)
        )
        if step.next_order is None and not unreadable:
            db.execute("DELETE FROM encryption_keys WHERE id IS NOT ?", (self._seal.writer,))

    def committed(self, db: sqlite3.Connection, step: Step) -> None:
        """It is durable."""
        self._next = step.next_order
        self._unreadable += step.unreadable
        if self._next is not None:
            return
        if self._unreadable:
            log.error(
                "values could not be sealed with the new key; the former keys are still needed",
                values=self._unreadable,
            )
        log.info("all tasks are sealed with the key that writes", writer=self._seal.writer)
        with contextlib.suppress(sqlite3.Error):
            db.execute("PRAGMA secure_delete = OFF")
        _write_over_in_file(db)

    def _reseal_task(
        self, db: sqlite3.Connection, step: Step, order: int, raw_id: bytes, values: list[Value]
    ) -> int:
        """Add what has to be written of a task, and give how many bytes were looked at."""
        fingerprint, reason, error, result, payload, callback, artifacts = values
        writer = self._seal.writer
        if not is_under(reason, writer):
            mutable = [
                self._resealed(value, raw_id, name)
                for value, name in ((reason, "reason"), (error, "error"), (result, "result"))
            ]
            if _all_opened(mutable, step):
                step.updates.append((_PUT_MUTABLE, (*mutable, order, reason)))
        singles: list[tuple[str, str, Value, tuple[int, ...]]] = [
            (_PUT_FINGERPRINT, "fingerprint", fingerprint, (order,)),
            (_PUT_PAYLOAD, "payload", payload, (order,)),
            (_PUT_ARTIFACTS, "artifacts", artifacts, (order,)),
            (_PUT_CALLBACK, "callback", callback, (order,)),
            *_of_attempts(db, order),
        ]
        size = sum(len(value) for value in (error, result) if value is not None)
        for sql, name, value, place in singles:
            size += 0 if value is None else len(value)
            if value is not None and not is_under(value, writer):
                found = self._resealed(value, raw_id, name)
                if _all_opened([found], step):
                    step.updates.append((sql, (found, *place, value)))
        return size

    def _resealed(self, value: Value, raw_id: bytes, name: str) -> Value | Unsealable:
        try:
            return self._seal.resealed(value, raw_id, name)
        except Unsealable as error:
            problem = f"the {name} of {named(raw_id)} cannot be opened: {error.problem}"
            log.error("a value stays under its former key", problem=problem)
            return error


def _write_over_in_file(db: sqlite3.Connection) -> None:
    """Have what was replaced gone from the file, which is as before until this, and from the WAL.

    If that cannot be done just now, the next checkpoint or the next start does it.
    """
    with contextlib.suppress(sqlite3.Error):
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _all_opened(values: list[Any], step: Step) -> bool:
    unreadable = sum(isinstance(value, Unsealable) for value in values)
    step.unreadable += unreadable
    return not unreadable


def _of_attempts(
    db: sqlite3.Connection, order: int
) -> Iterator[tuple[str, str, Value, tuple[int, ...]]]:
    """The values of a task's attempts: statement, field, value and place of each."""
    for attempt, error, log_lines in db.execute(_ATTEMPTS, (order,)):
        yield _PUT_ERROR, of_attempt("error", attempt), error, (order, attempt)
        yield _PUT_LOG, of_attempt("log", attempt), log_lines, (order, attempt)
    for attempt, text in db.execute(_TRACEBACKS, (order,)):
        yield _PUT_TRACEBACK, of_attempt("traceback", attempt), text, (order, attempt)
