"""The ledger of workers: their slots, their claims and their leases."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from afterwards.access.meters import Use
from afterwards.lifecycle import Task
from afterwards.registry.protocol.base import SUSPECTED, Worker
from afterwards.registry.protocol.requests import Held, WorkerReport
from afterwards.registry.state.queues import Crowd, Line


@dataclass
class WorkerRecord:
    """The registry's record of one worker."""

    worker: Worker
    lease_ends: float
    """On the registry's running clock."""
    connection: int = 0
    joined: bool = False
    draining: bool = False
    """Takes no more claims; what it loses from now on was asked for and does not count."""
    over: str | None = None
    """Why its claims end: set when it left, fell silent or died."""
    doomed: bool = False
    """Its lease has ended, and its process is about to be killed."""
    gone: bool = False
    """Its process has ended. Its claims are ended in every group until one is committed, so this is
    a state and not an event."""
    beaten_at: float = 0.0
    """The time of its last `Beat`, or of its `Join`, on the registry's running clock."""
    is_heard: bool = False
    """True if it has said that it is alive since that was looked at; set by any thread."""
    slots: Mapping[str, int] = field(default_factory=dict)
    stuck: Mapping[str, int] = field(default_factory=dict)
    report: WorkerReport | None = None
    """The last report on its process and its hosts."""
    generation: int = 0
    user_types: frozenset[str] = frozenset()
    known_types: frozenset[str] = frozenset()
    held: dict[str, Task] = field(default_factory=dict)
    """Its tasks, as claimed."""
    used: Counter[str] = field(default_factory=Counter)
    """Claims by executor kind, and hosts that its suspects need."""
    crowds: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Claims on suspects by executor kind and crowd."""
    untold: dict[str, Held] = field(default_factory=dict)
    """Claims by task id whose cancellation was asked for and that it has not been told of."""
    uses: Mapping[str, Use] = field(default_factory=dict)
    """Its streams and waits of keys with limits."""
    keys_told: int = 0
    """The version of the keys that it was told last."""
    attention: threading.Event = field(default_factory=threading.Event)
    """Set when an exchange would bring it something; what `Registry.watch` waits for."""

    def free(self, kind: str) -> int:
        """The number of further claims of this kind that it may get."""
        if not self.joined or self.draining:
            return 0
        return max(0, self.slots.get(kind, 0) - self.used[kind])

    def has_room(self, crowd: Crowd) -> bool:
        """True if one more suspect fits: into a host with others of its crowd, or a free one."""
        if not self.joined or self.draining or not self.slots.get(crowd.executor):
            return False
        return self._in_part_of_a_host(crowd) > 0 or self.free(SUSPECTED) > 0

    def runs_own(self, type_name: str) -> bool:
        """True if a type is the service's own, as far as this worker knows."""
        if self.known_types and type_name not in self.known_types:
            return False
        return type_name not in self.user_types

    def add(self, line: Line) -> None:
        """A claim has begun."""
        if isinstance(line, str):
            self.used[line] += 1
            return
        if self._in_part_of_a_host(line) == 0:
            self.used[SUSPECTED] += 1
        self.crowds[line.executor, line.size] += 1

    def remove(self, line: Line) -> None:
        """A claim has ended."""
        if isinstance(line, str):
            self.used[line] -= 1
            return
        self.crowds[line.executor, line.size] -= 1
        if self._in_part_of_a_host(line) == 0:
            self.used[SUSPECTED] -= 1
        if self.crowds[line.executor, line.size] == 0:
            del self.crowds[line.executor, line.size]

    def _in_part_of_a_host(self, crowd: Crowd) -> int:
        """The number of this crowd beyond what fills hosts."""
        return self.crowds[crowd.executor, crowd.size] % crowd.size


class Ledger:
    """All workers, and who holds what. Claims are booked by transitions, never directly."""

    def __init__(self) -> None:
        self._records: dict[str, WorkerRecord] = {}
        self.solos = 0
        """Claims of which there may be one at a time."""
        self.generation = 0
        """The latest of task code that any worker has announced."""

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

    def book(self, task: Task, line: Line) -> None:
        """A task has been claimed from this line, or a claim changed."""
        record = self._records.get(task.worker or "")
        if record is None:
            return
        if task.id not in record.held:
            record.add(line)
            self.solos += _is_solo(line)
        record.held[task.id] = task
        if task.cancel_requested:
            record.untold[task.id] = Held(task.id, task.attempt)

    def clear(self, task: Task, line: Line) -> None:
        """A claim has ended."""
        record = self._records.get(task.worker or "")
        if record is not None and record.held.pop(task.id, None) is not None:
            record.remove(line)
            self.solos -= _is_solo(line)
            record.untold.pop(task.id, None)

    def omitted(self, record: WorkerRecord, held: Iterable[Held]) -> list[Task]:
        """The tasks that the record says the worker holds and the worker's own list does not."""
        listed = set(held)
        return [task for task in record.held.values() if (task.id, task.attempt) not in listed]


def _is_solo(line: Line) -> bool:
    return isinstance(line, Crowd) and line.solo
