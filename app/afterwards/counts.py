"""The counts of tasks and of HTTP, and what a transition adds to them.

The numbers of tasks are plain counts in cells, because they have to be exact: they are written to
the journal in the same transaction as the transitions, and taken back with them. Everything else is
counted in memory (`Kept`).
"""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Final, NamedTuple

from afterwards.lifecycle import Change, Task, TaskState

Cell = tuple[str, str, str]
"""One count: of what, of which task type, and the label it is split by."""

Tally = Counter[Cell]

SUBMITTED: Final = "submitted"
TRANSITIONS: Final = "transitions"
TASKS: Final = "tasks"
DELETED: Final = "deleted"
ATTEMPTS: Final = "attempts"
RETRYING: Final = "retrying"
"""Tasks that wait for a further attempt after one that failed; they are in `TASKS`, too."""
RETRIED: Final = "retried"
"""Attempts that failed and are followed by another."""

OUTCOMES: Final = ("success", "failure", "timeout", "lost", "suspected", "released", "cancelled")
"""The ends of attempts."""

HTTP_SECONDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
)  # fmt: skip


TASK_SECONDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800,
)  # fmt: skip
"""Bounds of how long tasks wait and run."""

BLOCKED: Final = "blocked"
"""Something kept the event loop of a host for long."""

ENDED_HOST: Final = "ended"
"""A host ended with attempts in it, or before it was ready."""

HOST_EVENTS: Final = tuple(product(("async", "dask", "process", "thread"), (BLOCKED, ENDED_HOST)))
"""The counted events of hosts: (executor kind, event)."""


class WorkerCounts(NamedTuple):
    """The counts of one worker since it started: of HTTP, and of its hosts."""

    requests: Mapping[tuple[str, str, str], int]
    """(method, route template, status) -> number."""
    seconds: Mapping[tuple[str, str], Sequence[int]]
    """(method, route template) -> number per bucket of `HTTP_SECONDS`, one above, nanoseconds.

    Whole ones: sums of floats depend on the order, and a sum that falls by its last bit is a
    restart to Prometheus.
    """
    hosts: Mapping[tuple[str, str], int] = {}
    """One of `HOST_EVENTS` -> number."""


NO_COUNTS: Final = WorkerCounts(MappingProxyType({}), MappingProxyType({}), MappingProxyType({}))


Cells = Mapping[str, Sequence[float]]
"""A histogram by label ("" if it has none): number per bucket, one above, sum."""


class Kept(NamedTuple):
    """The registry's counts in memory, at one moment.

    No number of it ever falls, so that it is kept for the registry's successor before it is shown.
    """

    number: int = 0
    """Grows from one moment to the next, within one registry."""
    of_workers: Mapping[str, WorkerCounts] = MappingProxyType({})
    """By worker; those that have ended are added up under `ENDED`."""
    histograms: Mapping[str, Cells] = MappingProxyType({})
    """By name."""
    refused_reports: int = 0


@dataclass(frozen=True)
class Snapshot:
    """The service at one moment, as far as it is not in `Kept`."""

    counts: Mapping[Cell, int]
    oldest_pending_seconds: float
    slots: Mapping[tuple[str, str], int]
    """(executor kind, busy | free | stuck) -> number."""
    workers: int
    paused_types: Sequence[str] = ()
    wal_bytes: int = 0
    """The size of the journal's write-ahead log on disk; 0 without a journal."""
    left_to_reseal: int = 0
    """Stored tasks that may have values under another key than the one that writes."""
    webhooks_disabled: int = 0
    notices_waiting: int = 0
    """Notices to webhooks and callbacks that are no deliveries yet."""


def tally(changes: Iterable[Change]) -> Tally:
    """The amounts that these transitions add to the counts."""
    counts: Tally = Counter()
    for change in changes:
        old, new = change.old, change.new
        if old is None and new is not None:
            counts[SUBMITTED, new.type, ""] += 1
        if new is None and old is not None:
            counts[DELETED, old.type, ""] += 1
        if old is not None and (new is None or new.state is not old.state):
            counts[TASKS, old.type, old.state] -= 1
        if new is not None and (old is None or new.state is not old.state):
            counts[TASKS, new.type, new.state] += 1
            counts[TRANSITIONS, new.type, new.state] += 1
        elif new is not None and old is not None and new.type != old.type:
            counts[TASKS, old.type, old.state] -= 1
            counts[TASKS, new.type, new.state] += 1
        if change.outcome is not None:
            counts[ATTEMPTS, change.task.type, change.outcome] += 1
        if (old is not None and old.attempts_used) or (new is not None and new.attempts_used):
            _tally_retries(counts, old, new)
    return counts


def _tally_retries(counts: Tally, old: Task | None, new: Task | None) -> None:
    if old is not None and old.is_retrying:
        counts[RETRYING, old.type, ""] -= 1
    if new is not None and new.is_retrying:
        counts[RETRYING, new.type, ""] += 1
        if old is not None and new.attempts_used > old.attempts_used:
            counts[RETRIED, new.type, ""] += 1


def retrying(counts: Mapping[Cell, int], type_name: str | None = None) -> int:
    """The number of tasks of a type, or of all, that wait for an attempt after a failed one."""
    if type_name is not None:
        return counts.get((RETRYING, type_name, ""), 0)
    return sum(number for (counter, _, _), number in counts.items() if counter == RETRYING)


def counts_by_state(counts: Mapping[Cell, int]) -> dict[tuple[str, TaskState], int]:
    """The number of tasks of each type in each state."""
    return {
        (type_name, TaskState(state)): number
        for (counter, type_name, state), number in counts.items()
        if counter == TASKS and number
    }


class Histogram:
    """Observations in buckets, by one label.

    Args:
        bounds: the upper ones of the buckets, in order; each belongs to its bucket.
        cells: what was observed before; cells of other buckets than these are left out.
    """

    def __init__(self, bounds: Sequence[float], cells: Cells) -> None:
        self._bounds = bounds
        self._size = len(bounds) + 2
        self._cells = {
            label: [*numbers] for label, numbers in cells.items() if len(numbers) == self._size
        }

    def observe(self, label: str, value: float) -> None:
        """Count a value that is not negative."""
        cells = self._cells.get(label)
        if cells is None:
            cells = self._cells[label] = [0] * self._size
        cells[bisect_left(self._bounds, value)] += 1
        cells[-1] += value

    def numbers(self, label: str) -> list[int]:
        """The numbers of observed values, by bucket."""
        cells = self._cells.get(label)
        return [0] * (self._size - 1) if cells is None else [int(cell) for cell in cells[:-1]]

    def cells(self) -> Cells:
        """A copy of everything so far."""
        return {label: tuple(cells) for label, cells in self._cells.items()}


ENDED: Final = ""
"""Stands for all workers that have ended."""


class WorkerTotals:
    """The counts of all workers, those that have ended included.

    Args:
        by_worker: what was reported before, as `by_worker` gave it.
    """

    def __init__(self, by_worker: Mapping[str, WorkerCounts] = MappingProxyType({})) -> None:
        self._by_worker = {**by_worker}

    def report(self, worker: str, counts: WorkerCounts) -> None:
        """A worker's counts since it started.

        They may be older than its last ones: a scrape's wait to be sent, a beat's do not.
        """
        self._by_worker[worker] = _merge([self._by_worker.get(worker, NO_COUNTS), counts], max)

    def worker_gone(self, worker: str) -> None:
        """Keep the counts of a worker that will not report again."""
        counts = self._by_worker.pop(worker, None)
        if counts is not None:
            self._by_worker[ENDED] = total([self._by_worker.get(ENDED, NO_COUNTS), counts])

    def by_worker(self) -> Mapping[str, WorkerCounts]:
        """All of them at this moment."""
        return dict(self._by_worker)


def total(parts: Iterable[WorkerCounts]) -> WorkerCounts:
    """The counts of several workers added up."""
    return _merge(parts, operator.add)


def _merge(parts: Iterable[WorkerCounts], merge: Callable[[int, int], int]) -> WorkerCounts:
    requests: dict[tuple[str, str, str], int] = {}
    seconds: dict[tuple[str, str], Sequence[int]] = {}
    hosts: dict[tuple[str, str], int] = {}
    for part in parts:
        for request, number in part.requests.items():
            requests[request] = merge(requests.get(request, 0), number)
        for key, cells in part.seconds.items():
            before = seconds.get(key)
            seconds[key] = cells if before is None else [*map(merge, before, cells)]
        for event, number in part.hosts.items():
            hosts[event] = merge(hosts.get(event, 0), number)
    return WorkerCounts(requests, seconds, hosts)
