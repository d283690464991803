"""The time that ages go by: the wall clock, less what it has jumped forward of late.

A clock that is wrong by years for a minute, after a start without a network or by a slip of
somebody's hand, would delete every finished task for good, and with it its idempotency key.
"""

from __future__ import annotations

from typing import Final

from afterwards.logs import get_logger
from afterwards.registry.protocol.clock import Clock

log = get_logger(__name__)

JUMP_SECONDS: Final = 60.0
"""By more than this the wall clock does not run ahead of the machine's own by itself."""

DOUBT_SECONDS: Final = 3_600.0
"""So long after its last jump the wall clock is believed."""


class TrustedTime:
    """The wall clock as far as it is believed.

    Jumps are measured against the time since the machine's start, which cannot be set and goes on
    while the machine sleeps. A jump back is believed at once: it makes everything younger.

    Args:
        seen_at: this time, when a process noted it last; 0 if none ever did. What lies between is
            doubted like a jump, because it cannot be told whether the service was down for so long.
        confirmed: the wall clock is right, says the operator of the service.
    """

    def __init__(self, clock: Clock, seen_at: float, *, confirmed: bool) -> None:
        self._clock = clock
        self._confirmed = confirmed
        self._ahead = clock.wall() - clock.since_boot()
        """The wall clock before the machine's own, when last looked at."""
        self._believed = self._ahead
        self._doubted_at: float | None = None
        """The moment at which the last jump was seen, by the machine's own clock; None: nothing is
        doubted."""
        gap = clock.wall() - seen_at
        if seen_at and gap > JUMP_SECONDS and not confirmed:
            self._believed -= gap
            self._doubted_at = clock.since_boot()
            log.info(
                "the clock was seen last a while ago; finished tasks age from there for an hour",
                seconds=round(gap),
            )

    def now(self) -> float:
        """POSIX seconds. Has to be asked for now and then, so that jumps are seen."""
        since_boot = self._clock.since_boot()
        ahead = self._clock.wall() - since_boot
        jump, self._ahead = ahead - self._ahead, ahead
        if self._confirmed:
            return since_boot + ahead
        if jump > JUMP_SECONDS:
            self._doubted_at = since_boot
            log.warning(
                "the clock has jumped forward; finished tasks do not age by it for an hour",
                seconds=round(jump),
                todo="correct the clock; or, if it is right, wait, or set "
                "AFTERWARDS_CLOCK_CONFIRMED=true and restart",
            )
        if self._doubted_at is None or ahead <= self._believed:
            self._believe(ahead)
        elif since_boot - self._doubted_at >= DOUBT_SECONDS:
            log.info("the clock has not jumped for an hour; it is believed")
            self._believe(ahead)
        return since_boot + self._believed

    def _believe(self, ahead: float) -> None:
        self._believed = ahead
        self._doubted_at = None
