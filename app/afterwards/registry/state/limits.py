"""Which task types may start attempts now: pauses, limits of concurrency, limits of rate (rule 19).

A type without any has no throttle, and costs nothing.

A rate limit is kept by the last starts themselves, so that no window of its length, wherever it
begins, has more of them than it may. They lie on the `elapsed` clock, which is never set.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from afterwards.registry.journal.plans import Start
from afterwards.registry.protocol.clock import Clock
from afterwards.registry.protocol.requests import Pause, Resume, TypeLimits

MAX_STARTS_KEPT: Final = 100_000
"""The highest count a rate limit can have; a higher one is taken for this."""


class Throttle:
    """The limits of one type."""

    __slots__ = ("max_concurrency", "paused", "rate_count", "rate_seconds", "starts")

    def __init__(self) -> None:
        self.paused = False
        self.max_concurrency: int | None = None
        self.rate_count: int | None = None
        self.rate_seconds = 0.0
        self.starts: deque[float] = deque()
        """The last ones, on the `elapsed` clock; at least as many as the rate counts."""

    def limit(self, limits: TypeLimits) -> None:
        """Have other limits from now on; the starts so far count by them, too."""
        self.max_concurrency = limits.max_concurrency
        self.rate_seconds = limits.rate_seconds
        count = limits.rate_count
        self.rate_count = None if count is None else max(1, min(count, MAX_STARTS_KEPT))
        if count is None:
            self.starts.clear()

    @property
    def bounds_nothing(self) -> bool:
        """True if there need not be a throttle."""
        return not self.paused and self.max_concurrency is None and self.rate_count is None

    def rate_opens_at(self) -> float | None:
        """The time at which the rate allows another start; None: it allows one now."""
        count, starts = self.rate_count, self.starts
        if count is None or len(starts) < count:
            return None
        return starts[-count] + self.rate_seconds

    def trim(self) -> None:
        """Forget the starts that no window can reach any more."""
        while len(self.starts) > (self.rate_count or 0):
            self.starts.popleft()


class Throttles:
    """The throttles of all types, and how many attempts at each type run."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._throttles: dict[str, Throttle] = {}
        self._limits: Mapping[str, TypeLimits] = {}
        self.any_rate = False
        """True if any type has a limited rate."""
        self._numbers: dict[str, int] = {}
        """The number of each type's next start. Numbers go on when a limit is lifted: the journal
        has them."""
        self._remembered: dict[str, list[Start]] = {}
        """The journal's, until a worker says which types have a rate limit."""
        self.running: dict[str, int] = {}
        """Attempts by task type; kept by the store."""
        self._paused: dict[str, float] = {}
        self._before: dict[str, float | None] = {}
        """The types that the group at work has paused or resumed, each with its pause as it was
        before."""
        self.started: list[Start] = []
        """By the group at work, of types with a rate limit."""
        self.verbs: Mapping[type, Callable[[Any], Any]] = {
            Pause: self._pause,
            Resume: self._resume,
        }

    # -- reading -------------------------------------------------------------------------------

    def is_open(self, type_name: str) -> bool:
        """True if an attempt at a task of this type may start now."""
        throttle = self._throttles.get(type_name)
        if throttle is None:
            return True
        if self._is_shut(throttle, type_name):
            return False
        opens_at = throttle.rate_opens_at()
        return opens_at is None or opens_at <= self._clock.elapsed()

    def opens_at(self, type_name: str) -> float | None:
        """The time (`elapsed` clock) at which it opens, or has opened; None: no time is awaited."""
        throttle = self._throttles.get(type_name)
        if throttle is None or self._is_shut(throttle, type_name):
            return None
        return throttle.rate_opens_at()

    def _is_shut(self, throttle: Throttle, type_name: str) -> bool:
        most = throttle.max_concurrency
        return throttle.paused or (most is not None and self.running.get(type_name, 0) >= most)

    def is_paused(self, type_name: str) -> bool:
        """True if the type is paused."""
        return type_name in self._paused

    def paused(self) -> list[str]:
        """The types that are paused, by name."""
        return sorted(self._paused)

    # -- what happens --------------------------------------------------------------------------

    def limit(self, limits: Mapping[str, TypeLimits]) -> None:
        """The latest word on all types' limits."""
        if limits == self._limits:
            return
        self._limits = dict(limits)
        for type_name in {*self._throttles, *limits}:
            throttle = self._throttle(type_name)
            throttle.limit(limits.get(type_name, TypeLimits()))
            if throttle.rate_count is not None:
                self._recall(throttle, self._remembered.pop(type_name, ()))
            self._drop_if_idle(type_name, throttle)
        self.any_rate = any(
            throttle.rate_count is not None for throttle in self._throttles.values()
        )

    def count(self, type_name: str, attempts: int) -> None:
        """So many attempts more, or fewer, run."""
        self.running[type_name] = self.running.get(type_name, 0) + attempts

    def start(self, type_name: str) -> None:
        """An attempt starts."""
        throttle = self._throttles.get(type_name)
        if throttle is not None and throttle.rate_count is not None:
            now, number = self._clock.elapsed(), self._numbers.get(type_name, 0)
            self.started.append(Start(type_name, number, self._clock.wall(), now))
            throttle.starts.append(now)
            self._numbers[type_name] = number + 1

    def _pause(self, request: Pause) -> None:
        self._set_paused(request.type, self._paused.get(request.type, self._clock.wall()))

    def _resume(self, request: Resume) -> None:
        self._set_paused(request.type, None)

    def _set_paused(self, type_name: str, since: float | None) -> None:
        before = self._paused.get(type_name)
        if since == before:
            return
        self._before.setdefault(type_name, before)
        self._put_paused(type_name, since)

    def _put_paused(self, type_name: str, since: float | None) -> None:
        throttle = self._throttle(type_name)
        throttle.paused = since is not None
        if since is None:
            self._paused.pop(type_name, None)
            self._drop_if_idle(type_name, throttle)
        else:
            self._paused[type_name] = since

    def _throttle(self, type_name: str) -> Throttle:
        throttle = self._throttles.get(type_name)
        if throttle is None:
            throttle = self._throttles[type_name] = Throttle()
        return throttle

    def _drop_if_idle(self, type_name: str, throttle: Throttle) -> None:
        if throttle.bounds_nothing:
            del self._throttles[type_name]

    # -- the journal ---------------------------------------------------------------------------

    def load(self, paused: Mapping[str, float], starts: Iterable[Start]) -> None:
        """Take in what is in the journal."""
        for type_name, since in paused.items():
            self._put_paused(type_name, since)
        for start in starts:
            self._remembered.setdefault(start.type, []).append(start)
            self._numbers[start.type] = max(start.number + 1, self._numbers.get(start.type, 0))

    def _recall(self, throttle: Throttle, starts: Iterable[Start]) -> None:
        """Have the starts before the registry's own start count."""
        wall, elapsed = self._clock.wall(), self._clock.elapsed()
        before = (elapsed - _age(start, wall, elapsed) for start in starts)
        throttle.starts = deque(sorted([*before, *throttle.starts]))

    @property
    def has_changed(self) -> bool:
        """True if the group at work has changed anything that is to be written."""
        return bool(self.started or self._before)

    def paused_changes(self) -> dict[str, float | None]:
        """Types the group at work has paused, with since when, or resumed (None)."""
        return {type_name: self._paused.get(type_name) for type_name in self._before}

    def forgettable(self) -> dict[str, int]:
        """By type: starts with lower numbers need not be remembered once the group is durable."""
        kept: dict[str, int] = {}
        for start in self.started:
            throttle = self._throttles.get(start.type)
            if throttle is not None and throttle.rate_count is not None:
                kept[start.type] = self._numbers[start.type] - throttle.rate_count
        return kept

    def commit(self) -> None:
        """The group is durable."""
        if self.started:
            for type_name in self.forgettable():
                self._throttles[type_name].trim()
            self.started = []
        self._before.clear()

    def undo(self) -> None:
        """The group could not be written: be as before it."""
        for start in reversed(self.started):
            # Limits only change before a group's first start, so its throttle is still the same.
            self._throttles[start.type].starts.pop()
            self._numbers[start.type] = start.number
        self.started = []
        for type_name, since in self._before.items():
            self._put_paused(type_name, since)
        self._before.clear()


def _age(start: Start, wall: float, elapsed: float) -> float:
    """The least age of a start.

    The wall clock may have been set, and the `elapsed` clock begins anew when the machine does. So
    while the latter cannot have begun anew, the shorter of both: no limit is lifted too early.
    """
    by_wall, by_elapsed = wall - start.wall, elapsed - start.elapsed
    return max(0.0, by_wall if by_elapsed < 0 else min(by_wall, by_elapsed))
