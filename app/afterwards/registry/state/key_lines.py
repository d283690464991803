"""Tasks with a concurrency key: those whose key is full are parked here (rule 28).

    PENDING --> the line of its key --> its lane, if it is first and the key has room --> claimed

A key belongs to one task type, which says how many attempts it allows. Of each line of a key only
the first task stands in a lane, and only while fewer attempts run than are allowed. So nothing that
hands out claims ever meets a task that has to wait for its key, and a change of one task moves at
most one other in each line, however many wait.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Final

from afterwards.lifecycle import Task
from afterwards.registry.protocol.requests import TypeLimits
from afterwards.registry.state.queues import Line, Place, ReadyQueue

_SLACK: Final = 16
"""Entries of removed tasks that are always tolerated, so that short lines are never compacted."""
_ALLOWED: Final = TypeLimits().concurrency_per_key


class _Waiting:
    """The waiting tasks of one key and line, by priority, then by age."""

    __slots__ = ("_heap", "_removed", "shown")

    def __init__(self) -> None:
        self._heap: list[Place] = []
        self._removed: set[Place] | None = None
        """Places that are still in the heap. Most lines never need it."""
        self.shown: Place | None = None
        """The one that stands in its lane."""

    def add(self, place: Place) -> None:
        if self._removed and place in self._removed:
            self._removed.discard(place)
        else:
            heapq.heappush(self._heap, place)

    def remove(self, place: Place) -> None:
        heap = self._heap
        if heap[0] == place:
            heapq.heappop(heap)
            # What is left on top is always one that waits.
            while self._removed and heap and heap[0] in self._removed:
                self._removed.discard(heapq.heappop(heap))
            return
        removed = self._removed = self._removed or set()
        removed.add(place)
        if len(removed) > len(heap) // 2 + _SLACK:
            self._heap = [kept for kept in heap if kept not in removed]
            heapq.heapify(self._heap)
            self._removed = None

    def first(self) -> Place | None:
        return self._heap[0] if self._heap else None


class _Key:
    """One key of a type."""

    __slots__ = ("lines", "running")

    def __init__(self) -> None:
        self.running = 0
        self.lines: dict[Line, _Waiting] = {}


class KeyLines:
    """All tasks with a concurrency key that wait or run.

    Its state follows from which tasks wait and which run, so a group is undone by undoing its
    changes.

    Args:
        ready: has the lanes.
    """

    def __init__(self, ready: ReadyQueue) -> None:
        self._ready = ready
        self._keys: dict[tuple[str, str | None], _Key] = {}
        """Keys with tasks that wait or run, by type and name."""
        self._allowed: dict[str, int] = {}
        """The number of attempts, for types that allow more than one."""

    def __len__(self) -> int:
        return len(self._keys)

    def allowed(self, type_name: str) -> int:
        """The number of attempts at once that the type allows each of its keys. From any thread."""
        return self._allowed.get(type_name, _ALLOWED)

    def limit(self, limits: Mapping[str, TypeLimits]) -> None:
        """The latest word on all types' limits."""
        allowed = {
            name: limit.concurrency_per_key
            for name, limit in limits.items()
            if limit.concurrency_per_key != _ALLOWED
        }
        if allowed == self._allowed:
            return
        self._allowed = allowed
        for (type_name, _), key in self._keys.items():
            self._show_all(type_name, key)

    def push(self, task: Task, line: Line, age: int) -> None:
        """Add a waiting task; the lower `age`, the longer it has waited."""
        key = self._key(task)
        waiting = key.lines.get(line)
        if waiting is None:
            waiting = key.lines[line] = _Waiting()
        waiting.add((-task.priority, age, task.id))
        self._show(task.type, key, line, waiting)

    def discard(self, task: Task, line: Line, age: int) -> None:
        """Take a waiting task out, wherever it stands."""
        key = self._keys[task.type, task.concurrency_key]
        waiting = key.lines[line]
        waiting.remove((-task.priority, age, task.id))
        self._show(task.type, key, line, waiting)
        if waiting.first() is None:
            del key.lines[line]
            if not (key.lines or key.running):
                del self._keys[task.type, task.concurrency_key]

    def count(self, task: Task, attempts: int) -> None:
        """So many attempts more, or fewer, run."""
        key = self._key(task)
        key.running += attempts
        if key.lines:
            self._show_all(task.type, key)
        elif not key.running:
            del self._keys[task.type, task.concurrency_key]

    def _key(self, task: Task) -> _Key:
        name = task.type, task.concurrency_key
        key = self._keys.get(name)
        if key is None:
            key = self._keys[name] = _Key()
        return key

    def _show_all(self, type_name: str, key: _Key) -> None:
        for line, waiting in key.lines.items():
            self._show(type_name, key, line, waiting)

    def _show(self, type_name: str, key: _Key, line: Line, waiting: _Waiting) -> None:
        """Have the right task of a line in its lane: its first one, or none."""
        first = waiting.first() if key.running < self.allowed(type_name) else None
        shown = waiting.shown
        if first is shown:
            return
        waiting.shown = first
        if shown is not None:
            self._ready.discard(shown[2], line, type_name)
        if first is not None:
            self._ready.push(first[2], line, type_name, -first[0], first[1])
