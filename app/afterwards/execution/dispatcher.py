"""The dispatcher: this worker's claims, from their delivery to the answer to their report.

    registry --claims--> table --> executor --outcome--> report --> registry --answer--> over

An uncontended task is started by the background task of the route that submitted it. What comes
otherwise (waiting work, retries, other workers' leftovers) is started as it comes, and what a
background task leaves lying, because its client went away, is swept up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from enum import Enum
from functools import partial
from itertools import islice
from typing import Final

from afterwards.execution.executors import Executors
from afterwards.execution.pauses import Pauses
from afterwards.execution.questions import Questions, Submitted
from afterwards.execution.reports import Reports
from afterwards.execution.work import WorkMaker
from afterwards.logs import get_logger
from afterwards.registry.protocol.answers import Claim
from afterwards.registry.protocol.requests import Held, Released, Report
from afterwards.task_types.base import Environment
from afterwards.task_types.description import Catalogue
from afterwards.traces.base import AttemptSpan, Traces
from afterwards_executors.base import End, Outcome, describe

log = get_logger(__name__)

SWEEP_AFTER_SECONDS: Final = 0.25


class _Stop(Enum):
    """Why an attempt is being stopped; decides what is reported."""

    CANCEL = "its cancellation was asked for"
    RELEASE = "its worker is stopping"
    FENCE = "its lease is about to end"


class _Attempt:
    """A claim, and how far this worker is with it."""

    __slots__ = ("claim", "future", "span", "started", "stop", "submitted", "taken_at")

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.future: Future[Outcome] | None = None
        self.started = False
        self.stop: _Stop | None = None
        self.span: AttemptSpan | None = None
        self.submitted = Submitted()
        self.taken_at = time.monotonic()


def _at_once(work: Callable[[], None]) -> None:
    work()


class Dispatcher:
    """Holds the claims of one worker and hands them to its executors.

    All methods may be called from any thread; none raises and none waits, except `drain`.

    Args:
        executors: started.
        catalogue: the task types, for their time limits.
        environment: what attempts are given.
        timeout_seconds: the limit for attempts whose task and type say nothing.
        report: sends a report to the registry.
        progress: hears how far an attempt is: task id, attempt, fraction, message. Must not wait.
        slots_changed: the registry is to hear of `slots` before the next report. Must not wait.
        later: calls what starts an attempt, once no answer has to wait for it.
        traces: makes spans of attempts; None: there are none.
        questions: answers what attempts ask about other tasks; None: nothing does.
    """

    def __init__(
        self,
        executors: Executors,
        catalogue: Catalogue,
        environment: Environment,
        timeout_seconds: float,
        report: Callable[[Report], None],
        *,
        progress: Callable[[str, int, float, str | None], None] = lambda *_: None,
        slots_changed: Callable[[], None] = lambda: None,
        later: Callable[[Callable[[], None]], None] = _at_once,
        traces: Traces | None = None,
        questions: Questions | None = None,
    ) -> None:
        self._executors = executors
        questions = questions or Questions(catalogue, None)
        self._work = WorkMaker(catalogue, environment, timeout_seconds, progress, questions)
        self._report = report
        self._slots_changed = slots_changed
        self._later = later
        self._traces = traces
        self._pauses = Pauses()
        self._reports = Reports()
        self._table: dict[str, _Attempt] = {}
        self._changed = threading.Condition()
        self._unstarted = 0
        self._closed = False
        """True once the executors may be shut down."""

    # -- starting ------------------------------------------------------------------------------

    async def start(self, task_id: str) -> None:
        """Start the task soon, if its claim is here and was not started.

        What `BackgroundTasks` carry. A task that is claimed elsewhere, or waits for a slot, is none
        of its business.
        """
        attempt = self._table.get(task_id)
        if attempt is not None:
            self._later(partial(self._launch, attempt, "background task"))

    def take(self, claims: Sequence[Claim], awaited: frozenset[str]) -> None:
        """Be responsible for new claims; start those that no route is about to start."""
        if not claims:
            return
        attempts = [_Attempt(claim) for claim in claims]
        with self._changed:
            # An earlier attempt at the same task has been reported, or its claim has ended.
            ids = [claim.task_id for claim in claims]
            earlier = [self._table[task_id] for task_id in ids if task_id in self._table]
            for attempt in attempts:
                self._table[attempt.claim.task_id] = attempt
            self._unstarted += len(attempts)
            self._never_start(earlier)
        for old in earlier:
            self._stop(old, _Stop.FENCE)
        for attempt in attempts:
            if attempt.claim.task_id not in awaited:
                self._later(partial(self._launch, attempt, "dispatcher"))

    def sweep(self) -> None:
        """Start what its background task has left lying."""
        if not self._unstarted:
            return
        before = time.monotonic() - SWEEP_AFTER_SECONDS
        with self._changed:
            left = [a for a in self._table.values() if not a.started and a.taken_at < before]
        for attempt in left:
            self._launch(attempt, "sweep")

    def _launch(self, attempt: _Attempt, by: str) -> None:
        with self._changed:
            if attempt.started:
                return
            attempt.started = True
            self._unstarted -= 1
        claim = attempt.claim
        if self._closed:
            # The registry had given it before it heard that this worker stops.
            self._report(Released(claim.task_id, claim.attempt, _Stop.RELEASE.value))
            return
        log.debug(
            "attempt starts", task_id=claim.task_id, type=claim.type, attempt=claim.attempt, by=by
        )
        if self._traces is not None:
            attempt.span = self._traces.attempt(claim)
        try:
            executor = self._executors.of(claim)
            trace = None if attempt.span is None else attempt.span.trace
            future = executor.submit(self._work.of(claim, trace, attempt.submitted))
        except MemoryError as error:
            reason = f"Could not be started: {describe(error)}"
            self._rest(claim, reason)
            self._end(attempt, Released(claim.task_id, claim.attempt, reason))
            return
        except Exception as error:
            # A kind this worker does not have, or an executor that is shut down: the claim must not
            # stay here, where nothing would ever end it.
            log.exception(
                "attempt could not be started; released",
                task_id=claim.task_id,
                type=claim.type,
                attempt=claim.attempt,
            )
            reason = f"could not be started: {error}"
            self._end(attempt, Released(claim.task_id, claim.attempt, reason))
            return
        attempt.future = future
        future.add_done_callback(partial(self._ended, attempt))
        if attempt.stop is not None:
            self._cancel(attempt, future, attempt.stop)

    # -- ending --------------------------------------------------------------------------------

    def _ended(self, attempt: _Attempt, future: Future[Outcome]) -> None:
        if attempt.stop is _Stop.FENCE:
            if attempt.span is not None:
                attempt.span.end(None)
            return
        self._end(attempt, self._report_of(attempt, future.result()))

    def _end(self, attempt: _Attempt, report: Report) -> None:
        if attempt.span is not None:
            attempt.span.end(report)
        self._report(report)

    def _report_of(self, attempt: _Attempt, outcome: Outcome) -> Report:
        claim = attempt.claim
        if outcome.end is End.STARVED:
            self._rest(claim, outcome.error or "unknown error")
        is_cancelled = attempt.stop is _Stop.CANCEL
        report = self._reports.of(claim, outcome, is_cancelled=is_cancelled)
        return attempt.submitted.reported(report)

    def _rest(self, claim: Claim, error: str) -> None:
        """Take no other claims of its kind for a while."""
        self._pauses.begin(claim.executor, error)
        self._slots_changed()

    def settle(self, task_id: str, attempt: int) -> None:
        """The report of this attempt was answered: the claim is over."""
        with self._changed:
            held = self._table.get(task_id)
            # The answer may have brought the next attempt at the same task.
            if held is not None and held.claim.attempt == attempt:
                del self._table[task_id]
                # Its callback leads back to the attempt: 26 objects a task, for the collector.
                held.future = None
                self._changed.notify_all()

    # -- stopping ------------------------------------------------------------------------------

    def cancel(self, claim: Held) -> None:
        """Stop this attempt, if it can be stopped: its cancellation was asked for."""
        attempt = self._table.get(claim.task_id)
        if attempt is not None and attempt.claim.attempt == claim.attempt:
            self._stop(attempt, _Stop.CANCEL)

    def fence(self) -> None:
        """Stop all attempts, and forget them: others will run them.

        Not those that have ended: if their report still comes in time, they need not run again.
        """
        with self._changed:
            attempts = [
                attempt
                for attempt in self._table.values()
                if not (attempt.future is not None and attempt.future.done())
            ]
            for attempt in attempts:
                attempt.stop = _Stop.FENCE
                del self._table[attempt.claim.task_id]
            self._never_start(attempts)
            self._changed.notify_all()
        for attempt in attempts:
            if attempt.future is not None:
                self._cancel(attempt, attempt.future, _Stop.FENCE)

    def drain(self, grace_seconds: float, flush_seconds: float) -> bool:
        """Wait for the attempts to end; after `grace_seconds` release the rest. Blocks.

        Waits up to `flush_seconds` more for their reports to be answered. Claims that still come
        after that are released.

        Returns:
            Whether nothing is left.
        """
        try:
            return self._drain(grace_seconds, flush_seconds)
        finally:
            self._closed = True

    def _drain(self, grace_seconds: float, flush_seconds: float) -> bool:
        self.sweep()
        if self._wait_until(lambda: not self._table, grace_seconds):
            return True
        with self._changed:
            attempts = list(self._table.values())
        log.warning("grace is over; releasing the attempts that still run", attempts=len(attempts))
        for attempt in attempts:
            self._stop(attempt, _Stop.RELEASE)
        return self._wait_until(lambda: not self._table, flush_seconds)

    def _never_start(self, attempts: Sequence[_Attempt]) -> None:
        """See to it that those that have not been started never are. Under the lock."""
        for attempt in attempts:
            if not attempt.started:
                attempt.started = True
                self._unstarted -= 1

    def _stop(self, attempt: _Attempt, why: _Stop) -> None:
        with self._changed:
            if attempt.stop is None:
                attempt.stop = why
        future = attempt.future
        if future is not None:
            self._cancel(attempt, future, why)

    def _cancel(self, attempt: _Attempt, future: Future[Outcome], why: _Stop) -> None:
        # A neighbour must not suffer from a cancellation. A stop and the fence end them as well.
        by_force = why is not _Stop.CANCEL
        self._executors.of(attempt.claim).cancel(future, why.value, by_force=by_force)

    def _wait_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, seconds)

    # -- what the registry is told -------------------------------------------------------------

    def held(self) -> list[Held]:
        """Every claim whose report was not answered yet."""
        with self._changed:
            return [Held(task_id, a.claim.attempt) for task_id, a in self._table.items()]

    def oldest(self, number: int) -> list[tuple[str, Future[Outcome]]]:
        """The attempts that run since longest, so many at most, by the ids of their tasks."""
        with self._changed:
            oldest = list(islice(self._table.items(), number))
        return [(task_id, a.future) for task_id, a in oldest if a.future is not None]

    def slots(self) -> Mapping[str, int]:
        """Usable slots by executor kind, none of a kind that rests."""
        return self._executors.slots(self._pauses.is_resting)

    def waiting(self) -> list[str]:
        """The executor kinds that take no attempts, because what runs them is out of reach."""
        return ["dask"] if self._executors.cluster_problem() else []

    def stuck(self) -> Mapping[str, int]:
        """Slots by executor kind that hold a call which goes on although it should not."""
        return self._executors.stuck()

    def unstoppable(self) -> frozenset[str]:
        """Kinds whose attempts are asked to stop, and end by themselves or at their limit."""
        return self._executors.unstoppable()
