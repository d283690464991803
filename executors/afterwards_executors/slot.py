"""One slot of the `process` executor: a thread, and the child that it spawns, asks and kills."""

from __future__ import annotations

import os
import select
import struct
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

from afterwards_executors.base import End, Outcome, describe
from afterwards_executors.calls import SHUT_DOWN, Call, Calls, failure_of, starved, time_out_of
from afterwards_executors.child import Child, ChildDied, clear
from afterwards_executors.wire import decode_outcome, encode_request

RETIRE_SECONDS: Final = 2.0
"""How long an idle child may take to end by itself at shutdown, within what the shutdown allows."""

_MAX_CHILDREN_A_CALL: Final = 2
"""A child that dies before it has picked up its call costs nothing, once; twice is no accident."""


class Slot:
    """Runs one call at a time in a child of its own.

    The thread starts with the first call and lives until `close`, because its child dies with it.
    A child is spawned when there is none that lives.

    Args:
        finish: called by the thread when its call has ended; sets `call` to the next one or None.
    """

    def __init__(
        self, number: int, calls: Calls, finish: Callable[[Slot, Call, Outcome], None]
    ) -> None:
        self.call: Call | None = None
        """What it is to run, or runs; written under the executor's lock."""
        self._calls = calls
        self._finish = finish
        self._child: Child | None = None
        self._closes_at: float | None = None
        # Locked, because a closed descriptor's number soon names another file.
        self._wake_lock = threading.Lock()
        self._wake = -1
        self._number = number
        self._thread: threading.Thread | None = None

    # -- for the executor --------------------------------------------------------------------------

    def hand(self, call: Call) -> None:
        """Give the call to this slot, which is free. Under the executor's lock.

        Raises:
            OSError, RuntimeError, MemoryError: something ran out; the slot is as it was.
        """
        if self._thread is None:
            self._thread = self._begin(call)
        else:
            self.call = call
            self.nudge()

    def nudge(self) -> None:
        """Have the thread look: there is a call, a verdict on its call, or a shutdown."""
        with self._wake_lock:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def close(self, deadline: float) -> None:
        """Have the thread end when it has no call; its child is to be gone by the deadline."""
        self._closes_at = deadline
        self.nudge()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the thread, if it was ever started."""
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def _begin(self, call: Call) -> threading.Thread:
        """Start the thread with its first call."""
        wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            idle = select.poll()
            idle.register(wake, select.POLLIN)
            thread = threading.Thread(
                target=self._serve,
                args=[idle],
                name=f"executor-process-{self._number}",
                daemon=True,
            )
            self._wake, self.call = wake, call
            thread.start()
        except BaseException:
            self._wake, self.call = -1, None
            os.close(wake)
            raise
        return thread

    # -- the thread --------------------------------------------------------------------------------

    def _serve(self, idle: select.poll) -> None:
        while (call := self._next_call(idle)) is not None:
            self._finish(self, call, self._outcome_of(call))
        if self._child is not None and self._closes_at is not None:
            self._child.retire(min(RETIRE_SECONDS, max(0.0, self._closes_at - monotonic())))
        with self._wake_lock:
            os.close(self._wake)
            self._wake = -1

    def _next_call(self, idle: select.poll) -> Call | None:
        """Wait for a call; None: the slot was closed. A child that dies meanwhile is reaped."""
        while self.call is None:
            if self._closes_at is not None:
                return None
            if self._child is not None:
                idle.register(self._child.death, select.POLLIN)
            idle.poll()
            clear(self._wake)
            if self._child is not None:
                idle.unregister(self._child.death)
                if self._child.is_dead():
                    self._drop_child()
        return self.call

    def _outcome_of(self, call: Call) -> Outcome:
        try:
            return self._run(call)
        except Exception as error:  # noqa: BLE001 - memory or descriptors may run out anywhere
            self._kill_child()
            if call.started_at is None:
                return starved(error)
            return _lost(call, f"could not be watched: {describe(error)}")

    def _run(self, call: Call) -> Outcome:
        try:
            request = encode_request(call.work.function, call.work.args)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - pickling runs foreign code
            failure = failure_of(error, 0.0).error
            return Outcome(End.FAILED, error=f"The call cannot be sent to a child: {failure}")
        how = ""
        for _ in range(_MAX_CHILDREN_A_CALL):
            try:
                return self._ask(call, request)
            except ChildDied as death:
                self._drop_child()
                how = str(death)
                if death.picked_up:
                    return _lost(call, how)
                call.started_at = None
        # Not lost: it is certain that the function has not begun.
        return Outcome(End.FAILED, error=f"The process to run it {how}", transient=True)

    def _ask(self, call: Call, request: bytes) -> Outcome:
        def is_settled() -> bool:
            return call.verdict is not None

        if is_settled():
            return SHUT_DOWN  # or what was settled: `Calls.finish` knows
        child = self._child
        if child is None:
            child = self._child = Child(self._wake)
            if not child.wait_ready(is_settled):
                self._kill_child()
                return SHUT_DOWN
        call.started_at = monotonic()
        limit = call.work.timeout_seconds
        deadline = None if limit is None else call.started_at + limit
        answer = child.ask(request, deadline, is_settled, call.note)
        if answer is not None:
            return self._read(answer, call)
        if not is_settled():
            self._calls.settle(call, time_out_of(call))
        # Killed before the future is resolved: who hears of the end may start the work again, and
        # then this attempt must be over.
        self._kill_child()
        return SHUT_DOWN

    def _read(self, answer: bytes, call: Call) -> Outcome:
        try:
            return decode_outcome(answer)
        except (struct.error, IndexError, UnicodeDecodeError):
            # Something in the child wrote into its pipe; what comes next cannot be trusted either.
            self._kill_child()
            return _lost(call, "gave an answer that cannot be read")

    def _kill_child(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _drop_child(self) -> None:
        if self._child is not None:
            self._child.discard()
            self._child = None


def _lost(call: Call, how: str) -> Outcome:
    error = f"The process that ran it {how}"
    return Outcome(End.LOST, error=error, transient=True, run_seconds=call.run_seconds)
