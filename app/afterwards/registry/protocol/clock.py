"""The four clocks a registry goes by, in one object so that tests can turn them."""

from __future__ import annotations

import time
from typing import Protocol

_LONGEST_STEP_SECONDS = 1.0


class Clock(Protocol):
    """The time, for four purposes."""

    def wall(self) -> float:
        """POSIX seconds: what records show, and what an absolute `run_at` follows. May jump."""

    def elapsed(self) -> float:
        """Seconds since some moment, never back: what backoffs wait by."""

    def since_boot(self) -> float:
        """Seconds since the machine's start, its sleep included: what the wall clock is held to."""

    def running(self) -> float:
        """Seconds that this process has been running: what leases age by."""


class SystemClock:
    """The machine's clocks. `running` has to be read at least every second or so."""

    def __init__(self) -> None:
        self._running = 0.0
        self._read_at = time.monotonic()

    def wall(self) -> float:
        return time.time()

    def elapsed(self) -> float:
        return time.monotonic()

    def since_boot(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def running(self) -> float:
        # A long gap between two readings means that this very process was stopped, and could not
        # have heard anybody: without the cut it would expire every lease on waking.
        now = time.monotonic()
        self._running += min(now - self._read_at, _LONGEST_STEP_SECONDS)
        self._read_at = now
        return self._running
