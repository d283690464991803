"""The line of a running call: its progress and its questions go out, requests to stop come in.

    in the call:  send_progress(b"...")  ->  ProgressSender: the latest  ->  Work.on_progress
    in the call:  ask(b"...")  ->  Work.on_question  ->  the answer, of which none is left out
    in the call:  is_stop_asked()

Progress is soon out of date. If it comes faster than once every `INTERVAL_SECONDS`, only the last
is delivered, and none after the call's outcome. So a flood of it costs neither memory nor time of
others.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar
from heapq import heappop, heappush
from itertools import count
from time import monotonic
from typing import Final, Protocol

INTERVAL_SECONDS: Final = 0.1
MAX_PROGRESS_BYTES: Final = 4096

log = logging.getLogger(__name__)


class Line(Protocol):
    """A running call's line to its submitter. For any thread, as long as the call runs."""

    @property
    def is_stop_asked(self) -> bool:
        """True if the call should end: it was cancelled, or its time is up.

        Only calls that cannot be stopped get to see much of it: the others are stopped.
        """

    @property
    def is_stopping(self) -> bool:
        """True if the call's process is to be ended soon, through no fault of the call."""

    def send_progress(self, data: bytes) -> None:
        """Have `Work.on_progress` called with `data`, or with later data. Never waits."""

    def time_out_delay(self, seconds: float | None) -> None:
        """Have the outcome of a time-out say `retry_in_seconds`; it cannot be asked then."""

    def tell(self, data: bytes) -> None:
        """Have `Work.on_question` called with this, before the call's outcome.

        Raises:
            ValueError: it is larger than what can be sent.
            RuntimeError, OSError: the call is over, or its submitter is gone.
        """

    def ask(self, data: bytes) -> Future[bytes]:
        """Have `Work.on_question` called with this; the answer to it. Raises as `tell`."""

    def wait_for(self, answer: Future[bytes]) -> bytes:
        """Wait for an answer, in a thread without an event loop. Raises as `tell`."""


CURRENT: Final[ContextVar[Line]] = ContextVar("current_line")
"""Set by the executors for the call that they run."""


def new_answer() -> Future[bytes]:
    """An answer to come. It cannot be cancelled, so that it can be given at any time."""
    answer: Future[bytes] = Future()
    answer.set_running_or_notify_cancel()
    return answer


def current_line() -> Line | None:
    """The line of the call that this code runs in; None outside of one.

    Threads that the call starts by itself do not inherit it, but may be given it.
    """
    return CURRENT.get(None)


def send_progress(data: bytes) -> None:
    """Send progress on the line of the call that this code runs in; outside of one, nowhere.

    Raises:
        ValueError: more than `MAX_PROGRESS_BYTES`.
    """
    line = current_line()
    if line is not None:
        line.send_progress(data)


class ProgressSender:
    """The latest progress of one call, and the time at which it may be delivered.

    Args:
        deliver: must not wait; False if the progress cannot be delivered just now. What it raises
            is logged: the call knows nothing of it.
    """

    def __init__(self, deliver: Callable[[bytes], bool]) -> None:
        self._deliver = deliver
        # Held during a delivery: progress keeps its order, and none is under way after `close`.
        # Reentrant, so that a delivery may end the call.
        self._lock = threading.RLock()
        self._latest: bytes | None = None
        self._next_at = 0.0
        self._is_awaited = False
        self._is_closed = False

    def send(self, data: bytes) -> None:
        """Deliver `data` at once, or when it is time, unless other progress comes meanwhile."""
        if len(data) > MAX_PROGRESS_BYTES:
            raise ValueError(f"progress may have {MAX_PROGRESS_BYTES} bytes, not {len(data)}")
        with self._lock:
            if self._is_closed:
                return
            self._latest = data
            if not self._is_awaited:
                self._deliver_if_due()

    def flush(self) -> None:
        """Deliver the latest progress; called when it is time."""
        with self._lock:
            self._is_awaited = False
            if self._latest is not None and not self._is_closed:
                self._deliver_if_due()

    def close(self) -> None:
        """Deliver nothing from now on."""
        with self._lock:
            self._is_closed = True
            self._latest = None

    def _deliver_if_due(self) -> None:
        now = monotonic()
        if now >= self._next_at:
            assert self._latest is not None
            self._next_at = now + INTERVAL_SECONDS
            try:
                is_delivered = self._deliver(self._latest)
            except Exception:
                log.exception("progress could not be delivered; it is dropped")
                is_delivered = True
            if is_delivered:
                self._latest = None
                return
        try:
            _reminder.add(self._next_at, self)
        except (RuntimeError, MemoryError) as error:
            # The call has not asked for a thread. Its next progress is sent.
            self._latest = None
            log.warning("progress cannot wait for its time; it is dropped (%r)", error)
        else:
            self._is_awaited = True


class _Reminder:
    """Flushes senders when it is time, in a thread that lives while there are any."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, ProgressSender]] = []
        self._numbers = count()
        self._is_running = False

    def add(self, at: float, sender: ProgressSender) -> None:
        """Flush it at that time.

        Raises:
            RuntimeError, MemoryError: something has run out; it is not flushed.
        """
        with self._changed:
            if not self._is_running:
                # It waits for the lock, and so finds what is added below.
                threading.Thread(target=self._run, name="executor-progress", daemon=True).start()
                self._is_running = True
            heappush(self._due, (at, next(self._numbers), sender))
            if self._due[0][2] is sender:
                self._changed.notify()

    def _run(self) -> None:
        while (sender := self._next()) is not None:
            # Without the lock: a delivery may add to the list.
            sender.flush()

    def _next(self) -> ProgressSender | None:
        with self._changed:
            while self._due:
                wait_seconds = self._due[0][0] - monotonic()
                if wait_seconds <= 0:
                    return heappop(self._due)[2]
                self._changed.wait(wait_seconds)
            self._is_running = False
            return None


_reminder: Final = _Reminder()
