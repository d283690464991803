"""The use of keys that have limits: what one worker has let in, and what all have.

Each worker has a token bucket for each such key and spends from it without asking. It tells the
registry what it has spent, and hears the level of the bucket of all. So a limit is exceeded by no
more than what each worker lets in from one hearing to the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from math import ceil
from typing import Final, NamedTuple

from afterwards.access.key import Key, Limits

SHARE_SECONDS: Final = 0.25
"""The least time between two messages about what was spent."""


class Use(NamedTuple):
    """The use of a key in one worker."""

    requests: int = 0
    """Let in since it was told last."""
    streams: int = 0
    """Open now."""
    waits: int = 0
    """Held now."""


class Left(NamedTuple):
    """The use of a key in all workers, as the registry tells one of them."""

    level: float
    """The level of the bucket; negative: more was spent than there was."""
    streams: int = 0
    """In the other workers."""
    waits: int = 0
    """In the other workers."""


def capacity(limits: Limits) -> float:
    """The level of a full bucket: the burst, or else one second's requests."""
    if limits.burst is not None:
        return max(1, limits.burst)
    return max(1, ceil(limits.requests_per_second or 0))


def is_metered(limits: Limits) -> bool:
    """True if there is a limit that the workers watch over."""
    watched = (limits.requests_per_second, limits.streams, limits.waits)
    return any(limit is not None for limit in watched)


class Meter:
    """The use of one key in this worker. For one thread; `renew` and `hear` may race with it."""

    __slots__ = (
        "_at", "_capacity", "_rate", "level", "limits", "other_streams", "other_waits", "requests",
        "streams", "told", "waits",
    )  # fmt: skip

    def __init__(self, limits: Limits, now: float) -> None:
        self.renew(limits)
        self.level = self._capacity
        self._at = now
        self.requests = 0
        """Let in since that was told."""
        self.streams = self.waits = self.other_streams = self.other_waits = 0
        self.told = Use()
        """The use as it was told last."""

    def renew(self, limits: Limits) -> None:
        """Have these limits from now on."""
        self.limits = limits
        self._rate = limits.requests_per_second
        self._capacity = capacity(limits)

    def take(self, now: float) -> float:
        """Spend one request, if there is one.

        Returns:
            0, or the seconds until there is one.
        """
        rate = self._rate
        if rate is None:
            return 0.0
        level = min(self._capacity, self.level + (now - self._at) * rate)
        self._at = now
        if level < 1.0:
            self.level = level
            return (1.0 - level) / rate
        self.level = level - 1.0
        self.requests += 1
        return 0.0

    def hear(self, left: Left, now: float) -> None:
        """Go on from the level of all; what was spent since it was told is not in it yet."""
        self.level = left.level - self.requests
        self._at = now
        self.other_streams, self.other_waits = left.streams, left.waits

    @property
    def use(self) -> Use:
        """The use as of now."""
        return Use(self.requests, self.streams, self.waits)

    @property
    def seconds_until_full(self) -> float:
        """The time until the whole burst can be spent again, if nothing is spent."""
        return 0.0 if self._rate is None else (self._capacity - self.level) / self._rate


class Meters:
    """The meters of all keys with limits, in one worker."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.by_key: dict[str, Meter] = {}
        """By the key's id; empty while no key has such a limit."""
        self._share_due = 0.0

    def renew(self, keys: Iterable[Key]) -> None:
        """Have a meter for each of these keys that needs one, and go on with those there are."""
        now = self._clock()
        meters: dict[str, Meter] = {}
        for key in keys:
            if not is_metered(key.limits):
                continue
            meter = self.by_key.get(key.id)
            if meter is None:
                meter = Meter(key.limits, now)
            elif meter.limits != key.limits:
                meter.renew(key.limits)
            meters[key.id] = meter
        self.by_key = meters

    def news(self, *, beat: bool) -> dict[str, Use] | None:
        """The uses that the registry has to be told of; None: there are none, or not yet.

        Args:
            beat: a beat goes, too: then there are news if any key has a meter.
        """
        now = self._clock()
        if not self.by_key or (now < self._share_due and not beat):
            return None
        self._share_due = now + SHARE_SECONDS
        uses: dict[str, Use] = {}
        is_new = beat
        for key_id, meter in self.by_key.items():
            use = meter.use
            if use != meter.told:
                is_new = True
            if any(use):
                uses[key_id] = use
            meter.requests, meter.told = 0, use._replace(requests=0)
        return uses if is_new else None

    def hear(self, left: Mapping[str, Left]) -> None:
        """The registry has told how much of the limits all workers use."""
        now = self._clock()
        for key_id, one in left.items():
            meter = self.by_key.get(key_id)
            if meter is not None:
                meter.hear(one, now)
