"""The clock of a fake service: that of the machine, and what a test has put it forward by."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class FakeClock:
    """Goes on as the machine's, and jumps where a test or a wait wants it to."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        """The time, in UTC and aware of it."""
        return datetime.now(UTC) + self._ahead

    def monotonic(self) -> float:
        """Seconds that never go back, for `Retries.clock`."""
        return time.monotonic() + self._ahead.total_seconds()

    def advance(self, by: timedelta) -> None:
        """Put it forward."""
        self._ahead += by


def shown(at: datetime | None) -> str | None:
    """A time as the service writes it."""
    return None if at is None else at.isoformat(timespec="microseconds")
