"""The two queues of waiting tasks: ready ones in order, and those whose time has not come.

Ready tasks wait in lines. There is one for each executor kind, and for suspects (rule 22) one for
each crowd, because those of one crowd may share a host.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from afterwards.lifecycle import HIGHEST_PRIORITY
from afterwards.registry.state.limits import Throttles

_SLACK = 1_000
"""Dead entries that are always tolerated, so that small queues are never compacted."""


class Crowd(NamedTuple):
    """The line of suspects that may share hosts."""

    executor: str
    size: int
    """The number of attempts that may be in one host."""
    solo: bool = False
    """At most one such attempt runs at a time, over all workers."""


Line = str | Crowd
"""An executor kind, or suspects of it."""


Place = tuple[int, int, str]
"""A task's place in the queue: priority downwards, age, id; the smallest comes first."""


class Lane:
    """Ready tasks of one line and type, highest priority first, then by age.

    An entry is removed lazily: what is not a member any more is skipped when it comes to the top.
    """

    __slots__ = ("_entries", "_heaps", "_used", "members")

    def __init__(self) -> None:
        self._heaps: list[list[tuple[int, str]]] = [[] for _ in range(HIGHEST_PRIORITY + 1)]
        self._used = 0
        """A bit for each priority that has entries, so that empty ones are not looked at."""
        self._entries = 0
        self.members: dict[str, tuple[int, int]] = {}

    def push(self, task_id: str, priority: int, age: int) -> None:
        """Add a task; the lower `age`, the longer it has waited."""
        self.members[task_id] = (priority, age)
        heapq.heappush(self._heaps[priority], (age, task_id))
        self._used |= 1 << priority
        self._entries += 1
        if self._entries > 2 * len(self.members) + _SLACK:
            self._compact()

    def first(self) -> Place | None:
        """The place of its first task."""
        while self._used:
            priority = self._used.bit_length() - 1
            entry = self._head(priority)
            if entry is not None:
                return (-priority, *entry)
        return None

    def oldest(self) -> Iterator[str]:
        """The longest waiting task of each priority."""
        for priority in range(HIGHEST_PRIORITY + 1):
            entry = self._head(priority)
            if entry is not None:
                yield entry[1]

    def _head(self, priority: int) -> tuple[int, str] | None:
        heap, members = self._heaps[priority], self.members
        while heap:
            age, task_id = heap[0]
            if members.get(task_id) == (priority, age):
                return heap[0]
            heapq.heappop(heap)
            self._entries -= 1
        self._used &= ~(1 << priority)
        return None

    def _compact(self) -> None:
        # Without it, submitting and cancelling in turn would grow the heaps for ever.
        heaps: list[list[tuple[int, str]]] = [[] for _ in range(HIGHEST_PRIORITY + 1)]
        for task_id, (priority, age) in self.members.items():
            heaps[priority].append((age, task_id))
        for heap in heaps:
            heapq.heapify(heap)
        self._heaps = heaps
        self._entries = len(self.members)


class ReadyQueue:
    """Ready tasks by line: highest priority first, then the longest wait.

    Those of a type whose throttle is shut are passed over.
    """

    def __init__(self, throttles: Throttles) -> None:
        self._throttles = throttles
        self._lanes: dict[Line, dict[str, Lane]] = defaultdict(dict)
        """By line and task type."""

    def push(self, task_id: str, line: Line, type_name: str, priority: int, age: int) -> None:
        """Add a task; the lower `age`, the longer it has waited."""
        lanes = self._lanes[line]
        lane = lanes.get(type_name)
        if lane is None:
            lane = lanes[type_name] = Lane()
        lane.push(task_id, priority, age)

    def discard(self, task_id: str, line: Line, type_name: str) -> None:
        """Take a task out, wherever it stands."""
        lanes = self._lanes[line]
        lane = lanes.get(type_name)
        if lane is not None:
            lane.members.pop(task_id, None)
        if isinstance(line, Crowd) and not any(lane.members for lane in lanes.values()):
            # Crowds come in all sizes, and would add up.
            del self._lanes[line]

    def crowds(self) -> list[Crowd]:
        """The lines of suspects there are."""
        return [line for line in self._lanes if isinstance(line, Crowd)]

    def waits(self, line: Line, may: Callable[[str], bool] | None = None) -> bool:
        """True if any task of this line is ready, and its type may start one.

        Args:
            may: which types count; None: all.
        """
        for type_name, lane in self._lanes[line].items():
            if (
                lane.members
                and self._throttles.is_open(type_name)
                and (may is None or may(type_name))
            ):
                return True
        return False

    def first(self, line: Line, may: Callable[[str], bool] | None = None) -> Place | None:
        """The task to be claimed next; it stays in the queue. `may`: as for `waits`."""
        best: Place | None = None
        for type_name, lane in self._lanes[line].items():
            if (
                lane.members
                and self._throttles.is_open(type_name)
                and (may is None or may(type_name))
            ):
                first = lane.first()
                if first is not None and (best is None or first < best):
                    best = first
        return best

    def next_opening(self, now: float) -> float | None:
        """The time (`elapsed` clock) at which the next type with waiting tasks opens."""
        if not self._throttles.any_rate:
            return None
        opens_at = self._throttles.opens_at
        times = [
            time
            for lanes in self._lanes.values()
            for type_name, lane in lanes.items()
            if lane.members and (time := opens_at(type_name)) is not None and time > now
        ]
        return min(times, default=None)

    def oldest(self) -> list[str]:
        """The longest waiting task of each kind, type and priority; paused types are left out."""
        return [
            task_id
            for lanes in self._lanes.values()
            for type_name, lane in lanes.items()
            if not self._throttles.is_paused(type_name)
            for task_id in lane.oldest()
        ]


class DueQueue:
    """Tasks whose time has not come, by their times on one clock.

    Of those with the same time, the one that was accepted first comes first: the deadline of a
    batch ends its tasks before the one that follows them.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str]] = []
        self._members: dict[str, tuple[float, int]] = {}

    def push(self, task_id: str, due: float, order: int = 0) -> None:
        """Add a task that is due when the clock shows `due`; `order` is that of its acceptance."""
        self._members[task_id] = (due, order)
        heapq.heappush(self._heap, (due, order, task_id))
        if len(self._heap) > 2 * len(self._members) + _SLACK:
            self._heap = [(*place, task_id) for task_id, place in self._members.items()]
            heapq.heapify(self._heap)

    def discard(self, task_id: str) -> None:
        """Take a task out."""
        self._members.pop(task_id, None)

    def next_due(self) -> float | None:
        """The time at which the first of them is due; None if there is none."""
        while self._heap:
            due, order, task_id = self._heap[0]
            if self._members.get(task_id) == (due, order):
                return due
            heapq.heappop(self._heap)
        return None

    def first_due(self, now: float) -> str | None:
        """A task whose time has come, the earliest first; it stays until discarded."""
        due = self.next_due()
        return self._heap[0][2] if due is not None and due <= now else None
