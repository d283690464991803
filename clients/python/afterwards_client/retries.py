"""The schedule of tries: when to try again, and when to give up."""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx

RETRIED_STATUSES = frozenset({429, 502, 503, 504})
"""The service's own 429 and 503, and what a proxy says in its place while it restarts."""


_LONGEST_SECONDS = 366 * 86400.0
"""Whatever is asked for: no sleep can last longer than a clock counts."""


@dataclass(frozen=True)
class Retries:
    """The policy of a client for a service that is away or full.

    After a failure it waits a random time up to `first_delay_seconds`, twice that after the next,
    up to `max_delay_seconds`; where the service says `Retry-After`, so long and that random time on
    top, so that not all its clients come back at once. What would end more than `total_seconds`
    after the first failure is not tried any more; 0 turns retries off.
    """

    total_seconds: float = 30.0
    first_delay_seconds: float = 0.1
    max_delay_seconds: float = 5.0
    clock: Callable[[], float] = field(default=time.monotonic, repr=False, compare=False)
    jitter: Callable[[float, float], float] = field(
        default=random.uniform, repr=False, compare=False
    )


class Patience:
    """The patience that is left, for one call or one stream.

    Args:
        deadline: by the clock of `retries`; nothing is tried again after it.
    """

    def __init__(self, retries: Retries, deadline: float | None = None) -> None:
        self._retries = retries
        self._deadline = deadline
        self._failures = 0
        self._failing_since = 0.0

    def renew(self) -> None:
        """All is well again."""
        self._failures = 0

    def delay_seconds(self, at_least: float | None = None) -> float | None:
        """The time to wait after one more failure; None: give up."""
        retries = self._retries
        now = retries.clock()
        if self._failures == 0:
            self._failing_since = now
        # Bounded, because 2 ** 1024 is no float any more.
        doubled: float = retries.first_delay_seconds * 2 ** min(self._failures, 60)
        self._failures += 1
        delay = retries.jitter(0.0, min(doubled, retries.max_delay_seconds))
        delay += min(at_least or 0.0, _LONGEST_SECONDS)
        end = self._failing_since + retries.total_seconds
        if self._deadline is not None:
            end = min(end, self._deadline)
        return delay if delay < end - now else None


def retry_after_seconds(response: httpx.Response) -> float | None:
    """The time that `Retry-After` asks for, as seconds or a date; None if it asks for nothing."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    due = _date(value)
    if due is None:
        return None
    # By the server's clock where it tells it: the two need not agree.
    now = _date(response.headers.get("Date", "")) or datetime.now(UTC)
    return max(0.0, (due - now).total_seconds())


def _date(value: str) -> datetime | None:
    try:
        found = email.utils.parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
