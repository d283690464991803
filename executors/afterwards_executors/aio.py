"""The `async` executor: coroutines on the event loop that starts it, for work that only waits.

Built for many short calls: submissions gather in a deque, and one wake-up of the loop starts all
that are there. Time-outs and cancellations are real; a coroutine that swallows its cancellation
gets `STOP_GRACE_SECONDS`, then its future is resolved without it and its slot counts as stuck.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextvars import Context
from time import monotonic
from typing import ClassVar, Final

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
from afterwards_executors.submissions import Submissions

try:
    # A faster loop where there is one; nothing here depends on it.
    import uvloop
except ImportError:
    _new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:
    _new_event_loop = uvloop.new_event_loop

STOP_GRACE_SECONDS: Final = 1.0
"""The time in which a cancelled coroutine has to clean up before its slot counts as stuck."""


class _Coroutine(Call):
    """A call with what the loop's thread keeps of it; no other thread touches that."""

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.task: asyncio.Task[None] | None = None
        """None while it waits for a slot. The loop itself holds tasks only weakly."""
        self.timer: asyncio.TimerHandle | None = None


class AsyncExecutor:
    """Runs coroutine functions on the event loop of the thread that starts it, or on its own."""

    kind: ClassVar[str] = "async"
    can_stop: ClassVar[bool] = True

    def __init__(self, slots: int) -> None:
        self._calls = Calls(slots)
        self._submissions: Submissions[_Coroutine] = Submissions(self._calls)
        self._to_stop: deque[_Coroutine] = deque()
        self._loop = _new_event_loop()
        self._is_started = False
        self._over = threading.Event()
        """It is shut down, and nothing runs any more."""
        self._thread: threading.Thread | None = None
        # Callbacks of the loop would otherwise run in the context of whichever call armed them,
        # and what that call had bound (a request id) would show up in other calls' log lines.
        self._context = Context()
        # Below: the loop only.
        self._waiting: OrderedDict[_Coroutine, None] = OrderedDict()
        self._held = 0
        self._stopping = False

    def start(self) -> None:
        """Work on the event loop of this thread, if one runs here; otherwise on one of its own."""
        self._is_started = True
        with contextlib.suppress(RuntimeError):  # none runs here
            running = asyncio.get_running_loop()
            self._loop.close()
            self._loop = running
            # What was submitted before has woken the other one.
            running.call_soon(self._look, context=self._context)
            return
        thread = threading.Thread(target=self._serve, name="executor-async", daemon=True)
        thread.start()
        self._thread = thread

    def slots(self) -> Slots:
        """The numbers of slots by state."""
        return self._calls.slots()

    def submit(self, work: Work) -> Future[Outcome]:
        """Run `work` as soon as a slot is free; see `Executor.submit`."""
        call = _Coroutine(work)
        self._calls.admit(call)
        self._submissions.add(call, self._loop, self._look, self._context)
        return call

    def cancel(self, future: Future[Outcome], reason: str, *, by_force: bool = False) -> bool:
        """Stop a submitted call; see `Executor.cancel`."""
        assert isinstance(future, _Coroutine)
        if not self._calls.settle(future, cancellation(reason)):
            return False
        self._to_stop.append(future)
        self._wake()
        return True

    def shutdown(self, timeout_seconds: float) -> None:
        """Cancel what runs, and end a loop of its own; coroutines that will not stop keep that.

        Not to be called on the event loop, which has to go on. A second call does nothing.
        """
        calls = self._calls.close()
        for call in calls:
            self._calls.settle(call, SHUT_DOWN)
        if not self._is_started or self._over.is_set():
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._stop_all, calls, context=self._context)
            self._over.wait(timeout_seconds)
            if self._thread is not None and self._over.is_set():
                self._thread.join(timeout_seconds)
        for call in calls:
            self._calls.give_up(call)

    # -- the loop -----------------------------------------------------------------------

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        # What the calls left running; a loop that is closed over pending tasks logs each of them.
        strays = asyncio.all_tasks(self._loop)
        for task in strays:
            task.cancel()
        if strays:
            self._loop.run_until_complete(asyncio.wait(strays, timeout=STOP_GRACE_SECONDS))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def _wake(self) -> None:
        self._submissions.wake(self._loop, self._look, self._context)

    def _look(self) -> None:
        for call in self._submissions.take():
            if self._held < self._calls.total:
                self._begin(call)
            else:
                self._queue(call)
        while self._to_stop:
            self._stop(self._to_stop.popleft())

    def _queue(self, call: _Coroutine) -> None:
        try:
            self._waiting[call] = None
        except MemoryError as error:
            self._calls.finish(call, starved(error))

    def _begin_waiting(self) -> None:
        while self._waiting and self._held < self._calls.total:
            self._begin(self._waiting.popitem(last=False)[0])

    def _begin(self, call: _Coroutine) -> None:
        coroutine = None
        try:
            coroutine = self._run(call)
            call.task = self._loop.create_task(coroutine, context=Context())
        except Exception as error:  # noqa: BLE001 - memory has run out
            if coroutine is not None:
                coroutine.close()
            self._calls.finish(call, starved(error))
        else:
            self._held += 1

    async def _run(self, call: _Coroutine) -> None:
        if call.verdict is not None:
            self._end(call, call.verdict)
            return
        work = call.work
        try:
            CURRENT.set(call)
            if work.timeout_seconds is not None:
                # A handle of the loop's: asyncio.wait_for would cost a second task, asyncio.timeout
                # more than all the rest of this function.
                call.timer = self._loop.call_later(
                    work.timeout_seconds, self._time_out, call, context=self._context
                )
        except Exception as error:  # noqa: BLE001 - memory has run out
            self._end(call, starved(error))
            return
        call.started_at = monotonic()
        try:
            outcome = outcome_of(await work.function(*work.args), call.run_seconds)
        except BaseException as error:  # noqa: BLE001 - SystemExit would end the loop for all calls
            outcome = failure_of(error, call.run_seconds)
        self._end(call, outcome)

    def _end(self, call: _Coroutine, outcome: Outcome) -> None:
        if call.timer is not None:
            call.timer.cancel()
        call.task = call.timer = None
        self._held -= 1
        self._calls.finish(call, outcome)
        self._begin_waiting()
        if self._stopping:
            self._stop_loop_if_idle()

    def _time_out(self, call: _Coroutine) -> None:
        if self._calls.settle(call, time_out_of(call)):
            self._stop(call)

    def _stop(self, call: _Coroutine) -> None:
        """Stop a call that is settled."""
        if call in self._waiting:
            del self._waiting[call]
            self._calls.finish(call, SHUT_DOWN)
        elif call.task is not None and call.started_at is not None:
            call.task.cancel()
            if call.timer is not None:
                call.timer.cancel()
            call.timer = self._loop.call_later(
                STOP_GRACE_SECONDS, self._calls.give_up, call, context=self._context
            )
        # Else it has ended, or not begun: cancelled now, its task would end before its first line
        # and account for nothing. `_run` looks at the verdict first.

    def _stop_all(self, calls: Sequence[Call]) -> None:
        self._stopping = True
        self._look()
        for call in calls:
            assert isinstance(call, _Coroutine)
            self._stop(call)
        self._stop_loop_if_idle()

    def _stop_loop_if_idle(self) -> None:
        if self._calls.is_idle():
            self._over.set()
            if self._thread is not None:
                self._loop.stop()
