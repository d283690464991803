"""The two queues of waiting tasks: ready ones in order, and those whose time has not come."""

from __future__ import annotations

import heapq
from collections import defaultdict

from app.lifecycle import HIGHEST_PRIORITY

_SLACK = 1_000
"""Dead entries that are always tolerated, so that small queues are never compacted."""


class ReadyQueue:
    """Ready tasks by executor kind: highest priority first, then whoever has waited longest.

    An entry is removed lazily: what is not a member any more is skipped when it comes to the top.
    """

    def __init__(self) -> None:
        self._heaps: dict[str, list[list[tuple[int, str]]]] = defaultdict(
            lambda: [[] for _ in range(HIGHEST_PRIORITY + 1)]
        )
        self._members: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
        self._entries: dict[str, int] = defaultdict(int)

    def push(self, task_id: str, kind: str, priority: int, age: int) -> None:
        """Add a task; the lower `age`, the longer it has waited."""
        self._members[kind][task_id] = (priority, age)
        heapq.heappush(self._heaps[kind][priority], (age, task_id))
        self._entries[kind] += 1
        if self._entries[kind] > 2 * len(self._members[kind]) + _SLACK:
            self._compact(kind)

    def discard(self, task_id: str, kind: str) -> None:
        """Take a task out, wherever it stands."""
        self._members[kind].pop(task_id, None)

    def waits(self, kind: str) -> bool:
        """Whether any task of this kind is ready."""
        return bool(self._members.get(kind))

    def first(self, kind: str) -> str | None:
        """The task to be claimed next; it stays in the queue."""
        members = self._members.get(kind)
        if not members:
            return None
        for priority in range(HIGHEST_PRIORITY, -1, -1):
            entry = self._head(kind, priority)
            if entry is not None:
                return entry[1]
        return None

    def oldest(self) -> list[str]:
        """The longest waiting task of each kind and priority."""
        heads = (
            self._head(kind, priority)
            for kind in list(self._members)
            for priority in range(HIGHEST_PRIORITY + 1)
        )
        return [entry[1] for entry in heads if entry is not None]

    def _head(self, kind: str, priority: int) -> tuple[int, str] | None:
        heap = self._heaps[kind][priority]
        members = self._members[kind]
        while heap:
            age, task_id = heap[0]
            if members.get(task_id) == (priority, age):
                return heap[0]
            heapq.heappop(heap)
            self._entries[kind] -= 1
        return None

    def _compact(self, kind: str) -> None:
        # Without it, submitting and cancelling in turn would grow the heaps for ever.
        heaps: list[list[tuple[int, str]]] = [[] for _ in range(HIGHEST_PRIORITY + 1)]
        for task_id, (priority, age) in self._members[kind].items():
            heaps[priority].append((age, task_id))
        for heap in heaps:
            heapq.heapify(heap)
        self._heaps[kind] = heaps
        self._entries[kind] = len(self._members[kind])


class DueQueue:
    """Tasks whose time has not come, by their times on one clock."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._members: dict[str, float] = {}

    def push(self, task_id: str, due: float) -> None:
        """Add a task that is due when the clock shows `due`."""
        self._members[task_id] = due
        heapq.heappush(self._heap, (due, task_id))
        if len(self._heap) > 2 * len(self._members) + _SLACK:
            self._heap = [(due, task_id) for task_id, due in self._members.items()]
            heapq.heapify(self._heap)

    def discard(self, task_id: str) -> None:
        """Take a task out."""
        self._members.pop(task_id, None)

    def next_due(self) -> float | None:
        """When the first of them is due; None if there is none."""
        while self._heap:
            due, task_id = self._heap[0]
            if self._members.get(task_id) == due:
                return due
            heapq.heappop(self._heap)
        return None

    def first_due(self, now: float) -> str | None:
        """A task whose time has come, the earliest first; it stays until discarded."""
        due = self.next_due()
        return self._heap[0][1] if due is not None and due <= now else None
