"""The `thread` executor: blocking calls in daemon threads of our own.

A thread cannot be stopped. A call that is timed out is reported at once, and its slot counts as
stuck until the function returns; `cancel` stops only calls that still wait for a slot, and asks the
others to stop by themselves.

Not a ThreadPoolExecutor: the interpreter joins its threads on the way out, so one function that
hangs would keep the whole process from ending. It also has no time-outs and cannot say which of its
threads are stuck.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context
from time import monotonic
from typing import ClassVar

from afterwards_executors.base import Outcome, Slots, Work
from afterwards_executors.calls import (
    SHUT_DOWN,
    Call,
    Calls,
    cancellation,
    failure_of,
    outcome_of,
    starved,
    time_out_of,
)
from afterwards_executors.progress import CURRENT


class ThreadExecutor:
    """Runs plain functions in at most so many threads, started when they are first needed."""

    kind: ClassVar[str] = "thread"
    can_stop: ClassVar[bool] = False

    def __init__(self, slots: int) -> None:
        self._calls = Calls(slots)
        self._lock = threading.Lock()
        self._work_came = threading.Condition(self._lock)
        self._deadline_came = threading.Condition(self._lock)
        # Below: under the lock.
        self._waiting: OrderedDict[Call, None] = OrderedDict()
        self._deadlines: dict[Call, float] = {}
        self._next_look = float("inf")
        self._threads: list[threading.Thread] = []
        self._watcher: threading.Thread | None = None
        self._idle = 0
        self._closed = False

    def start(self) -> None:
        """Start the thread that watches the deadlines."""
        self._watcher = _started(self._watch, "executor-thread-deadlines")

    def slots(self) -> Slots:
        """The numbers of slots by state."""
        return self._calls.slots()

    def submit(self, work: Work) -> Future[Outcome]:
        """Run `work` as soon as a slot is free; see `Executor.submit`."""
        call = Call(work)
        self._calls.admit(call)
        refusal = None
        with self._lock:
            try:
                self._enqueue(call)
            except Exception as error:  # noqa: BLE001 - threads or memory have run out
                self._waiting.pop(call, None)
                refusal = starved(error)
        if refusal is not None:
            self._calls.finish(call, refusal)
        return call

    def cancel(self, future: Future[Outcome], reason: str, *, by_force: bool = False) -> bool:
        """Stop a call that still waits for a slot, ask one that runs; see `Executor.cancel`."""
        assert isinstance(future, Call)
        with self._lock:
            if future not in self._waiting:
                future.is_cancel_asked = True
                return False
            del self._waiting[future]
        self._calls.finish(future, cancellation(reason))
        return True

    def shutdown(self, timeout_seconds: float) -> None:
        """Drop what waits, wait for what runs, and leave to itself what has not ended by then."""
        deadline = monotonic() + timeout_seconds
        unresolved = self._calls.close()
        with self._lock:
            self._closed = True
            waiting = tuple(self._waiting)
            self._waiting.clear()
            self._work_came.notify_all()
            self._deadline_came.notify_all()
            threads = [*self._threads, *([self._watcher] if self._watcher else [])]
        for call in waiting:
            self._calls.finish(call, SHUT_DOWN)
        for thread in threads:
            thread.join(max(0.0, deadline - monotonic()))
        for call in unresolved:
            self._calls.give_up(call)

    # -- the threads -----------------------------------------------------------------------------

    def _enqueue(self, call: Call) -> None:
        """Have a thread that idles, or a new one, run the call. Under the lock."""
        if self._idle <= len(self._waiting) and len(self._threads) < self._calls.total:
            # Before the call waits where other threads may take it: without this one it must not
            # begin. A thread that has started although this says otherwise is not in the list.
            name = f"executor-thread-{len(self._threads)}"
            self._threads.append(_started(self._serve, name))
        self._waiting[call] = None
        self._work_came.notify()

    def _serve(self) -> None:
        me = threading.current_thread()
        with self._lock:
            if me not in self._threads:
                return
        try:
            while (call := self._next_call()) is not None:
                self._calls.finish(call, self._outcome_of(call))
        finally:
            # Whatever has ended it: its place is another's.
            with self._lock:
                self._threads.remove(me)

    def _outcome_of(self, call: Call) -> Outcome:
        try:
            # A context of its own: what a call binds must not be seen by the next on its thread.
            context = Context()
            context.run(CURRENT.set, call)
            self._start_clock(call)
        except Exception as error:  # noqa: BLE001 - memory has run out
            outcome = starved(error)
        else:
            outcome = _run(call, context)
        if call.work.timeout_seconds is not None:
            with self._lock:
                self._deadlines.pop(call, None)
        return outcome

    def _next_call(self) -> Call | None:
        """The oldest call that waits; None: the thread is needed no more."""
        with self._lock:
            while not self._waiting:
                if self._closed:
                    return None
                self._idle += 1
                try:
                    self._work_came.wait()
                finally:
                    self._idle -= 1
            return self._waiting.popitem(last=False)[0]

    def _start_clock(self, call: Call) -> None:
        call.started_at = monotonic()
        if call.work.timeout_seconds is None:
            return
        deadline = call.started_at + call.work.timeout_seconds
        with self._lock:
            self._deadlines[call] = deadline
            if deadline < self._next_look:
                self._deadline_came.notify()

    def _watch(self) -> None:
        while (overdue := self._next_overdue()) is not None:
            for call in overdue:
                if self._calls.settle(call, time_out_of(call)):
                    self._calls.give_up(call)

    def _next_overdue(self) -> list[Call] | None:
        """Wait until time is up for at least one call; None: the executor was shut down."""
        with self._lock:
            while not self._closed:
                now = monotonic()
                overdue = [call for call, deadline in self._deadlines.items() if deadline <= now]
                for call in overdue:
                    del self._deadlines[call]
                # As many deadlines as slots at most: cheaper to look at all than to keep a heap
                # free of the many calls that end in time.
                self._next_look = min(self._deadlines.values(), default=float("inf"))
                if overdue:
                    return overdue
                self._deadline_came.wait(min(self._next_look - now, threading.TIMEOUT_MAX))
            return None


def _started(target: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


def _run(call: Call, context: Context) -> Outcome:
    work = call.work
    try:
        return outcome_of(context.run(work.function, *work.args), call.run_seconds)
    except BaseException as error:  # noqa: BLE001 - SystemExit would end the thread and its slot
        return failure_of(error, call.run_seconds)
