"""The queue of a worker's requests to the registry, until they are answered.

Filled by any thread; everything else belongs to the owner of the connection: the thread that makes
it, then the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from afterwards.registry.protocol.base import MAX_BATCH_BYTES
from afterwards.registry.protocol.requests import (
    Add,
    AddAll,
    Amend,
    Cancel,
    DeclareSchedules,
    Delete,
    DeleteSchedule,
    Failed,
    Leave,
    Lost,
    Probe,
    Report,
    Request,
    Retry,
    RunNow,
    RunSchedule,
    SubmitChildren,
    Succeeded,
    Suspected,
)

MAX_BATCH_REQUESTS: Final = 2_000

DEFER_SECONDS: Final = 0.5
"""The time until a request that the registry could not take is tried again."""

_ONCE: Final = (Retry, Amend, Cancel, RunNow, Delete, DeleteSchedule)
"""Requests that may have been carried out on a connection that broke, and would be refused a second
time."""


_SMALL: Final = Probe()


class Pending:
    """A request on its way, and the coroutine that waits for its answer; None: none does."""

    __slots__ = ("future", "request", "since", "size")

    def __init__(self, request: Request, future: asyncio.Future[Any] | None = None) -> None:
        self.request = request
        self.future = future
        self.since = time.monotonic()
        self.size = _size(request)

    def let_go(self) -> None:
        """Drop the request, which may be large: its answer is not awaited any more."""
        self.request = _SMALL

    def is_abandoned(self) -> bool:
        """True if the answer was awaited and is not any more."""
        return self.future is not None and self.future.done()


class Outbox:
    """Requests in the order they came, batched; what is unanswered is kept."""

    def __init__(self) -> None:
        self._incoming: deque[Pending] = deque()
        self._backlog: deque[Pending] = deque()
        self._deferred: list[Pending] = []
        self._deferred_until = 0.0
        self._in_flight: list[Pending] = []

    def incoming(self) -> int:
        """About how many requests no batch was made of yet."""
        return len(self._incoming)

    def put(self, pending: Pending) -> None:
        """Send a request with the next batch."""
        self._incoming.append(pending)

    def fill(self, batch: list[Pending], *, leaving: bool) -> list[Pending]:
        """Add what waits to `batch`, up to the size of one, and remember it as sent.

        Args:
            leaving: end with a `Leave` if that is the end of it.
        """
        self._take_in()
        size = 0
        while self._backlog and len(batch) < MAX_BATCH_REQUESTS:
            if size and size + self._backlog[0].size > MAX_BATCH_BYTES:
                break
            pending = self._backlog.popleft()
            if not pending.is_abandoned():
                batch.append(pending)
                size += pending.size
        if leaving and not (self._backlog or self._deferred):
            batch.append(Pending(Leave()))
        self._in_flight = batch
        return batch

    def answered(self) -> None:
        """The batch that was sent last has been answered."""
        self._in_flight = []

    def defer(self, pending: Pending) -> None:
        """Send a request once more, a little later: the registry could not take it."""
        if not self._deferred:
            # Others that follow do not make the first one wait longer.
            self._deferred_until = time.monotonic() + DEFER_SECONDS
        self._deferred.append(pending)

    def recover(self, refuse: Callable[[Pending], None]) -> None:
        """Put what a broken connection left unanswered before everything else, reports first.

        Args:
            refuse: called with what must not be sent again.
        """
        reports = self._deferred
        others: list[Pending] = []
        for pending in self._in_flight:
            request = pending.request
            if isinstance(request, Report):
                reports.append(pending)
            elif isinstance(request, _ONCE):
                refuse(pending)
            elif pending.future is not None:
                if isinstance(request, Add | AddAll):
                    pending.request = request._replace(again=True)
                others.append(pending)
        self._in_flight, self._deferred = [], []
        self._backlog.extendleft(reversed(reports + others))

    def _take_in(self) -> None:
        if self._deferred and time.monotonic() >= self._deferred_until:
            self._backlog.extend(self._deferred)
            self._deferred = []
        while self._incoming:
            self._backlog.append(self._incoming.popleft())


def awaited_tasks(batch: Sequence[Pending]) -> frozenset[str]:
    """The tasks of a batch whose routes wait for an answer, and will start them."""
    tasks: list[str] = []
    for pending in batch:
        if pending.future is None or pending.future.done():
            continue
        # Once: the event loop lets go of requests that nobody waits for any more.
        request = pending.request
        if isinstance(request, Add):
            tasks.append(request.task.id)
        elif isinstance(request, AddAll):
            tasks += [task.id for task in request.tasks]
        elif isinstance(request, Retry | RunNow | RunSchedule):
            tasks.append(request.task_id)
    return frozenset(tasks)


def _size(request: Request) -> int:
    if isinstance(request, Add):
        return len(request.task.payload)
    if isinstance(request, Succeeded):
        size = sum(len(task.payload) for task in request.children)
        return size + len(request.result) + _size_of_log(request.log_lines)
    if isinstance(request, Failed):
        return len(request.traceback or "") + _size_of_log(request.log_lines)
    if isinstance(request, Lost | Suspected):
        return _size_of_log(request.log_lines)
    if isinstance(request, AddAll | SubmitChildren | DeclareSchedules):
        return _size_of_all(request)
    return len(request.payload or b"") if isinstance(request, Retry | Amend) else 0


def _size_of_all(request: AddAll | SubmitChildren | DeclareSchedules) -> int:
    if isinstance(request, DeclareSchedules):
        return sum(len(schedule.pattern.payload) for schedule in request.schedules)
    return sum(len(task.payload) for task in request.tasks)


def _size_of_log(lines: Sequence[str]) -> int:
    return sum(map(len, lines)) if lines else 0
