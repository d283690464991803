"""The registry's dictionary of tasks with everything derived from it, changed in one place.

`TaskStore.put` is the only way in. It keeps the queues, the ledger and the sums in step with the
tasks, and notes each change, so that a group whose commit failed can be taken back whole.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from afterwards.lifecycle import Change, Task, TaskState, Usage
from afterwards.registry.journal.batch import MOST_TASKS, member_key
from afterwards.registry.protocol.clock import Clock
from afterwards.registry.protocol.requests import TypeLimits
from afterwards.registry.state.families import ChildCounts, OpenMembers
from afterwards.registry.state.key_lines import KeyLines
from afterwards.registry.state.ledger import Ledger
from afterwards.registry.state.limits import Throttles
from afterwards.registry.state.open_deliveries import OpenDeliveries
from afterwards.registry.state.queues import Crowd, DueQueue, Line, ReadyQueue
from afterwards.registry.state.quotas import OwnedTasks
from afterwards.registry.state.unique_keys import UniqueKeys
from afterwards.webhooks.notice import Notice
from afterwards.webhooks.webhook import DELIVERY

FINISHED_CACHE_TASKS = 10_000
FINISHED_CACHE_BYTES = 64 * 2**20


class Archive(Protocol):
    """The tasks that are not in memory."""

    def read(self, task_id: str) -> Task | None:
        """The task as committed; None if there is none."""

    def read_by_key(self, idempotency_key: str) -> Task | None:
        """The task that was accepted under this key, as committed; None if there is none."""

    def rest_of_batch(self, first: Task) -> Sequence[str]:
        """Ids of the other tasks of a batch that are kept, as committed; `first` has its key."""

    def children_of(self, task_id: str) -> tuple[int, int]:
        """The number of a task's children, and the bytes of their payloads, as committed."""

    def notices(self, receiver: str, after: int, limit: int) -> Sequence[Notice]:
        """The oldest waiting notices to a receiver with higher numbers, as committed."""

    def was_deleted(self, task_id: str) -> bool:
        """True if a task of this id was deleted, as far back as that is remembered."""


class TaskStore:
    """All unfinished tasks and the latest finished ones; the rest is in the archive."""

    def __init__(self, clock: Clock, ledger: Ledger) -> None:
        self._clock = clock
        self._ledger = ledger
        self._unfinished: dict[str, Task] = {}
        self._finished: OrderedDict[str, Task] = OrderedDict()
        self._finished_bytes = 0
        self._by_key: dict[str, str] = {}
        """Ids of the tasks in memory that have an idempotency key."""
        self._ages: dict[str, int] = {}
        self._next_age = 0
        self._solo: set[str] = set()
        """Unfinished tasks of which one at a time runs once they have to be alone."""
        self._backoffs: dict[str, float] = {}
        """The times at which tasks that back off are due, on the `elapsed` clock."""
        self.throttles = Throttles(clock)
        self.ready = ReadyQueue(self.throttles)
        self.key_lines = KeyLines(self.ready)
        self.backing_off = DueQueue()
        """By the `elapsed` clock: a wall clock that is set cannot stall them."""
        self.scheduled = DueQueue()
        """By the `wall` clock."""
        self.deadlines = DueQueue()
        """The deadlines of the waiting tasks that have one, by the `wall` clock."""
        self.unfinished_bytes = 0
        self.owned = OwnedTasks()
        """The unfinished tasks that have an owner."""
        self.members = OpenMembers()
        self.children = ChildCounts()
        self.unique_keys = UniqueKeys()
        self.deliveries = OpenDeliveries()
        """The unfinished deliveries to webhooks and callbacks."""
        self.at_end: list[Callable[[Task], None]] = []
        """Each is told of a task that has ended, in the group that ends it."""
        self.changes: list[Change] = []
        """Since the last `commit` or `undo`."""
        self._deleted: set[str] = set()
        """The ids of the tasks that were deleted among those changes."""
        self._deleted_unseen: set[str] = set()
        """The ids of those that are not in memory."""

    # -- reading -------------------------------------------------------------------------------

    def get(self, task_id: str) -> Task | None:
        """The task if it is in memory."""
        return self._unfinished.get(task_id) or self._finished.get(task_id)

    def get_by_key(self, idempotency_key: str) -> Task | None:
        """The task that was accepted under this key, if it is in memory."""
        task_id = self._by_key.get(idempotency_key)
        return None if task_id is None else self.get(task_id)

    def rest_of_batch(self, first: Task) -> list[str]:
        """Ids of the other tasks of a batch that are in memory; `first` has its key."""
        keys = (member_key(first, position) for position in range(1, MOST_TASKS + 1))
        return [self._by_key[key] for key in keys if key in self._by_key]

    def unfinished(self) -> int:
        """The number of tasks that are not finished."""
        return len(self._unfinished)

    def unfinished_by_type(self) -> Counter[str]:
        """The same by type."""
        return Counter(task.type for task in self._unfinished.values())

    def gathered(self, *, finished: bool) -> list[Task]:
        """The tasks in memory, as they are now."""
        return [*self._unfinished.values(), *(self._finished.values() if finished else ())]

    # -- changing ------------------------------------------------------------------------------

    def put(
        self,
        old: Task | None,
        new: Task | None,
        outcome: str | None = None,
        run_seconds: float | None = None,
        *,
        usage: Usage | None = None,
        log_lines: Sequence[str] = (),
        traceback: str | None = None,
    ) -> None:
        """Replace `old` by `new` and note the change. None: not there (yet, any more)."""
        self.changes.append(Change(old, new, outcome, run_seconds, usage, log_lines, traceback))
        self._replace(old, new)
        if new is None or new.finished_at is None:
            return
        if old is None or old.finished_at is None:
            self._ended(new)

    def delete(self, task: Task) -> None:
        """Note that a finished task is deleted; it need not be whole, nor in memory."""
        kept = self._finished.get(task.id)
        self._deleted.add(task.id)
        if kept is not None:
            self.put(kept, None)
        else:
            self.changes.append(Change(task, None))
            self._deleted_unseen.add(task.id)

    def is_awaited(self, task: Task) -> bool:
        """True if the task that follows its group is unfinished, and may read its result."""
        return task.group is not None and task.group in self._unfinished

    def is_deleted(self, task_id: str) -> bool:
        """True if the group at work has deleted it."""
        return task_id in self._deleted

    def load(self, task: Task, *, may_end_the_service: bool = False) -> None:
        """Take in a task that is in the journal already.

        Args:
            may_end_the_service: once it has to be alone, it is so in the whole service.
        """
        if may_end_the_service:
            self._solo.add(task.id)
        self._replace(None, task)

    def limit(self, limits: Mapping[str, TypeLimits]) -> None:
        """The latest word on all types' limits."""
        self.throttles.limit(limits)
        self.key_lines.limit(limits)

    def commit(self) -> None:
        """The changes so far are durable."""
        self.throttles.commit()
        self._settle()

    def undo(self) -> None:
        """The changes so far could not be written: be as before them."""
        for change in reversed(self.changes):
            if change.task.id not in self._deleted_unseen:
                self._replace(change.new, change.old)
        self.throttles.undo()
        self._settle()

    def overflow(self) -> list[Task]:
        """The oldest finished tasks, as many as are beyond the cache's bounds."""
        tasks, size = len(self._finished), self._finished_bytes
        oldest: list[Task] = []
        for task in self._finished.values():
            if tasks <= FINISHED_CACHE_TASKS and size <= FINISHED_CACHE_BYTES:
                break
            oldest.append(task)
            tasks, size = tasks - 1, size - _size(task)
        return oldest

    def forget(self, task: Task) -> None:
        """Drop a finished task from memory; the archive has it."""
        self._drop_finished(task.id)

    # -- how -----------------------------------------------------------------------------------

    def _ended(self, task: Task) -> None:
        if task.group is not None:
            self._tell_follower(task, task.group)
        for tell in self.at_end:
            tell(task)

    def _tell_follower(self, member: Task, group: str) -> None:
        """Settle the task that follows the group, if it is decided by the end of this member."""
        follower = self._unfinished.get(group)
        if follower is not None:
            left = self.members.of(group)
            settled = follower.member_ended(member, left, self._clock.wall())
            if settled is not follower:
                self.put(follower, settled)

    def _settle(self) -> None:
        # Not in `_replace`: a task that is put back by `undo` keeps its place and its due time.
        for change in self.changes:
            task_id = change.task.id
            task = self._unfinished.get(task_id)
            if task is None or task.state is TaskState.SCHEDULED:
                self._ages.pop(task_id, None)
            if task is None or task.state is not TaskState.SCHEDULED:
                self._backoffs.pop(task_id, None)
            if task is None:
                self._solo.discard(task_id)
                self.children.forget(task_id)
        self.changes = []
        self._deleted.clear()
        self._deleted_unseen.clear()

    def _replace(self, old: Task | None, new: Task | None) -> None:
        if old is not None:
            self._take_out(old)
        elif new is not None and new.parent is not None:
            self.children.count(new, 1)
        if new is None:
            if old is not None and old.parent is not None:
                self.children.count(old, -1)
            return
        if new.idempotency_key is not None:
            self._by_key[new.idempotency_key] = new.id
        if new.state.is_final:
            self._finished[new.id] = new
            self._finished_bytes += _size(new)
        else:
            self._add_unfinished(new)
            self._put_in(new)

    def _take_out(self, old: Task) -> None:
        if old.state.is_final:
            self._drop_finished(old.id)
            return
        self._drop_unfinished(old)
        if old.deadline is not None:
            self.deadlines.discard(old.id)
        match old.state:
            case TaskState.PENDING:
                if old.concurrency_key is None:
                    self.ready.discard(old.id, self._line(old), old.type)
                else:
                    self.key_lines.discard(old, self._line(old), self._ages[old.id])
            case TaskState.PROCESSING:
                self._ledger.clear(old, self._line(old))
                self.throttles.count(old.type, -1)
                if old.concurrency_key is not None:
                    self.key_lines.count(old, -1)
            case TaskState.SCHEDULED:
                self.backing_off.discard(old.id)
                self.scheduled.discard(old.id)

    def _put_in(self, new: Task) -> None:
        if new.deadline is not None and new.state is not TaskState.PROCESSING:
            self.deadlines.push(new.id, new.deadline, new.order)
        match new.state:
            case TaskState.PENDING:
                # A released task keeps its age, and so its place before those that came later.
                age = self._ages.get(new.id)
                if age is None:
                    age = self._ages[new.id] = self._next_age
                    self._next_age += 1
                if new.concurrency_key is None:
                    self.ready.push(new.id, self._line(new), new.type, new.priority, age)
                else:
                    self.key_lines.push(new, self._line(new), age)
            case TaskState.PROCESSING:
                self._ledger.book(new, self._line(new))
                self.throttles.count(new.type, 1)
                if new.concurrency_key is not None:
                    self.key_lines.count(new, 1)
            case TaskState.SCHEDULED if new.waits_for_group:
                pass  # The end of a member makes it due.
            case TaskState.SCHEDULED if new.delay_seconds is None:
                self.scheduled.push(new.id, new.run_at, new.order)
            case TaskState.SCHEDULED:
                self._back_off(new, new.delay_seconds or 0.0)

    def _back_off(self, task: Task, delay_seconds: float) -> None:
        due = self._backoffs.get(task.id)
        if due is None:
            # After a restart the rest of a backoff is what the wall clock says, but never more than
            # the delay: the clock may have been set back meanwhile (rule 12).
            rest = min(delay_seconds, task.run_at - self._clock.wall())
            due = self._backoffs[task.id] = self._clock.elapsed() + rest
        self.backing_off.push(task.id, due, task.order)

    def _line(self, task: Task) -> Line:
        """The line in which it waits; it says what its claim takes."""
        if task.crowd == 0:
            return task.executor
        return Crowd(task.executor, task.crowd, task.crowd == 1 and task.id in self._solo)

    def _add_unfinished(self, task: Task) -> None:
        self._unfinished[task.id] = task
        self.unfinished_bytes += len(task.payload)
        if task.owner is not None:
            self.owned.count(task, 1)
        if task.group is not None:
            self.members.count(task.group, 1)
        if task.unique_key is not None:
            self.unique_keys.put(task)
        if task.concurrency_key is not None and task.type == DELIVERY:
            self.deliveries.add(task)

    def _drop_unfinished(self, task: Task) -> None:
        del self._unfinished[task.id]
        self.unfinished_bytes -= len(task.payload)
        if task.owner is not None:
            self.owned.count(task, -1)
        if task.group is not None:
            self.members.count(task.group, -1)
        if task.unique_key is not None:
            self.unique_keys.remove(task)
        if task.concurrency_key is not None and task.type == DELIVERY:
            self.deliveries.remove(task)
        self._drop_key(task)

    def _drop_finished(self, task_id: str) -> None:
        task = self._finished.pop(task_id, None)
        if task is not None:
            self._finished_bytes -= _size(task)
            self._drop_key(task)

    def _drop_key(self, task: Task) -> None:
        if task.idempotency_key is not None:
            del self._by_key[task.idempotency_key]


def _size(task: Task) -> int:
    what_else = len(task.error or "") + len(task.artifacts or "")
    return len(task.payload) + len(task.result or b"") + what_else
