"""Changes of single tasks by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from afterwards.errors import IllegalTransition
from afterwards.lifecycle import Task
from afterwards.registry.protocol.clock import Clock
from afterwards.registry.protocol.requests import Amend, Cancel, Delete, Retry, RunNow
from afterwards.registry.state.acceptance import Acceptance, Room
from afterwards.registry.state.quotas import Quotas
from afterwards.registry.state.store import TaskStore


class ByHand:
    """The verbs that change a task by hand.

    Args:
        find: gives a task, finished or not. Raises `TaskNotFound`.
    """

    def __init__(
        self,
        clock: Clock,
        store: TaskStore,
        room: Room,
        quotas: Quotas,
        acceptance: Acceptance,
        *,
        find: Callable[[str], Task],
    ) -> None:
        self._clock = clock
        self._store = store
        self._room = room
        self._quotas = quotas
        self._acceptance = acceptance
        self._find = find
        self.verbs: dict[type, Callable[[Any], Any]] = {
            Retry: self._retry,
            Amend: self._amend,
            Cancel: self._cancel,
            RunNow: self._run_now,
            Delete: self._delete,
        }

    def _retry(self, request: Retry) -> Task:
        task = self._find(request.task_id)
        retried = task.retry(self._clock.wall(), request.payload, request.kind, request.run_at)
        self._store.unique_keys.require(retried)
        self._room.require(len(retried.payload))
        self._quotas.require(task.owner, len(retried.payload))
        self._store.put(task, retried)
        return retried

    def _amend(self, request: Amend) -> Task:
        task = self._find(request.task_id)
        amended = task.amend(request.payload, request.kind, request.run_at)
        more = max(0, len(amended.payload) - len(task.payload))
        self._room.require(more, tasks=0)
        self._quotas.require(task.owner, more, tasks=0)
        self._store.put(task, amended)
        return amended

    def _cancel(self, request: Cancel) -> Task:
        task = self._find(request.task_id)
        if task.cancel_requested:
            # Its holder has been told, or will be; once is enough.
            return task
        cancelled = task.cancel(self._clock.wall())
        self._store.put(task, cancelled)
        return cancelled

    def _run_now(self, request: RunNow) -> Task:
        task = self._find(request.task_id)
        due = task.run(self._clock.wall())
        self._store.put(task, due)
        return due

    def _delete(self, request: Delete) -> None:
        task = self._find(request.task_id)
        task.delete()
        if self._acceptance.holds_key_of_others(task):
            # With it would go the key, and a repetition of the batch would be accepted anew.
            verb = "be deleted before the others of its batch, whose idempotency key it has"
            raise IllegalTransition(task.id, task.state.value, verb)
        self._store.delete(task)
