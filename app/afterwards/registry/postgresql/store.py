"""The part of all tasks that one transaction works with, as a store that the rules can change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from afterwards.lifecycle import Task, TaskState
from afterwards.registry.postgresql.columns import SUSPECTED_LANE, Stored
from afterwards.registry.protocol.clock import Clock
from afterwards.registry.protocol.requests import TypeLimits
from afterwards.registry.state.ledger import Ledger
from afterwards.registry.state.store import TaskStore

_FIRST_NEW_AGE: Final = 2**62
"""Tasks that begin to wait in this transaction are younger than all that have an age already."""


class Moment:
    """The four clocks, which stand still while a transaction is worked out."""

    def __init__(self) -> None:
        self.now = 0.0
        self.passed = 0.0

    def wall(self) -> float:
        return self.now

    def elapsed(self) -> float:
        return self.passed

    def since_boot(self) -> float:
        return self.passed

    def running(self) -> float:
        return self.passed


class WorkingStore(TaskStore):
    """The tasks that a transaction has read and locked; all others are elsewhere."""

    def __init__(self, clock: Clock, ledger: Ledger) -> None:
        super().__init__(clock, ledger)
        self._next_age = _FIRST_NEW_AGE
        self._elsewhere = 0
        self._summed_up = False
        self._summed_up_owners: set[str] = set()
        self._taken_in: dict[str, Stored] = {}
        self.said_limits: Mapping[str, TypeLimits] | None = None
        """The limits of types that a worker has said in this transaction."""

    def take_in(self, stored: Stored) -> None:
        """Have a task that is locked; once is enough."""
        task = stored.task
        if task.id in self._taken_in:
            return
        self._taken_in[task.id] = stored
        if stored.age is not None:
            self._ages[task.id] = stored.age
        if stored.backoff_due is not None:
            self._backoffs[task.id] = stored.backoff_due
        self.load(task, may_end_the_service=stored.solo)
        if not task.state.is_final:
            self._count_no_more_than_once(task)

    def has(self, task_id: str) -> bool:
        """True if it was taken in."""
        return task_id in self._taken_in

    def sum_up(self, tasks: int, size: int) -> None:
        """Know how many tasks are unfinished, and their bytes of payload, those here included."""
        self._summed_up = True
        self._elsewhere = tasks - super().unfinished()
        self.unfinished_bytes = size

    def sum_up_owner(self, owner: str, tasks: int, size: int) -> None:
        """The same of an owner's tasks alone."""
        self._summed_up_owners.add(owner)
        self.owned.sum_up(owner, tasks, size)

    def sum_up_members(self, group: str, unfinished: int) -> None:
        """Know how many members of a group are unfinished, those here included."""
        elsewhere = unfinished - self.members.of(group)
        if elsewhere:
            self.members.count(group, elsewhere)

    def _count_no_more_than_once(self, task: Task) -> None:
        """A task that was taken in is in the sums that are known already."""
        if self._summed_up:
            self._elsewhere -= 1
            self.unfinished_bytes -= len(task.payload)
        if task.owner in self._summed_up_owners:
            self.owned.count(task, -1)

    def unfinished(self) -> int:
        """The number of tasks that are not finished, wherever they are."""
        return self._elsewhere + super().unfinished()

    def limit(self, limits: Mapping[str, TypeLimits]) -> None:
        """Note what a worker says; what holds in this transaction is `restrict`ed already."""
        self.said_limits = limits

    def restrict(self, limits: Mapping[str, TypeLimits]) -> None:
        """Set the limits of types in this transaction."""
        super().limit(limits)

    def stored(self, task: Task) -> Stored:
        """The task with what it waits by, as it is to be written."""
        age = self._ages.get(task.id)
        if age is not None and age >= _FIRST_NEW_AGE:
            age = None
        waits = task.state is TaskState.SCHEDULED
        return Stored(
            task,
            None if task.state.is_final or waits else age,
            task.id in self._solo and not task.state.is_final,
            self._backoffs.get(task.id) if waits else None,
        )

    def place(self, task: Task) -> int:
        """Its place among those that begin to wait now."""
        return self._ages.get(task.id, 0)


def lane_of(task: Task) -> str | None:
    """The lane in which it can be claimed; None: in none, or its concurrency key decides that."""
    if task.state is not TaskState.PENDING or task.concurrency_key is not None:
        return None
    return task.executor if task.crowd == 0 else SUSPECTED_LANE
