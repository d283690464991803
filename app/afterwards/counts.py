"""What is counted of tasks, and of HTTP, and what a transition adds to it.

The numbers of tasks are plain counts in cells, because they have to be exact: they are written to
the journal in the same transaction as the transitions, and taken back with them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from afterwards.lifecycle import Change, TaskState

Cell = tuple[str, str, str]
"""One count: of what, of which task type, and the label it is split by."""

Tally = Counter[Cell]

SUBMITTED: Final = "submitted"
TRANSITIONS: Final = "transitions"
TASKS: Final = "tasks"
DELETED: Final = "deleted"
ATTEMPTS: Final = "attempts"

OUTCOMES: Final = ("success", "failure", "timeout", "lost", "released", "cancelled")
"""How attempts end."""

HTTP_SECONDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
)  # fmt: skip


class HttpCounts(NamedTuple):
    """One worker's HTTP metrics since it started."""

    requests: Mapping[tuple[str, str, str], int]
    """(method, route template, status) -> number."""
    seconds: Mapping[tuple[str, str], tuple[Sequence[int], float]]
    """(method, route template) -> (number per bucket of `HTTP_SECONDS` and one above, sum)."""


@dataclass(frozen=True)
class Snapshot:
    """The service at one moment, as far as it is not in histograms."""

    counts: Mapping[Cell, int]
    oldest_pending_seconds: float
    slots: Mapping[tuple[str, str], int]
    """(executor kind, busy | free | stuck) -> number."""
    workers: int
    refused_reports: int
    http: HttpCounts
    paused_types: Sequence[str] = ()


def tally(changes: Iterable[Change]) -> Tally:
    """What these transitions add to the counts."""
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
        if change.outcome is not None:
            counts[ATTEMPTS, change.task.type, change.outcome] += 1
    return counts


def counts_by_state(counts: Mapping[Cell, int]) -> dict[tuple[str, TaskState], int]:
    """How many tasks there are of each type in each state."""
    return {
        (type_name, TaskState(state)): number
        for (counter, type_name, state), number in counts.items()
        if counter == TASKS and number
    }


class HttpTotals:
    """The HTTP metrics of all workers together, those that are gone included."""

    def __init__(self) -> None:
        self._living: dict[str, HttpCounts] = {}
        self._gone = HttpCounts({}, {})

    def report(self, worker: str, counts: HttpCounts) -> None:
        """A worker's counts since it started; they replace its last ones."""
        self._living[worker] = counts

    def worker_gone(self, worker: str) -> None:
        """Keep the counts of a worker that will not report again."""
        counts = self._living.pop(worker, None)
        if counts is not None:
            self._gone = _sum([self._gone, counts])

    def total(self) -> HttpCounts:
        """All of them added up."""
        return _sum([self._gone, *self._living.values()])


def _sum(parts: Iterable[HttpCounts]) -> HttpCounts:
    requests: Counter[tuple[str, str, str]] = Counter()
    seconds: dict[tuple[str, str], tuple[Sequence[int], float]] = {}
    for part in parts:
        requests.update(part.requests)
        for key, (numbers, total) in part.seconds.items():
            before, sum_before = seconds.get(key, ((0,) * len(numbers), 0.0))
            added = [a + b for a, b in zip(before, numbers, strict=True)]
            seconds[key] = (added, sum_before + total)
    return HttpCounts(requests, seconds)
