"""The journal of a registry that keeps nothing on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from afterwards.lifecycle import Change, Task, TaskState
from afterwards.registry.journal import due_tasks
from afterwards.registry.journal.activity import ActivityInMemory
from afterwards.registry.journal.base import Contents, Group
from afterwards.registry.journal.failures import MOST_SAMPLES, Failures
from afterwards.registry.journal.history import (
    MOST_SHOWN,
    ended_attempt,
    with_history,
    without_log,
    without_old_tracebacks,
    without_traceback,
)
from afterwards.registry.journal.plans import Plans
from afterwards.registry.journal.removals import Removal, RemovalsInMemory
from afterwards.registry.journal.resealing import Step
from afterwards.registry.journal.series_rows import Found, Key, MemorySeries
from afterwards.registry.journal.webhook_rows import NoticesInMemory
from afterwards.registry.protocol.activity import ActivityPage
from afterwards.registry.protocol.answers import Counted, Details, DueTask, ErrorPage, Page
from afterwards.registry.protocol.requests import Activity, Count, Errors, Find, Members
from afterwards.webhooks.notice import Notice

DELETED_REMEMBERED: Final = 10_000


class NullJournal:
    """No journal: what is not in memory is gone. For tests and `--registry memory`."""

    durable = False

    def __init__(self) -> None:
        self._details: dict[str, Details] = {}
        """The details of the tasks in memory, as committed; without the attempt that runs."""
        self._series = MemorySeries()
        self._activity = ActivityInMemory()
        self._removals = RemovalsInMemory()
        self._notices = NoticesInMemory()
        self._deleted: dict[str, None] = {}
        """Ids of the tasks deleted last, in that order."""
        self._children: Counter[str] = Counter()
        """The numbers of tasks in memory by their parent."""
        self._failures = Failures()
        self._failed: dict[int, tuple[bytes, str]] = {}
        """Groups and ids of those that are failed, by their order."""

    def load(self) -> Contents:
        return Contents(iter(()), Counter(), Plans(), 1)

    def write(self, group: Group) -> None:
        if group.series is not None:
            self._series.write(group.series)
        if group.activity or group.overdue_activity:
            self._activity.write(group.activity, group.overdue_activity)
        self._removals.write(group.removals, group.removed)
        if group.webhooks is not None:
            self._notices.write(group.webhooks)
        for change in group.changes:
            self._note_failure(change)
            self._note_child(change)
            task = change.task
            kept = self._details.get(task.id)
            attempts = kept.attempts if kept else ()
            if change.new is None:
                self._details.pop(task.id, None)
                self._remember_deleted(task.id)
                continue
            if ended := ended_attempt(change):
                attempts = [*map(without_log, attempts), ended][-MOST_SHOWN:]
                if ended.traceback is not None:
                    attempts = without_old_tracebacks(attempts)
            self._details[task.id] = Details(task, attempts, None)

    def _remember_deleted(self, task_id: str) -> None:
        self._deleted[task_id] = None
        if len(self._deleted) > DELETED_REMEMBERED:
            del self._deleted[next(iter(self._deleted))]

    def _note_child(self, change: Change) -> None:
        parent = change.task.parent
        if parent is not None:
            self._children[parent] += (change.old is None) - (change.new is None)
            if not self._children[parent]:
                del self._children[parent]

    def _note_failure(self, change: Change) -> None:
        old, new = change.old, change.new
        left = None if old is None else self._failed.pop(old.order, None)
        failed = [new] if new is not None and new.state is TaskState.FAILED else []
        if left is None and not failed:
            return
        staged = self._failures.put(failed, [] if left is None else [left[0]])
        for (order, group_id), task in zip(staged.places, failed, strict=True):
            self._failed[order] = (group_id, task.id)
        self._failures.committed(staged)

    def errors(self, query: Errors, now: float) -> ErrorPage:
        newest: dict[str, list[str]] = {}
        for _, (group_id, task_id) in sorted(self._failed.copy().items(), reverse=True):
            newest.setdefault(group_id.hex(), []).append(task_id)
        found = [
            group._replace(sample_ids=newest.get(group.id, [])[:MOST_SAMPLES])
            for group in self._failures.page(query, now)
        ]
        return self._failures.answer(found)

    def read(self, task_id: str) -> Task | None:
        return None

    def read_by_key(self, idempotency_key: str) -> Task | None:
        return None

    def due_tasks(self, schedules: Sequence[str]) -> dict[str, list[DueTask]]:
        tasks = [details.task for details in self._details.copy().values()]
        return due_tasks.gathered(tasks, schedules)

    def rest_of_batch(self, first: Task) -> list[str]:
        return []

    def children_of(self, task_id: str) -> tuple[int, int]:
        return 0, 0

    def members(self, query: Members) -> Page:
        return Page([], None)

    def was_deleted(self, task_id: str) -> bool:
        return task_id in self._deleted

    def details(self, task_id: str, *, tracebacks: bool = False) -> Details | None:
        kept = self._details.get(task_id)
        if kept is None:
            return None
        told = kept.attempts if tracebacks else [*map(without_traceback, kept.attempts)]
        return with_history(kept.task, told, self._children.get(task_id, 0))

    def find(self, query: Find) -> Page:
        return Page([], None)

    def count(self, query: Count) -> Counted:
        return Counted(0)

    def activity(self, query: Activity) -> ActivityPage:
        return self._activity.page(query)

    def overdue_activity(self, before: float) -> list[int]:
        return self._activity.overdue(before)

    def notices(self, receiver: str, after: int, limit: int) -> list[Notice]:
        return self._notices.notices(receiver, after, limit)

    def overdue(self, finished_before: float, after_order: int) -> tuple[list[Task], int | None]:
        return [], None

    def series(self, key: Key, last: int) -> Found:
        return self._series.of_type(key, last)

    def series_at(self, step: int, at: int) -> Mapping[str, bytes]:
        return {}

    def latest_series(self, step: int) -> tuple[int, bytes] | None:
        return None

    def size_bytes(self) -> int:
        return 0

    def astray(self, *, by_names: bool = False) -> Path | None:
        return None

    def safeguard(self, path: Path) -> str:
        return ""

    def to_remove(self, after: str) -> list[Removal]:
        return self._removals.some(after)

    def to_reseal(self) -> Step | None:
        return None

    def left_to_reseal(self) -> int:
        return 0

    def wal_bytes(self) -> int:
        return 0

    def close(self) -> None:
        pass
