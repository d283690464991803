"""The attempts of a task, as its history keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from afterwards.lifecycle import Change, Task, TaskState
from afterwards.registry.protocol.answers import AttemptRecord, Details

MOST_SHOWN: Final = 1_000
"""The bound of attempts that a history shows, the latest ones: a task can be released without
end."""

MOST_LOG_LINES: Final = 64
MOST_LOG_BYTES: Final = 8 * 1024
"""The bound of an attempt's output, line ends included."""

MOST_TRACEBACK_BYTES: Final = 16 * 1024
MOST_TRACEBACKS: Final = 3
"""The number of tracebacks that a task keeps: those of its latest failed attempts."""


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
        old.generation,
        old.crowd,
        None if change.usage is None else change.usage.peak_memory_bytes,
        None if change.usage is None else change.usage.cpu_seconds,
        kept_log(change.log_lines) if change.log_lines else (),
        change.traceback and kept_traceback(change.traceback),
    )


def kept_log(lines: Sequence[str]) -> tuple[str, ...]:
    """The last lines, as many as are kept, whatever a worker sends."""
    kept: list[str] = []
    room = MOST_LOG_BYTES
    for line in reversed(lines[-MOST_LOG_LINES:]):
        # Half a surrogate pair can be stored and sent by nobody.
        raw = line.replace("\n", " ").encode(errors="replace")
        if len(raw) > room:
            if not kept:
                kept.append(raw[:room].decode(errors="ignore"))
            break
        kept.append(raw.decode())
        room -= len(raw) + 1
    return tuple(reversed(kept))


def kept_traceback(text: str) -> str:
    """As much of it as is kept, whatever a worker sends."""
    return text.encode(errors="replace")[:MOST_TRACEBACK_BYTES].decode(errors="ignore")


def without_log(record: AttemptRecord) -> AttemptRecord:
    """An attempt that was not the last."""
    return record._replace(log_lines=()) if record.log_lines else record


def without_old_tracebacks(records: Sequence[AttemptRecord]) -> list[AttemptRecord]:
    """Attempts of a task, of which only the latest keep their tracebacks."""
    having = [record.attempt for record in records if record.traceback is not None]
    kept = frozenset(having[-MOST_TRACEBACKS:])
    return [one if one.attempt in kept else without_traceback(one) for one in records]


def without_traceback(record: AttemptRecord) -> AttemptRecord:
    """An attempt as it is told if tracebacks are not asked for."""
    return record if record.traceback is None else record._replace(traceback=None)


def with_history(task: Task, ended: Sequence[AttemptRecord], children: int = 0) -> Details:
    """A task with its history: the attempts that have ended, and the one that runs.

    Args:
        children: the number of its children.
    """
    if task.state is not TaskState.PROCESSING:
        return Details(task, ended, None, children=children)
    started_at = task.run_at if task.started_at is None else task.started_at
    running = AttemptRecord(
        task.attempt,
        task.worker or "",
        task.run_at,
        started_at,
        generation=task.generation,
        crowd=task.crowd,
    )
    return Details(task, [*ended, running], None, children=children)
