"""The files of tasks that have to be removed: noted with what makes them superfluous.

The note is in the transaction that ends or deletes the task, and goes once the files are removed.
So a crash in between leaves none for ever, however many there are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from afterwards.lifecycle import Change, Task, TaskState
from afterwards.registry.journal.columns import id_of, key, lookup_key

STEP: Final = 200
"""So many are read at once."""


class Removal(NamedTuple):
    """The files of one task that have to be removed."""

    task_id: str
    attempt: int
    """Those of attempts with numbers up to this one."""
    kept: int | None
    """But for those of this attempt; 0: of none. None: the task is gone, and all of them go."""


def removals_of(changes: Iterable[Change]) -> list[Removal]:
    """The removals that follow from a group's changes, the last of each task."""
    found = {}
    for change in changes:
        removal = _removal(change)
        if removal is not None:
            found[removal.task_id] = removal
    return [*found.values()]


def _removal(change: Change) -> Removal | None:
    old, new = change.old, change.new
    if new is None:
        assert old is not None
        return Removal(old.id, old.attempt, None) if _may_have_left_files(old) else None
    if not new.state.is_final or (old is not None and old.state.is_final):
        return None
    if new.state is not TaskState.SUCCESS:
        return Removal(new.id, new.attempt, 0) if new.attempt else None
    return Removal(new.id, new.attempt, new.attempt) if new.attempt > 1 else None


def _may_have_left_files(task: Task) -> bool:
    """True unless its only attempt has succeeded, and made none."""
    if task.state is TaskState.SUCCESS and task.attempt == 1:
        return task.artifacts is not None
    return task.attempt > 0


def write(db: sqlite3.Connection, removals: Iterable[Removal], removed: Iterable[Removal]) -> None:
    """Write what has to be removed, and forget what is."""
    db.executemany(
        "DELETE FROM removals WHERE id = ? AND attempt = ? AND kept IS ?",
        [(key(task_id), attempt, kept) for task_id, attempt, kept in removed],
    )
    db.executemany(
        "INSERT OR REPLACE INTO removals VALUES (?, ?, ?)",
        [(key(task_id), attempt, kept) for task_id, attempt, kept in removals],
    )


def some(db: sqlite3.Connection, after: str) -> list[Removal]:
    """As `Journal.to_remove`."""
    rows = db.execute(
        "SELECT id, attempt, kept FROM removals WHERE id > ? ORDER BY id LIMIT ?",
        (lookup_key(after) or b"", STEP),
    )
    return [Removal(id_of(raw), attempt, kept) for raw, attempt, kept in rows]


class RemovalsInMemory:
    """The same where nothing is on disk. Read by another thread than writes."""

    def __init__(self) -> None:
        self._left: dict[str, Removal] = {}

    def write(self, removals: Sequence[Removal], removed: Sequence[Removal]) -> None:
        """As `write`."""
        for removal in removed:
            if self._left.get(removal.task_id) == removal:
                del self._left[removal.task_id]
        self._left.update({removal.task_id: removal for removal in removals})

    def some(self, after: str) -> list[Removal]:
        """As `some`."""
        return sorted(one for one in self._left.copy().values() if one.task_id > after)[:STEP]
