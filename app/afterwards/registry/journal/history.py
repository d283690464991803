"""What is remembered of each attempt at a task, for its history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from afterwards.lifecycle import Change, Task, TaskState
from afterwards.registry.protocol.answers import AttemptRecord, Details

MOST_SHOWN: Final = 1_000
"""Of a longer history the latest attempts are shown: a task can be released without end."""


def ended_attempt(change: Change) -> AttemptRecord | None:
    """The attempt that this transition has ended, if it has ended one."""
    old, new = change.old, change.new
    if change.outcome is None or old is None or new is None:
        return None
    started_at = old.run_at if old.started_at is None else old.started_at
    # What is to be tried again is due from now on, or after a delay from now on.
    finished_at = new.finished_at or new.run_at - (new.delay_seconds or 0.0)
    # Released, it keeps the error of the attempt before, which is not why this one has ended.
    given_back = change.outcome == "released" and not new.state.is_final
    ended_at = max(started_at, finished_at)
    run_seconds = change.run_seconds
    if run_seconds is None and change.outcome in ("cancelled", "released"):
        # Its worker does not say, but it ran until about now; of a lost one nobody knows.
        run_seconds = ended_at - started_at
    return AttemptRecord(
        old.attempt,
        old.worker or "",
        old.run_at,
        started_at,
        ended_at,
        run_seconds,
        change.outcome,
        new.reason if given_back else new.error,
    )


def with_history(task: Task, ended: Sequence[AttemptRecord]) -> Details:
    """A task with its history: the attempts that have ended, and the one that runs."""
    if task.state is not TaskState.PROCESSING:
        return Details(task, ended, None)
    started_at = task.run_at if task.started_at is None else task.started_at
    running = AttemptRecord(task.attempt, task.worker or "", task.run_at, started_at)
    return Details(task, [*ended, running], None)
