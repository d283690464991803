"""The rows of a group's changes, by table: each task once, as it is after all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from afterwards.lifecycle import Change, Task, TaskState
from afterwards.registry.journal.columns import (
    NOTHING_RARE,
    attempt_columns,
    plain_attempt_columns,
    rare_columns,
)
from afterwards.registry.journal.history import ended_attempt
from afterwards.registry.protocol.answers import AttemptRecord
from afterwards.registry.protocol.filters import pairs_of


class Rows(NamedTuple):
    """A group's changes by what has to be done about them."""

    new: list[Task]
    """New tasks with nothing that few tasks have."""
    new_rare: list[Task]
    """All other new tasks."""
    changed: list[Task]
    rare: list[Task]
    """Changed tasks whose rare columns have changed."""
    moved: list[tuple[Any, ...]]
    """The columns of tasks whose type has changed, and their order."""
    gone: list[Task]
    payloads: list[tuple[int, bytes]]
    """Payloads of new tasks, and those that a retry by hand has replaced; by the order of their
    task."""
    attempts: list[tuple[Any, ...]]
    """Attempts that have ended, as `plain_attempt_columns` has them."""
    whole_attempts: list[tuple[Any, ...]]
    """Attempts with more than the usual columns, as `attempt_columns` has them."""
    old_logs: list[tuple[int, int]]
    """Attempts that are not the last of their task any more: its order, their number."""
    labels: list[tuple[str, int]]
    """The pairs that new tasks are found by, and their order."""
    old_labels: list[tuple[str, int]]
    """The same of those that are gone."""
    traces: list[tuple[int, str]]
    """The order of new tasks that have one, and their trace."""
    callbacks: list[tuple[int, str]]
    """The same with callbacks."""
    artifacts: list[tuple[int, str]]
    """The order of tasks that have just made some, and their list."""
    tracebacks: list[tuple[int, int, str]]
    """Tracebacks of attempts that have ended: their task's order, their number, the text."""
    failed: list[Task]
    """New and changed tasks that have failed."""
    unfailed: list[int]
    """Changed and deleted tasks that were failed before; their orders."""


def rows_of(changes: Iterable[Change]) -> Rows:
    """Sort the changes of a group."""
    rows = Rows(*([] for _ in Rows._fields))
    first: dict[str, Change] = {}
    last: dict[str, Change] = {}
    for change in changes:
        task = change.task
        first.setdefault(task.id, change)
        last[task.id] = change
        if change.outcome is not None and (ended := ended_attempt(change)):
            _add_attempt(rows, task.order, ended)
    for task_id, change in last.items():
        before, after = first[task_id].old, change.new
        if before is not None and before.state is TaskState.FAILED:
            rows.unfailed.append(before.order)
        if after is not None and after.state is TaskState.FAILED:
            rows.failed.append(after)
        _add_artifacts(rows, after)
        if after is None:
            if change.old is not None:
                rows.gone.append(change.old)
                if change.old.labels is not None:
                    rows.old_labels.extend(_labels(change.old))
        elif before is None:
            _add_new(rows, after)
        else:
            _add_changed(rows, before, after)
    return rows


def _add_artifacts(rows: Rows, after: Task | None) -> None:
    # Set with a success, which is never left but by a deletion.
    if after is not None and after.artifacts is not None:
        rows.artifacts.append((after.order, after.artifacts))


def _add_new(rows: Rows, task: Task) -> None:
    if rare_columns(task) == NOTHING_RARE:
        rows.new.append(task)
    else:
        rows.new_rare.append(task)
        rows.labels.extend(_labels(task))
    if task.trace is not None:
        rows.traces.append((task.order, task.trace))
    if task.callback is not None:
        rows.callbacks.append((task.order, task.callback))
    rows.payloads.append((task.order, task.payload))


def _add_changed(rows: Rows, before: Task, after: Task) -> None:
    rows.changed.append(after)
    kind, marks = _kind(after), (after.crowd, after.generation, after.webhook)
    if kind != _kind(before):
        rows.moved.append((*kind, after.order))
    if marks != (before.crowd, before.generation, before.webhook):
        rows.rare.append(after)
    if after.payload is not before.payload:
        rows.payloads.append((after.order, after.payload))


def _kind(task: Task) -> tuple[str, str, int]:
    return task.type, task.executor, task.max_attempts


def _labels(task: Task) -> list[tuple[str, int]]:
    return [(pair, task.order) for pair in pairs_of(task.labels)]


def _add_attempt(rows: Rows, order: int, ended: AttemptRecord) -> None:
    plain = plain_attempt_columns(order, ended)
    if plain is not None:
        rows.attempts.append(plain)
    else:
        rows.whole_attempts.append(attempt_columns(order, ended))
    if ended.traceback is not None:
        rows.tracebacks.append((order, ended.attempt, ended.traceback))
    if ended.attempt > 1:
        rows.old_logs.append((order, ended.attempt - 1))
