"""Rates of tasks, of late: finished ones, and submitted, finished and failed ones."""

from __future__ import annotations

from collections import deque
from typing import Final

from afterwards.counts import SUBMITTED, TRANSITIONS, Tally
from afterwards.lifecycle import FINAL_STATES, TaskState

SECONDS: Final = 10
"""The span of time that `Rates` go over."""


class DrainRate:
    """Tasks finished per second, over about the last ten seconds."""

    _WINDOW_SECONDS = 5.0

    def __init__(self, now: float) -> None:
        self.per_second = 0.0
        self._since = now
        self._finished = 0

    def count(self, finished: int, now: float) -> None:
        """So many tasks were finished by `now` (elapsed clock)."""
        self._finished += finished
        passed = now - self._since
        if passed >= self._WINDOW_SECONDS:
            self.per_second = (self.per_second + self._finished / passed) / 2
            self._since, self._finished = now, 0
        elif self.per_second == 0 and passed > 0:
            self.per_second = self._finished / max(passed, 1.0)

    def lately(self, now: float) -> float:
        """The rate, and not that of long ago if nothing has been counted since."""
        passed = now - self._since
        return self.per_second if passed < 2 * self._WINDOW_SECONDS else self._finished / passed


class Rates:
    """Tasks submitted, finished and failed per second, over the last ten whole seconds.

    Args:
        counts: live; read once a second at most, and only if a group was committed in it.
    """

    def __init__(self, counts: Tally, now: float) -> None:
        self._counts = counts
        self._second = int(now)
        self._last = self._totals()
        self._has_news = False
        self._added: deque[tuple[int, tuple[int, int, int]]] = deque(maxlen=SECONDS + 1)
        """Seconds in which there was something, and what."""

    def committing(self, now: float) -> None:
        """A group is about to be added to the counts (elapsed clock)."""
        if int(now) != self._second:
            self._take(now)
        self._has_news = True

    def lately(self, now: float) -> dict[str, float]:
        """The averages."""
        self._take(now)
        since = self._second - SECONDS
        lately = [added for second, added in self._added if since <= second < self._second]
        sums = (sum(numbers) for numbers in zip((0, 0, 0), *lately, strict=True))
        names = ("submitted", "finished", "failed")
        return {name: number / SECONDS for name, number in zip(names, sums, strict=True)}

    def _take(self, now: float) -> None:
        if int(now) == self._second:
            return
        if self._has_news:
            self._has_news = False
            totals = self._totals()
            submitted, finished, failed = (
                new - old for new, old in zip(totals, self._last, strict=True)
            )
            self._added.append((self._second, (submitted, finished, failed)))
            self._last = totals
        self._second = int(now)

    def _totals(self) -> tuple[int, int, int]:
        submitted = finished = failed = 0
        for (counter, _, label), number in self._counts.items():
            if counter == SUBMITTED:
                submitted += number
            elif counter == TRANSITIONS and label in FINAL_STATES:
                finished += number
                if label == TaskState.FAILED:
                    failed += number
        return submitted, finished, failed
