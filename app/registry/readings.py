"""What can be read of a registry besides tasks: counts, events, metrics. Committed data only."""

from __future__ import annotations

import secrets
from collections import Counter, deque
from typing import Final

from app.lifecycle import Change, TaskState
from app.logs import get_logger
from app.metrics import HttpTotals, Snapshot, Tally, TaskMetrics, counts_by_state
from app.registry.base import Answer, Changes, Count, Counts, Event, Events, Request, Scrape
from app.registry.clock import Clock
from app.registry.journal import Group
from app.registry.rules import Rules

log = get_logger(__name__)

EVENTS_KEPT: Final = 10_000

READS: Final = frozenset({Counts, Changes, Scrape})
"""Requests that are answered from here."""


class DrainRate:
    """Tasks finished per second, over about the last ten seconds."""

    _WINDOW_SECONDS = 5.0

    def __init__(self, now: float) -> None:
        self.per_second = 0.0
        self._since = now
        self._finished = 0

    def count(self, finished: int, now: float) -> None:
        """So many tasks were finished by `now` (elapsed clock)."""
        self._finished += finished
        passed = now - self._since
        if passed >= self._WINDOW_SECONDS:
            self.per_second = (self.per_second + self._finished / passed) / 2
            self._since, self._finished = now, 0
        elif self.per_second == 0 and passed > 0:
            self.per_second = self._finished / max(passed, 1.0)


class Readings:
    """Follows the committed groups and answers from them."""

    def __init__(self, rules: Rules, clock: Clock, counts: Tally) -> None:
        self._rules = rules
        self._clock = clock
        self._counts: Tally = Counter(counts)
        self.epoch = secrets.token_hex(8)
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._sequence = 0
        self.metrics = TaskMetrics()
        self.http = HttpTotals()
        self.refused_reports = 0
        self.drain_rate = DrainRate(clock.elapsed())

    def committed(self, group: Group, seconds: float) -> None:
        """A group is durable."""
        self._counts.update(group.counts)
        self.metrics.committed(group.changes, seconds)
        finished = 0
        for change in group.changes:
            old, new = change.old, change.new
            if change.outcome is not None:
                _log_end_of_attempt(change)
            elif new is not None and new.state is TaskState.FAILED:
                log.error("deadline passed; the task has failed", task_id=new.id, type=new.type)
            if new is not None and (old is None or old.state is not new.state):
                finished += new.state.is_final
                self._sequence += 1
                self._events.append(
                    Event(self._sequence, new.id, new.type, new.state, group.at, new.reason)
                )
        self.drain_rate.count(finished, self._clock.elapsed())

    def read(self, request: Request) -> Answer:
        """Answer one of `READS`; a `Scrape` with a `Snapshot`, to be rendered by the caller."""
        match request:
            case Changes():
                return self._changes(request)
            case Scrape():
                return self._snapshot()
            case _:
                return counts_by_state(self._counts)

    def count(self, query: Count) -> int:
        """How many tasks there are of a type and in a state; knows nothing of their times."""
        return sum(
            number
            for (type_name, state), number in counts_by_state(self._counts).items()
            if query.type in (None, type_name) and query.state in (None, state)
        )

    def _changes(self, request: Changes) -> Events:
        first = self._events[0].sequence if self._events else self._sequence + 1
        missed = request.epoch != self.epoch or request.after < first - 1
        if missed or request.after > self._sequence:
            return Events(self.epoch, self._sequence, [], True, counts_by_state(self._counts))
        events = [event for event in self._events if event.sequence > request.after]
        return Events(self.epoch, self._sequence, events, False)

    def _snapshot(self) -> Snapshot:
        slots: Counter[tuple[str, str]] = Counter()
        workers = 0
        for record in self._rules.ledger:
            workers += record.joined
            for kind, usable in record.slots.items():
                busy = record.used[kind]
                slots[kind, "busy"] += busy
                slots[kind, "free"] += max(0, usable - busy)
                slots[kind, "stuck"] += record.stuck.get(kind, 0)
        return Snapshot(
            counts=dict(self._counts),
            oldest_pending_seconds=self._oldest_pending_seconds(),
            slots=slots,
            workers=workers,
            refused_reports=self.refused_reports,
            http=self.http.total(),
        )

    def _oldest_pending_seconds(self) -> float:
        store = self._rules.store
        waiting = [store.get(task_id) for task_id in store.ready.oldest()]
        since = [task.run_at for task in waiting if task is not None]
        return max(0.0, self._clock.wall() - min(since)) if since else 0.0


def _log_end_of_attempt(change: Change) -> None:
    """One line for each attempt that ended: what happened, and what happens next."""
    old, new = change.old, change.new
    if old is None or new is None:
        return
    fields = {"task_id": new.id, "type": new.type, "attempt": old.attempt, "worker": old.worker}
    if change.outcome == "success":
        log.debug("attempt succeeded; the task is finished", **fields)
    elif new.state is TaskState.SCHEDULED:
        log.warning(
            "attempt failed; the task will be tried again",
            error=new.error,
            in_seconds=new.delay_seconds,
            **fields,
        )
    elif new.state is TaskState.FAILED:
        log.error("attempt failed; the task has failed", error=new.error, **fields)
    elif change.outcome == "lost" and not new.state.is_final:
        log.warning(
            "attempt lost; the task will be claimed again",
            lost_attempts=new.lost_attempts,
            reason=new.reason,
            **fields,
        )
    else:
        log.info(
            "attempt ended without counting",
            outcome=change.outcome,
            state=new.state.value,
            reason=new.reason,
            **fields,
        )
