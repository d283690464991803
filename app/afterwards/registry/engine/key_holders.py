"""Which tasks wait for their concurrency key, as committed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from afterwards.lifecycle import Change, Task, TaskState
from afterwards.registry.protocol.answers import Details, KeyWait, Page


class KeyHolders:
    """The number of attempts that run at tasks of each concurrency key, by type and key.

    Written by the thread that has the turn, read by any.

    Args:
        allowed: gives the number of attempts at once that a type allows each key.
    """

    def __init__(self, allowed: Callable[[str], int]) -> None:
        self._allowed = allowed
        self._running: dict[tuple[str, str], int] = {}

    def load(self, task: Task) -> None:
        """Take in a task that is in the journal."""
        if task.state is TaskState.PROCESSING:
            self._count(task, 1)

    def committed(self, changes: Sequence[Change]) -> None:
        """These are committed."""
        for old, new, *_ in changes:
            task = new or old
            if task is None or task.concurrency_key is None:
                continue
            ran = old is not None and old.state is TaskState.PROCESSING
            runs = new is not None and new.state is TaskState.PROCESSING
            if ran != runs:
                self._count(task, 1 if runs else -1)

    def in_page(self, page: Page) -> Page:
        """The page, with those of its tasks that wait for their key."""
        waiting = {task.id: self._wait_of(task) for task in page.tasks}
        known = {task_id: wait for task_id, wait in waiting.items() if wait is not None}
        return page._replace(waiting=known) if known else page

    def in_details(self, details: Details) -> Details:
        """The details, with what the task waits for."""
        return details._replace(waiting=self._wait_of(details.task))

    def _wait_of(self, task: Task) -> KeyWait | None:
        key = task.concurrency_key
        if key is None or task.state is not TaskState.PENDING:
            return None
        running = self._running.get((task.type, key), 0)
        return KeyWait(key, running) if running >= self._allowed(task.type) else None

    def _count(self, task: Task, change: int) -> None:
        if task.concurrency_key is None:
            return
        cell = task.type, task.concurrency_key
        running = self._running.get(cell, 0) + change
        if running:
            self._running[cell] = running
        else:
            del self._running[cell]
