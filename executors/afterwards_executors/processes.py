"""The `process` executor: a spawned child for each slot, for CPU work, crashes and hard limits.

    submit -> the warmest free slot, or the queue -> the slot's thread -> its child -> outcome

One thread, one child and one pipe per slot, nothing shared between slots: whatever happens to a
child, only its call is affected. Time-outs and cancellations kill the child. Children are spawned
when their slot is first used and then kept. `docs/decisions/0003-process-executor.md` says why no
ready-made pool is used.
"""

from __future__ import annotations

import atexit
import multiprocessing.util  # noqa: F401 - for its exit handler, see `start`
import threading
from collections import OrderedDict
from concurrent.futures import Future
from time import monotonic
from typing import ClassVar

from afterwards_executors.base import Outcome, Slots, Work
from afterwards_executors.calls import SHUT_DOWN, Call, Calls, cancellation, starved
from afterwards_executors.child import KILL_TIMEOUT_SECONDS
from afterwards_executors.slot import Slot


class ProcessExecutor:
    """Runs importable functions in spawned children."""

    kind: ClassVar[str] = "process"
    can_stop: ClassVar[bool] = True

    def __init__(self, slots: int) -> None:
        self._calls = Calls(slots)
        self._lock = threading.Lock()
        # Below: under the lock.
        self._waiting: OrderedDict[Call, None] = OrderedDict()
        self._slots = [Slot(number, self._calls, self._finish) for number in range(slots)]
        self._free = self._slots[::-1]
        """Free slots, the warmest at the end: under a light load few children are ever spawned."""

    def start(self) -> None:
        """Nothing yet: a slot's thread and child start when they are first needed."""
        # When the interpreter exits, multiprocessing joins all children for as long as they take.
        # Exit handlers run in reverse, and the import of `multiprocessing.util` has registered its.
        atexit.register(self.shutdown, 0.0)

    def slots(self) -> Slots:
        """What the slots are doing now."""
        return self._calls.slots()

    def submit(self, work: Work) -> Future[Outcome]:
        """Run `work` as soon as a slot is free; see `Executor.submit`."""
        call = Call(work)
        self._calls.admit(call)
        refusal = None
        with self._lock:
            try:
                self._enqueue(call)
            except Exception as error:  # noqa: BLE001 - threads, descriptors or memory have run out
                refusal = starved(error)
        if refusal is not None:
            self._calls.finish(call, refusal)
        return call

    def cancel(self, future: Future[Outcome], reason: str) -> bool:
        """Stop a submitted call; see `Executor.cancel`."""
        assert isinstance(future, Call)
        if not self._calls.settle(future, cancellation(reason)):
            return False
        self._stop(future)
        return True

    def shutdown(self, timeout_seconds: float) -> None:
        """Kill the children that run, let the others end, and wait for the slots' threads."""
        atexit.unregister(self.shutdown)
        deadline = monotonic() + timeout_seconds
        unresolved = self._calls.close()
        with self._lock:
            for slot in self._slots:
                slot.close(deadline)
        for call in unresolved:
            self._calls.settle(call, SHUT_DOWN)
            self._stop(call)
        for slot in self._slots:
            # Without any time left the children are killed, and even that takes a moment.
            slot.join(max(0.0, deadline - monotonic()) + KILL_TIMEOUT_SECONDS)
        for call in unresolved:
            self._calls.give_up(call)

    def _enqueue(self, call: Call) -> None:
        """Give the call to a free slot, or have it wait for one. Under the lock."""
        if not self._free:
            self._waiting[call] = None
            return
        self._free[-1].hand(call)
        # Not before: a slot that cannot begin is as free as it was.
        self._free.pop()

    def _stop(self, call: Call) -> None:
        """Stop a call that is settled: drop it from the queue, or have its slot kill the child."""
        with self._lock:
            waits = call in self._waiting
            if waits:
                del self._waiting[call]
            else:
                for slot in self._slots:
                    if slot.call is call:
                        slot.nudge()
        if waits:
            self._calls.finish(call, SHUT_DOWN)

    def _finish(self, slot: Slot, call: Call, outcome: Outcome) -> None:
        """Called by a slot whose call has ended; gives it the next one."""
        # The slot is given on before the future is resolved: callbacks may submit the next call,
        # and would else wake a colder slot.
        with self._lock:
            if self._waiting:
                slot.call = self._waiting.popitem(last=False)[0]
            else:
                slot.call = None
                self._free.append(slot)
        self._calls.finish(call, outcome)
