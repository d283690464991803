"""Several tasks accepted as one submission, under one idempotency key.

The first task has the key as it was sent. The others have keys that no client can send, derived
from it and from the first one's id: a repetition finds them all, and a batch can be accepted anew
without meeting what is left of an earlier one. Retention keeps the first task until it deletes the
last (`rest_of`), because with it would go the key; deleting it by hand before is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from afterwards.lifecycle import INTERNAL_KEY, Task

MOST_TASKS: Final = 1_000
"""In one submission, beside the task that follows them."""

MARK: Final = b"batch:"
"""The beginning of the fingerprint of each task of a batch."""


def as_batch(tasks: Sequence[Task]) -> Sequence[Task]:
    """The tasks as they are stored: each with its key, if the batch has one."""
    if not tasks or tasks[0].idempotency_key is None:
        return tasks
    # Marked, so that a single task with this key and fingerprint is another submission.
    first = replace(tasks[0], fingerprint=MARK + (tasks[0].fingerprint or b""))
    members = [
        replace(task, idempotency_key=member_key(first, position), fingerprint=first.fingerprint)
        for position, task in enumerate(tasks[1:], start=1)
    ]
    return [first, *members]


def rest_of(task: Task) -> tuple[str, str] | None:
    """Bounds of the keys of a batch's other tasks, if this is its first; None: it is not."""
    key = task.idempotency_key
    if key is None or INTERNAL_KEY in key or not (task.fingerprint or b"").startswith(MARK):
        return None
    before = f"{key}{INTERNAL_KEY}{task.id}{INTERNAL_KEY}"
    return before, f"{before}:"  # after the digits


def member_key(first: Task, position: int) -> str:
    """The key of the task that came at this position (from 1) after the first."""
    return f"{first.idempotency_key}{INTERNAL_KEY}{first.id}{INTERNAL_KEY}{position}"
