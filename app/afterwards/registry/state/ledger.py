"""The ledger of workers: their slots, their claims and their leases."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from afterwards.lifecycle import Task
from afterwards.registry.protocol.base import Worker
from afterwards.registry.protocol.requests import Held


@dataclass
class WorkerRecord:
    """What the registry knows of one worker."""

    worker: Worker
    lease_ends: float
    """On the registry's running clock."""
    connection: int = 0
    joined: bool = False
    draining: bool = False
    """Takes no more claims; what it loses from now on was asked for and does not count."""
    over: str | None = None
    """Why its claims end: set when it left, fell silent or died. They are ended in every group
    until one is committed, so this is a state and not an event."""
    gone: bool = False
    """Its process has ended, and with it what cannot be stopped."""
    slots: Mapping[str, int] = field(default_factory=dict)
    stuck: Mapping[str, int] = field(default_factory=dict)
    unstoppable: frozenset[str] = frozenset()
    held: dict[str, Task] = field(default_factory=dict)
    """Its tasks, as claimed."""
    used: Counter[str] = field(default_factory=Counter)
    """Claims by executor kind."""
    untold: dict[str, Held] = field(default_factory=dict)
    """Claims by task id whose cancellation was asked for and that it has not been told of."""
    attention: threading.Event = field(default_factory=threading.Event)
    """Set when an exchange would bring it something; what `Registry.watch` waits for."""

    def free(self, kind: str) -> int:
        """How many more claims of this kind it may get."""
        if not self.joined or self.draining:
            return 0
        return max(0, self.slots.get(kind, 0) - self.used[kind])


class Ledger:
    """All workers, and who holds what. Claims are booked by transitions, never directly."""

    def __init__(self) -> None:
        self._records: dict[str, WorkerRecord] = {}

    def __iter__(self) -> Iterator[WorkerRecord]:
        return iter(list(self._records.values()))

    def find(self, worker: str) -> WorkerRecord | None:
        """The record of a worker, by its incarnation as text."""
        return self._records.get(worker)

    def enter(self, worker: Worker, lease_ends: float) -> WorkerRecord:
        """The record of a worker, made if there is none."""
        record = self._records.get(str(worker))
        if record is None:
            record = self._records[str(worker)] = WorkerRecord(worker, lease_ends)
        return record

    def forget(self, record: WorkerRecord) -> None:
        """Strike a worker that is over and holds nothing any more."""
        self._records.pop(str(record.worker), None)

    def book(self, task: Task) -> None:
        """A task has been claimed, or a claim changed."""
        record = self._records.get(task.worker or "")
        if record is None:
            return
        if task.id not in record.held:
            record.used[task.executor] += 1
        record.held[task.id] = task
        if task.cancel_requested:
            record.untold[task.id] = Held(task.id, task.attempt)

    def clear(self, task: Task) -> None:
        """A claim has ended."""
        record = self._records.get(task.worker or "")
        if record is not None and record.held.pop(task.id, None) is not None:
            record.used[task.executor] -= 1
            record.untold.pop(task.id, None)

    def omitted(self, record: WorkerRecord, held: Iterable[Held]) -> list[Task]:
        """What the record says the worker holds and the worker's own list does not."""
        listed = set(held)
        return [task for task in record.held.values() if (task.id, task.attempt) not in listed]
