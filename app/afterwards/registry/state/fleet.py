"""Workers as they are told: their slots, and the oldest of their attempts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Final

from afterwards.lifecycle import Task
from afterwards.registry.protocol.answers import RunningAttempt, WorkerView
from afterwards.registry.state.ledger import WorkerRecord

MAX_ATTEMPTS: Final = 100
"""The number of a worker's attempts that are told one by one."""


def slots_of(record: WorkerRecord) -> Counter[tuple[str, str]]:
    """The numbers of a worker's slots, by executor kind and `busy`, `free` or `stuck`."""
    slots: Counter[tuple[str, str]] = Counter()
    for kind, usable in record.slots.items():
        # What is stuck has its claim until it has ended.
        held, stuck = record.used[kind], record.stuck.get(kind, 0)
        slots[kind, "busy"] = max(0, held - stuck)
        slots[kind, "free"] = max(0, usable - held)
        slots[kind, "stuck"] = stuck
    return slots


def view_of(
    record: WorkerRecord, oldest: Iterable[Task], running: int, lease_seconds_left: float | None
) -> WorkerView:
    """A worker as it is told.

    Args:
        oldest: its tasks in the order in which they were claimed, or the first of them.
        running: how many it has.
        lease_seconds_left: None: its lease does not end.
    """
    return WorkerView(
        id=str(record.worker),
        pid=record.worker.pid,
        generation=record.generation,
        draining=record.draining,
        lease_seconds_left=lease_seconds_left,
        slots=slots_of(record),
        report=record.report,
        running=[
            RunningAttempt(task.id, task.type, task.attempt, task.started_at or 0.0)
            for task in islice(oldest, MAX_ATTEMPTS)
        ],
        running_total=running,
    )
