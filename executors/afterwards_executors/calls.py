"""Submitted calls, and the account of them: each gets exactly one outcome and holds one slot.

    admit -> (settle) -> finish                   the usual way
    admit -> settle -> give_up -> ... -> finish   the call could not be stopped; its slot is stuck

`settle` fixes how a call ends before it has ended, for cancellations and time-outs; the first to
settle a call wins, so what `Executor.cancel` has promised is what the future says. Callbacks of a
future run after its slot has been freed and without any lock held: they may submit the next call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from time import monotonic

from afterwards_executors.base import End, Outcome, Slots, Work, describe
from afterwards_executors.progress import ProgressSender, new_answer

SHUT_DOWN = Outcome(End.CANCELLED, error="The executor was shut down")


class Call(Future[Outcome]):
    """A submitted `Work` and the future that its caller holds, in one object.

    It counts as running from the start, so `Future.cancel` always refuses: a future cancelled
    behind the executor's back would have no outcome.

    To the function that runs it is the `afterwards_executors.progress.Line`.
    """

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.set_running_or_notify_cancel()
        self.work = work
        self.started_at: float | None = None
        """The moment at which its function began, monotonic; None until then."""
        self.verdict: Outcome | None = None
        """The outcome, once it is settled. Written by `Calls` only."""
        self.is_cancel_asked = False
        """True if a cancellation was asked for that cannot be had."""
        self.after_time_out: float | None = None
        """The delay until the next attempt after a time-out; None: the default holds."""
        self._progress: ProgressSender | None = None

    @property
    def run_seconds(self) -> float:
        """The time for which its function has been running."""
        return 0.0 if self.started_at is None else monotonic() - self.started_at

    @property
    def is_stop_asked(self) -> bool:
        """See `afterwards_executors.progress.Line`."""
        return self.is_cancel_asked or self.verdict is not None

    @property
    def is_stopping(self) -> bool:
        """See `afterwards_executors.progress.Line`. Its process is everybody's."""
        return False

    def send_progress(self, data: bytes) -> None:
        """See `afterwards_executors.progress.Line`."""
        (self._progress or self._new_progress()).send(data)

    def time_out_delay(self, seconds: float | None) -> None:
        """See `afterwards_executors.progress.Line`."""
        self.after_time_out = seconds

    def tell(self, data: bytes) -> None:
        """See `afterwards_executors.progress.Line`."""
        self.put_question(data, None)

    def ask(self, data: bytes) -> Future[bytes]:
        """See `afterwards_executors.progress.Line`."""
        answer = new_answer()
        self.put_question(data, answer.set_result)
        return answer

    def wait_for(self, answer: Future[bytes]) -> bytes:
        """See `afterwards_executors.progress.Line`."""
        return answer.result()

    def put_question(self, data: bytes, answer: Callable[[bytes], None] | None) -> None:
        """Hand a question to the submitter. Without one, the answer is empty."""
        if self.work.on_question is not None:
            self.work.on_question(data, answer)
        elif answer is not None:
            answer(b"")

    def close_progress(self) -> None:
        """Deliver no progress from now on."""
        if self._progress is not None:
            self._progress.close()

    def _new_progress(self) -> ProgressSender:
        # Made when it is needed: most calls have nothing to say.
        with _NEW_PROGRESS:
            if self._progress is None:
                self._progress = ProgressSender(self._deliver)
            return self._progress

    def _deliver(self, data: bytes) -> bool:
        # The verdict comes before `close_progress`: a sender that is made too late for that to be
        # closed delivers nothing, either.
        if self.work.on_progress is not None and self.verdict is None:
            self.work.on_progress(data)
        return True


_NEW_PROGRESS = threading.Lock()


class Calls:
    """The calls of one executor that have no outcome yet, and the slots they hold."""

    def __init__(self, slots: int) -> None:
        if slots < 1:
            raise ValueError(f"an executor needs at least one slot, not {slots}")
        self.total = slots
        """May change at any time; calls that are too many then go on."""
        self._lock = threading.Lock()
        self._unresolved: set[Call] = set()
        self._stuck: set[Call] = set()
        self._closed = False

    def admit(self, call: Call) -> None:
        """Take responsibility for a new call.

        Raises:
            RuntimeError: after `close`.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the executor was shut down and takes no more work")
            self._unresolved.add(call)

    def settle(self, call: Call, outcome: Outcome) -> bool:
        """Fix how `call` ends, whatever its function does from now on.

        Returns:
            False if that was fixed before.
        """
        with self._lock:
            if call.verdict is not None:
                return False
            call.verdict = outcome
            return True

    def finish(self, call: Call, outcome: Outcome) -> None:
        """Free the call's slot and resolve its future, with `outcome` unless it was settled."""
        with self._lock:
            self._stuck.discard(call)
            verdict = self._take(call, outcome)
        if verdict is not None:
            call.close_progress()
            call.set_result(verdict)

    def give_up(self, call: Call) -> None:
        """Resolve a call whose function goes on all the same: its slot is stuck.

        If nothing was settled it is the shutdown that gives it up.
        """
        with self._lock:
            verdict = self._take(call, SHUT_DOWN)
            if verdict is not None:
                self._stuck.add(call)
        if verdict is not None:
            call.close_progress()
            call.set_result(verdict)

    def close(self) -> Sequence[Call]:
        """Admit nothing more; returns the calls that have no outcome yet."""
        with self._lock:
            self._closed = True
            return tuple(self._unresolved)

    def is_idle(self) -> bool:
        """True if no call holds a slot or waits for one."""
        return not self._unresolved and not self._stuck

    def slots(self) -> Slots:
        """The numbers of slots by state; a call counts from its admission."""
        with self._lock:
            stuck = len(self._stuck)
            return Slots(self.total, min(len(self._unresolved), max(0, self.total - stuck)), stuck)

    def _take(self, call: Call, outcome: Outcome) -> Outcome | None:
        # Whoever takes the call out resolves its future; a second resolution would raise.
        if call not in self._unresolved:
            return None
        self._unresolved.discard(call)
        if call.verdict is None:
            call.verdict = outcome
        return call.verdict


def outcome_of(value: object, run_seconds: float) -> Outcome:
    """The returned value of a function as an outcome; a permanent failure if it is none."""
    if not isinstance(value, Outcome):
        kind = type(value).__name__
        return Outcome(
            End.FAILED,
            error=f"The function has to return an Outcome, not {kind}",
            run_seconds=run_seconds,
        )
    if value.run_seconds:
        return value
    return replace(value, run_seconds=run_seconds)


def failure_of(error: BaseException, run_seconds: float) -> Outcome:
    """The raised error of a function as a permanent failure."""
    kind, message = type(error).__name__, describe(error)
    if message != kind:
        message = f"{kind}: {message}"
    return Outcome(End.FAILED, error=message, run_seconds=run_seconds)


def starved(error: BaseException) -> Outcome:
    """The outcome of a call that could not begin, because something ran out."""
    return Outcome(End.STARVED, error=f"Could not be started: {describe(error)}", transient=True)


def time_out_of(call: Call) -> Outcome:
    """The outcome of a call whose time is up."""
    return Outcome(
        End.TIMED_OUT,
        error=f"Timed out after {call.work.timeout_seconds:g} s",
        transient=True,
        run_seconds=call.run_seconds,
        retry_in_seconds=call.after_time_out,
    )


def cancellation(reason: str) -> Outcome:
    """The outcome of a call that `Executor.cancel` stops."""
    return Outcome(End.CANCELLED, error=reason)
