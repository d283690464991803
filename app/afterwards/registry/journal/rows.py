"""What of a group's changes goes into which table: each task once, as it is after all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from afterwards.lifecycle import Change, Task
from afterwards.registry.journal.history import ended_attempt


class Rows(NamedTuple):
    """A group's changes by what has to be done about them."""

    new: list[Task]
    changed: list[Task]
    gone: list[Task]
    payloads: list[tuple[int, bytes]]
    """Of new tasks, and those that a retry by hand has replaced; by the order of their task."""
    attempts: list[tuple[Any, ...]]
    """Attempts that have ended: the order of their task, and an `AttemptRecord`."""


def rows_of(changes: Iterable[Change]) -> Rows:
    """Sort the changes of a group."""
    rows = Rows([], [], [], [], [])
    first: dict[str, Change] = {}
    last: dict[str, Change] = {}
    for change in changes:
        task = change.task
        first.setdefault(task.id, change)
        last[task.id] = change
        if change.outcome is not None and (ended := ended_attempt(change)):
            rows.attempts.append((task.order, *ended))
    for task_id, change in last.items():
        before, after = first[task_id].old, change.new
        if after is None:
            if change.old is not None:
                rows.gone.append(change.old)
        elif before is None:
            rows.new.append(after)
            rows.payloads.append((after.order, after.payload))
        else:
            rows.changed.append(after)
            if after.payload is not before.payload:
                rows.payloads.append((after.order, after.payload))
    return rows
