"""The latest tasks of schedules, found by the keys that due times give them: no index is theirs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from afterwards.lifecycle import Task, TaskState
from afterwards.registry.journal.columns import id_of
from afterwards.registry.protocol.answers import DueTask
from afterwards.schedules.schedule import due_keys, due_of

MOST: Final = 12
"""For each schedule."""

_SELECT: Final = f"""
SELECT id, idempotency_key, state FROM tasks
    WHERE idempotency_key > ? AND idempotency_key < ?
    ORDER BY idempotency_key DESC LIMIT {MOST}
"""


def stored(db: sqlite3.Connection, schedule: str) -> list[DueTask]:
    """The latest of one schedule, newest first."""
    rows = db.execute(_SELECT, due_keys(schedule))
    return [DueTask(id_of(raw), due_of(key), TaskState(state)) for raw, key, state in rows]


def gathered(tasks: Iterable[Task], schedules: Sequence[str]) -> dict[str, list[DueTask]]:
    """The latest of each schedule among the tasks, newest first."""
    found: dict[str, list[DueTask]] = {name: [] for name in schedules}
    for task in tasks:
        key = task.idempotency_key
        # A task that was made by hand has none.
        if task.schedule in found and key is not None:
            found[task.schedule].append(DueTask(task.id, due_of(key), task.state))
    return {
        name: sorted(each, key=lambda one: one.due, reverse=True)[:MOST]
        for name, each in found.items()
    }
