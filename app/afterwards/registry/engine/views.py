"""Views of a registry besides tasks: counts, events, metrics. Committed data only."""

from __future__ import annotations

from collections import Counter
from typing import Final

from afterwards.counts import Kept, Snapshot, Tally, WorkerTotals, counts_by_state
from afterwards.errors import StaleReport
from afterwards.lifecycle import Change, Task, TaskState
from afterwards.logs import get_logger
from afterwards.metrics import TaskMetrics
from afterwards.registry.engine.event_log import EventLog
from afterwards.registry.engine.rates import DrainRate, Rates
from afterwards.registry.engine.series import SeriesBook
from afterwards.registry.journal.base import Group, Journal
from afterwards.registry.protocol.answers import (
    Counted,
    Details,
    Event,
    Events,
    Page,
    ProgressMark,
    Statistics,
)
from afterwards.registry.protocol.clock import Clock
from afterwards.registry.protocol.requests import Changes, Count, Progress
from afterwards.registry.state.fleet import slots_of
from afterwards.registry.state.rules import Rules
from afterwards.trace_context import attempt_span_id, ids

log = get_logger(__name__)

EVENTS_KEPT: Final = 10_000


class Views:
    """Follows the committed groups and answers from them.

    Args:
        counts: as the journal has them.
        kept: what an earlier registry of the service has counted in memory.
        journal, ran: as for `SeriesBook`.
    """

    def __init__(
        self,
        rules: Rules,
        clock: Clock,
        counts: Tally,
        kept: Kept,
        *,
        journal: Journal,
        ran: tuple[float, float] | None = None,
    ) -> None:
        self._rules = rules
        self._clock = clock
        self._counts: Tally = Counter(counts)
        self.events = EventLog(EVENTS_KEPT)
        self._progress: dict[str, ProgressMark] = {}
        """The progress of running attempts, by task id."""
        self._metrics = TaskMetrics(kept.histograms)
        self.series = SeriesBook(self._counts, self._metrics, journal, clock.wall(), ran)
        self.of_workers = WorkerTotals(kept.of_workers)
        self.refused_reports = kept.refused_reports
        self._number = 0
        self._since = clock.elapsed()
        self.drain_rate = DrainRate(self._since)
        self._rates = Rates(self._counts, self._since)

    def committed(self, group: Group, seconds: float) -> None:
        """A group is durable."""
        if group.series is not None:
            self.series.written(group.series)
        if group.counts:
            self.series.committing(group.at)
            self._rates.committing(self._clock.elapsed())
            self._counts.update(group.counts)
        self._metrics.committed(group.changes, seconds)
        finished = 0
        events: list[Event] = []
        sequence = self.events.sequence
        for change in group.changes:
            old, new = change.old, change.new
            if change.outcome is not None:
                _log_end_of_attempt(change)
            elif new is not None and new.state is TaskState.FAILED:
                log.error("deadline passed; the task has failed", task_id=new.id, type=new.type)
            if new is not None and (old is None or old.state is not new.state):
                finished += new.state.is_final
                sequence += 1
                events.append(
                    Event(sequence, new.id, new.type, new.state, group.at, new.reason, new.attempt)
                )
                if self._progress:
                    self._progress.pop(new.id, None)
        if events:
            self.events.extend(events)
        self.drain_rate.count(finished, self._clock.elapsed())

    def uptime_seconds(self) -> float:
        """The time for which this registry has run."""
        return self._clock.elapsed() - self._since

    def by_state(self) -> dict[tuple[str, TaskState], int]:
        """The number of tasks of each type in each state."""
        return counts_by_state(self._counts)

    def count(self, query: Count) -> Counted:
        """The number of tasks of some types and in some states; no other condition is regarded."""
        states, types = query.filter.states, query.filter.types
        return Counted(
            sum(
                number
                for (type_name, state), number in counts_by_state(self._counts).items()
                if (not types or type_name in types) and (not states or state in states)
            )
        )

    def changes(self, request: Changes) -> Events:
        """The events that were committed after a position."""
        log = self.events
        events = log.since(request.epoch, request.after)
        if events is None:
            return Events(log.epoch, log.sequence, [], True, counts_by_state(self._counts))
        return Events(log.epoch, log.sequence, events, False)

    def note_progress(self, request: Progress) -> StaleReport | None:
        """Keep and publish how far an attempt is, or refuse what is not the running one."""
        task = self._rules.store.get(request.task_id)
        if task is None:
            return StaleReport(request.task_id, request.attempt, 0, "finished or unknown")
        if task.state is not TaskState.PROCESSING or task.attempt != request.attempt:
            return StaleReport(task.id, request.attempt, task.attempt, task.state.value)
        now = self._clock.wall()
        mark = ProgressMark(task.attempt, request.fraction, request.message, now)
        self._progress[task.id] = mark
        event = Event(
            self.events.sequence + 1,
            task.id,
            task.type,
            task.state,
            now,
            task.reason,
            task.attempt,
            mark,
        )
        self.events.extend([event])
        return None

    def with_mark(self, details: Details) -> Details:
        """The details with the progress of the running attempt. From any thread."""
        return details._replace(progress=self._progress_of(details.task))

    def with_progress(self, page: Page) -> Page:
        """The page with the progress of what runs. From any thread."""
        if not self._progress:
            return page
        marks = {task.id: self._progress_of(task) for task in page.tasks}
        known = {task_id: mark for task_id, mark in marks.items() if mark is not None}
        return page._replace(progress=known)

    def _progress_of(self, task: Task) -> ProgressMark | None:
        mark = self._progress.get(task.id)
        # The task was looked up a moment ago, and may have gone on since.
        running = task.state is TaskState.PROCESSING
        return mark if mark is not None and running and mark.attempt == task.attempt else None

    def snapshot(self) -> Snapshot:
        """The figures of this moment; what the journal takes on the disk is not among them."""
        slots: Counter[tuple[str, str]] = Counter()
        workers = 0
        for record in self._rules.ledger:
            workers += record.joined
            slots.update(slots_of(record))
        return Snapshot(
            counts=dict(self._counts),
            oldest_pending_seconds=self._oldest_pending_seconds(),
            slots=slots,
            workers=workers,
            paused_types=self._rules.store.throttles.paused(),
            webhooks_disabled=self._rules.deliveries.webhooks.disabled(),
            notices_waiting=len(self._rules.deliveries.outbox),
        )

    def kept(self) -> Kept:
        """The counts in memory, at this moment."""
        self._number += 1
        return Kept(
            self._number, self.of_workers.by_worker(), self._metrics.cells(), self.refused_reports
        )

    def statistics(self) -> Statistics:
        """The service on one page; what the journal takes on the disk is 0."""
        now = self._clock.elapsed()
        return Statistics(
            self.snapshot(),
            uptime_seconds=self.uptime_seconds(),
            finished_per_second=self.drain_rate.lately(now),
            paused_types=self._rules.store.throttles.paused(),
            schedules=len(self._rules.schedules),
            journal_bytes=0,
            per_second=self._rates.lately(now),
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
    if new.trace is not None:
        fields |= {**ids(new.trace), "span_id": attempt_span_id(new.id, old.attempt)}
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
    elif change.outcome == "suspected" and not new.state.is_final:
        log.warning(
            "attempt was in a host that died; the task will be claimed again",
            crowd=new.crowd,
            error=new.error,
            **fields,
        )
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
