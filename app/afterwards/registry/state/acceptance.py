"""The acceptance of tasks: each once, in order, and no more than there is room for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from afterwards.errors import IdempotencyMismatch, TooManyUnfinished, UniqueKeyTaken
from afterwards.lifecycle import WAITING_STATES, Task
from afterwards.registry.journal.batch import as_batch, member_key, rest_of
from afterwards.registry.protocol.answers import Existing
from afterwards.registry.protocol.base import LEASE_SECONDS, MAX_BATCH_BYTES
from afterwards.registry.protocol.clock import Clock
from afterwards.registry.protocol.filters import fits
from afterwards.registry.protocol.requests import EXISTING, REPLACE, Add, AddAll
from afterwards.registry.state.quotas import Quotas
from afterwards.registry.state.schedule_table import ScheduleTable
from afterwards.registry.state.store import Archive, TaskStore
from afterwards.schedules.schedule import Schedule, due_key
from afterwards.task_ids import new_id


@dataclass(frozen=True)
class Limits:
    """The limits of a registry."""

    max_pending: int = 100_000
    """Unfinished tasks."""
    max_pending_bytes: int = 256 * 2**20
    """Their payloads together, and those of schedules."""
    lease_seconds: float = LEASE_SECONDS


class Room:
    """The room for further tasks. Payloads of schedules take some of it, at most half."""

    def __init__(self, limits: Limits, store: TaskStore, schedules: ScheduleTable) -> None:
        self._limits = limits
        self._store = store
        self._schedules = schedules
        self.drain_rate = 0.0
        """Tasks finished per second lately, for the advice when to come back."""

    @property
    def max_tasks(self) -> int:
        """The number of unfinished tasks that there is room for in all."""
        return self._limits.max_pending

    def require(self, payload_bytes: int, tasks: int = 1) -> None:
        """Refuse tasks that are beyond the limits.

        Raises:
            TooManyUnfinished: it says when to come back.
        """
        limits, store = self._limits, self._store
        taken = store.unfinished_bytes + self._schedules.payload_bytes
        if store.unfinished() + tasks > limits.max_pending:
            raise self._refusal(limits.max_pending, "unfinished tasks")
        if taken + payload_bytes > limits.max_pending_bytes:
            raise self._refusal(limits.max_pending_bytes, "unfinished bytes of payload")

    def refusal_of_children(self, payload_bytes: int, tasks: int) -> str | None:
        """The limit that children would exceed, in words; None: there is room for them.

        They have twice the room of others: if their parents were kept waiting for room, and with
        them the slots that these hold, nothing would ever make room.
        """
        limits, store = self._limits, self._store
        most, most_bytes = 2 * limits.max_pending, 2 * limits.max_pending_bytes
        if store.unfinished() + tasks > most:
            return f"more than {most} tasks would be unfinished, twice AFTERWARDS_MAX_PENDING"
        if store.unfinished_bytes + self._schedules.payload_bytes + payload_bytes > most_bytes:
            return (
                f"unfinished tasks would have more than {most_bytes} bytes of payload, twice "
                "AFTERWARDS_MAX_PENDING_BYTES"
            )
        return None

    def require_beside_others(self, payload_bytes: int) -> None:
        """Refuse a task that no client waits for, unless it leaves half of the room to others.

        One that is larger than that has its turn when there are no others.

        Raises:
            TooManyUnfinished: as for `require`.
        """
        self.require(payload_bytes)
        limits, store = self._limits, self._store
        tasks = limits.max_pending // 2
        size = (limits.max_pending_bytes - self._schedules.payload_bytes) // 2
        if store.unfinished() == 0:
            return
        if store.unfinished() + 1 > tasks:
            raise self._refusal(tasks, "unfinished tasks beside those of clients")
        if store.unfinished_bytes + payload_bytes > size:
            raise self._refusal(size, "unfinished bytes of payload beside those of clients")

    def require_for_schedule(self, payload_bytes: int, instead_of: int) -> None:
        """Refuse a schedule whose payload, in the place of another, is beyond the limits.

        Raises:
            TooManyUnfinished: as for `require`.
        """
        more = payload_bytes - instead_of
        if more <= 0:
            return
        half = self._limits.max_pending_bytes // 2
        # Otherwise there could be schedules and no room ever for their tasks, or anybody's.
        if self._schedules.payload_bytes + more > half:
            raise self._refusal(half, "bytes of payload in schedules")
        self.require(more, tasks=0)

    def _refusal(self, limit: int, unit: str) -> TooManyUnfinished:
        # Until about a hundredth of the limit is free again, at the rate of late.
        seconds = 60.0
        if self.drain_rate > 0:
            seconds = min(60.0, max(1.0, self._limits.max_pending / 100 / self.drain_rate))
        return TooManyUnfinished(limit, unit, seconds)


class Acceptance:
    """The verbs that bring new tasks.

    Args:
        next_order: of the task that is accepted first.
        last_created_at: of the task that was accepted last.
    """

    def __init__(
        self,
        store: TaskStore,
        archive: Archive,
        clock: Clock,
        room: Room,
        quotas: Quotas,
        *,
        next_order: int,
        last_created_at: float,
    ) -> None:
        self._store = store
        self._archive = archive
        self._clock = clock
        self._room = room
        self._quotas = quotas
        self._next_order = next_order
        self._last_created_at = last_created_at
        self.verbs: dict[type, Callable[[Any], Any]] = {Add: self._add, AddAll: self._add_all}

    def _add(self, request: Add) -> Task | Existing | None:
        task = request.task.with_key_of_its_owner()
        if self.is_known(task.id, archived=request.again):
            return None
        first = self._accepted_before(task)
        if first is not None:
            return first
        holder = self._store.unique_keys.holder(task)
        if holder is not None:
            return self._meet(holder, task, request)
        self._room.require(len(task.payload))
        self._quotas.require(task.owner, len(task.payload))
        self.accept(task)
        return None

    def _meet(self, holder: Task, task: Task, request: Add) -> Existing | None:
        """Do what was asked for with a task whose unique key another one has."""
        if request.reach is None or fits(holder, request.reach):
            if request.on_conflict == EXISTING:
                return Existing(holder)
            if request.on_conflict == REPLACE and holder.state in WAITING_STATES:
                more = max(0, len(task.payload) - len(holder.payload))
                self._room.require(more, tasks=0)
                self._quotas.require(task.owner, more, tasks=0)
                self._store.put(holder, holder.give_way(task.id, self._clock.wall()))
                self.accept(task)
                return None
        raise UniqueKeyTaken(task.unique_key or "", holder.id)

    def _add_all(self, request: AddAll) -> list[Task] | None:
        tasks = as_batch([task.with_key_of_its_owner() for task in request.tasks])
        # All or none were accepted, so one of them tells it of all.
        if not tasks or self.is_known(tasks[0].id, archived=request.again):
            return None
        first = self._accepted_before(tasks[0])
        if first is not None:
            return self._batch_of(first, len(tasks))
        self._store.unique_keys.require_all(tasks)
        size = sum(len(task.payload) for task in tasks)
        self._room.require(size, len(tasks))
        # A batch is one client's.
        self._quotas.require(tasks[0].owner, size, len(tasks))
        for task in tasks:
            self.accept(task)
        return None

    def is_known(self, task_id: str, *, archived: bool) -> bool:
        """True if there is, or was, a task of this id.

        Args:
            archived: look beyond those in memory.
        """
        if self._store.get(task_id) is not None:
            return True
        archive = self._archive
        return archived and (archive.read(task_id) is not None or archive.was_deleted(task_id))

    def accept(self, task: Task) -> Task:
        """Accept a task that there is room for."""
        accepted = task.accepted(self._next_order, self._last_created_at)
        self._next_order += 1
        self._last_created_at = accepted.created_at
        self._store.put(None, accepted)
        return accepted

    def _batch_of(self, first: Task, size: int) -> list[Task]:
        """The tasks of a batch that was accepted before, as they stand now."""
        tasks = [first]
        results = 0
        for position in range(1, size):
            task = self._with_key(member_key(first, position))
            if task is None:
                continue
            results += len(task.result or b"")
            # A thousand results together could be larger than the memory.
            tasks.append(task if results <= MAX_BATCH_BYTES else replace(task, result=None))
        return tasks

    def _with_key(self, key: str) -> Task | None:
        # Memory first: it knows what this group has accepted. What retention deletes, it deletes
        # after a group's requests; what is deleted by hand is still in the archive.
        task = self._store.get_by_key(key) or self._archive.read_by_key(key)
        return None if task is not None and self._store.is_deleted(task.id) else task

    def holds_key_of_others(self, task: Task) -> bool:
        """True if the task has the key of a batch with other tasks that are kept."""
        if rest_of(task) is None:
            return False
        rest = {*self._archive.rest_of_batch(task), *self._store.rest_of_batch(task)}
        return not all(map(self._store.is_deleted, rest))

    def _accepted_before(self, task: Task) -> Task | None:
        """The task that was accepted under the same idempotency key, if one was."""
        key = task.idempotency_key
        if key is None:
            return None
        first = self._with_key(key)
        if first is not None and first.fingerprint != task.fingerprint:
            raise IdempotencyMismatch(task.sent_key or key, first.id)
        return first

    def make_by_hand(self, schedule: Schedule, task_id: str) -> Task:
        """Accept a task of a schedule that no due time has asked for, unless that has been.

        Raises:
            UniqueKeyTaken: an unfinished task has its unique key.
            TooManyUnfinished: there is no room for it now.
        """
        return self.make_once(schedule.task_now(task_id, self._clock.wall()))

    def make_once(self, task: Task) -> Task:
        """Accept a task that somebody waits for, unless one of its id has been.

        Raises:
            TooManyUnfinished: there is no room for it now.
        """
        known = self._store.get(task.id) or self._archive.read(task.id)
        if known is not None:
            return known
        self._store.unique_keys.require(task)
        self._room.require(len(task.payload))
        return self.accept(task)

    def make_beside_others(self, task: Task) -> None:
        """Accept a task that no client waits for.

        Raises:
            TooManyUnfinished: there is no room for it now that is not left to others.
        """
        self._room.require_beside_others(len(task.payload))
        self.accept(task)

    def make_scheduled(self, schedule: Schedule, due: float, *, late: bool) -> str | None:
        """Accept the task of a schedule's due time, unless that has been, and give its id.

        Args:
            late: it has to leave room to others.

        Returns:
            None: there is none, because another unfinished task has its unique key.

        Raises:
            TooManyUnfinished: there is no room for it now.
        """
        holder = self._store.unique_keys.holder(schedule.pattern)
        if holder is not None and holder.idempotency_key != due_key(schedule.name, due):
            return None
        # First: while there is no room this is tried several times a second for each schedule.
        size = len(schedule.pattern.payload)
        if late:
            self._room.require_beside_others(size)
        else:
            self._room.require(size)
        task = schedule.task(new_id(), due, self._clock.wall())
        # A schedule of this name may have been deleted, and the clock set back since.
        first = self._accepted_before(task)
        if first is not None:
            return first.id
        self.accept(task)
        return task.id
