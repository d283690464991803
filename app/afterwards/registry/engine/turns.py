r"""Turns: many threads bring work, and one that finds none at work does all that is there.

    bring --> none works:  do it, and whatever else has been brought
          \-> one does: sleep until it is done, or until it is one's own turn

A thread that did the work for all would have to be woken by each caller, and to wake it again: 24
of the 147 us of processor time that a lone submission costs, 4 of 36 in groups of six. A thread
that has had its turn passes it on to one of those that came meanwhile, so none works for others for
long.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from afterwards.errors import AfterwardsError
from afterwards.logs import get_logger

log = get_logger(__name__)

LONGEST_SECONDS: Final = 0.25
"""The longest time without a turn."""


@dataclass(eq=False)
class WorkItem:
    """Something to be done in the next turn; what it is, is the worker's business."""

    done: bool = field(default=False, init=False)
    waiter: threading.Lock | None = field(default=None, init=False)
    """Held until it is done or its bringer has the turn; None: it does not sleep."""

    def finish(self) -> None:
        """It is done: let its bringer go."""
        self.done = True
        if self.waiter is not None:
            self.waiter.release()


class Turns:
    """At most one thread works at a time, on all that was brought before its turn began.

    Args:
        work: finishes every item it is given, which may be none, and returns in how many seconds
            there is something to do by itself. What it raises ends the process, before any bringer
            is told anything: bringers would wait for ever, and a process that still runs would not
            be started again.
    """

    def __init__(self, work: Callable[[Sequence[WorkItem]], float]) -> None:
        self._work = work
        self._alarm = threading.Event()
        self._lock = threading.Lock()
        # Below: under the lock.
        self._brought: list[WorkItem] = []
        self._taken = False
        self._closed = False
        self._next_look = 0.0
        """The moment at which `run` takes a turn by itself, monotonic."""

    # -- from any thread -----------------------------------------------------------------------

    def bring(self, item: WorkItem) -> bool:
        """Have it done, and return then; False, and nothing is done, after `close`."""
        with self._lock:
            if self._closed:
                return False
            self._brought.append(item)
            waiter = self._waiter() if self._taken else None
            item.waiter = waiter
            self._taken = True
        if waiter is not None:
            waiter.acquire()
        if not item.done:
            self._take_turn()
        return True

    def leave(self, item: WorkItem) -> None:
        """Have it done soon, and do not wait."""
        with self._lock:
            self._brought.append(item)
        self._alarm.set()

    def close(self) -> None:
        """End `run` after what has been brought."""
        with self._lock:
            self._closed = True
        self._alarm.set()

    # -- the thread for what nobody brings -----------------------------------------------------

    def run(self) -> None:
        """Take a turn when something is due or was left, until closed."""
        while not self._is_over():
            self._alarm.wait(max(0.0, self._next_look - time.monotonic()))
            self._alarm.clear()
            self.step()

    def step(self) -> None:
        """Take a turn if there is anything to do and no thread has it."""
        with self._lock:
            now = time.monotonic()
            if not self._brought and now < self._next_look:
                return
            # Whoever has the turn does what is due, and says at its end when to look again.
            self._next_look = now + LONGEST_SECONDS
            if self._taken:
                return
            self._taken = True
        self._take_turn()

    def _is_over(self) -> bool:
        with self._lock:
            if not self._closed or self._taken or self._brought:
                return False
            # Kept for good: nobody works any more.
            self._taken = True
            return True

    # -- a turn --------------------------------------------------------------------------------

    def _take_turn(self) -> None:
        with self._lock:
            items, self._brought = self._brought, []
        try:
            seconds = self._work(items)
        except BaseException as error:
            with contextlib.suppress(Exception):
                if isinstance(error, AfterwardsError):
                    log.critical("ending the process", error=str(error))
                else:
                    log.critical("a turn ended by a bug; ending the process", exc_info=True)
            os._exit(1)
        look = time.monotonic() + min(seconds, LONGEST_SECONDS)
        with self._lock:
            next_waiter = next((item.waiter for item in self._brought if item.waiter), None)
            self._taken = next_waiter is not None
            if look < self._next_look:
                self._next_look = look
                self._alarm.set()
            elif self._closed or (self._brought and next_waiter is None):
                self._alarm.set()
        if next_waiter is not None:
            next_waiter.release()

    def _waiter(self) -> threading.Lock:
        waiter = threading.Lock()
        waiter.acquire()
        return waiter
