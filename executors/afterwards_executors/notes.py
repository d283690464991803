"""The talk of a running call with its submitter, before its end: notes out, requests to stop in.

    in the call:  note(b"...")  ->  Notepad: the latest, now and then  ->  Work.on_note
    in the call:  is_stop_asked()

Notes are for what is soon out of date, such as progress: of those that come faster than one every
`INTERVAL_SECONDS` only the last is delivered, and none after the call's outcome. So a flood of them
costs neither memory nor anybody's time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextvars import ContextVar
from heapq import heappop, heappush
from itertools import count
from time import monotonic
from typing import Final, Protocol

INTERVAL_SECONDS: Final = 0.1
MAX_NOTE_BYTES: Final = 4096

log = logging.getLogger(__name__)


class Line(Protocol):
    """A running call's line to whoever submitted it. For any thread, as long as the call runs."""

    @property
    def is_stop_asked(self) -> bool:
        """True if the call should end: it was cancelled, or its time is up.

        Only calls that cannot be stopped get to see much of it: the others are stopped.
        """

    @property
    def is_stopping(self) -> bool:
        """True if the call's process is to be ended soon, through no fault of the call."""

    def note(self, data: bytes) -> None:
        """Have `Work.on_note` called with `data`, or with what is noted after it. Never waits."""

    def time_out_delay(self, seconds: float | None) -> None:
        """Have the outcome of a time-out say `retry_in_seconds`; it cannot be asked then."""


CURRENT: Final[ContextVar[Line]] = ContextVar("current_line")
"""Set by the executors for the call that they run."""


def current_line() -> Line | None:
    """The line of the call that this code runs in; None outside of one.

    Threads that the call starts by itself do not inherit it, but may be given it.
    """
    return CURRENT.get(None)


def note(data: bytes) -> None:
    """Note something on the line of the call that this code runs in; outside of one, nowhere.

    Raises:
        ValueError: more than `MAX_NOTE_BYTES`.
    """
    line = current_line()
    if line is not None:
        line.note(data)


class Notepad:
    """The latest note of one call, and when it may be delivered.

    Args:
        deliver: must not wait; False if the note cannot be delivered just now. What it raises is
            logged: the call knows nothing of it.
    """

    def __init__(self, deliver: Callable[[bytes], bool]) -> None:
        self._deliver = deliver
        # Held during a delivery: notes keep their order, and none is under way after `close`.
        # Reentrant, so that a delivery may end the call.
        self._lock = threading.RLock()
        self._latest: bytes | None = None
        self._next_at = 0.0
        self._is_awaited = False
        self._is_closed = False

    def note(self, data: bytes) -> None:
        """Deliver `data` at once, or when it is time, unless another note comes meanwhile."""
        if len(data) > MAX_NOTE_BYTES:
            raise ValueError(f"a note may have {MAX_NOTE_BYTES} bytes, not {len(data)}")
        with self._lock:
            if self._is_closed:
                return
            self._latest = data
            if not self._is_awaited:
                self._deliver_if_due()

    def flush(self) -> None:
        """Deliver the latest note; called when it is time."""
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
                log.exception("a note could not be delivered; it is dropped")
                is_delivered = True
            if is_delivered:
                self._latest = None
                return
        try:
            _reminder.add(self._next_at, self)
        except (RuntimeError, MemoryError) as error:
            # Whoever notes has not asked for a thread. The next note goes.
            self._latest = None
            log.warning("a note cannot wait for its time; it is dropped (%r)", error)
        else:
            self._is_awaited = True


class _Reminder:
    """Flushes notepads when it is time, in a thread that lives while there are any."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Notepad]] = []
        self._numbers = count()
        self._is_running = False

    def add(self, at: float, notepad: Notepad) -> None:
        """Flush it at that time.

        Raises:
            RuntimeError, MemoryError: something has run out; it is not flushed.
        """
        with self._changed:
            if not self._is_running:
                # It waits for the lock, and so finds what is added below.
                threading.Thread(target=self._run, name="executor-notes", daemon=True).start()
                self._is_running = True
            heappush(self._due, (at, next(self._numbers), notepad))
            if self._due[0][2] is notepad:
                self._changed.notify()

    def _run(self) -> None:
        while (notepad := self._next()) is not None:
            # Without the lock: a delivery may add to the list.
            notepad.flush()

    def _next(self) -> Notepad | None:
        with self._changed:
            while self._due:
                wait_seconds = self._due[0][0] - monotonic()
                if wait_seconds <= 0:
                    return heappop(self._due)[2]
                self._changed.wait(wait_seconds)
            self._is_running = False
            return None


_reminder: Final = _Reminder()
