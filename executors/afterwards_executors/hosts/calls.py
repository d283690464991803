"""A call that a host runs, as the process that has submitted it keeps it."""

from __future__ import annotations

import asyncio
from collections import deque

from afterwards_executors.base import LOG_BYTES, LOG_LINES, End, Outcome, Work
from afterwards_executors.calls import Call


class HostedCall(Call):
    """Belongs to the event loop of its executor, but for what `Call` says."""

    def __init__(self, work: Work, number: int, request: bytes) -> None:
        super().__init__(work)
        self.number = number
        """On the wire; not used again while this process lives, or four billion calls later."""
        self.request = request
        self.has_host = False
        """False: it waits for one."""
        self.place = 0
        """Among the calls that its host was given."""
        self.has_begun = False
        """True if it is known to have begun."""
        self.hosts_lost = 0
        """Hosts that have ended before they began with it."""
        self.timer: asyncio.TimerHandle | None = None
        self.kept_before = 0.0
        """The time for which its loop had been kept from its work when it began, in seconds."""
        self.is_overdue = False
        """Its time is up or it was cancelled, and it goes on all the same."""
        self.unanswered = 0
        """Questions that its host has asked and that have no answer yet."""
        self._lines: deque[str] = deque(maxlen=LOG_LINES)

    def back_in_the_queue(self) -> None:
        """Its host has ended before it began."""
        self.has_host = False
        self.hosts_lost += 1

    def begin(self, now: float, kept_before: float) -> None:
        """Its function runs from now on."""
        self.has_begun = True
        self.started_at = now
        self.kept_before = kept_before
        self.request = b""

    def disarm(self) -> None:
        """Forget what was to happen later."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def printed(self, line: str) -> None:
        """It has printed a line."""
        self.keep(line)
        if self.work.on_line is not None:
            self.work.on_line(line)

    def keep(self, line: str) -> None:
        """Remember a line that it has printed or logged."""
        self._lines.append(line)

    def log_lines(self) -> tuple[str, ...]:
        """The last lines, within `LOG_BYTES`."""
        kept: list[str] = []
        left = LOG_BYTES
        for line in reversed(self._lines):
            left -= len(line.encode(errors="replace"))
            if left < 0:
                break
            kept.append(line)
        return tuple(reversed(kept))


def lost(call: HostedCall, how: str, begun: int) -> Outcome:
    """The outcome of a call whose host has ended with so many that had begun."""
    return Outcome(
        End.LOST if begun == 1 else End.SUSPECTED,
        error=f"The process that ran it {how}",
        transient=True,
        run_seconds=call.run_seconds,
        crowd=0 if begun == 1 else begun,
    )
