"""The due times of schedules: which comes next, and which were missed.

A due time is late if the service was down when it came:

    up to `MISSED_AFTER_SECONDS` late       its task is made
    later, `catch_up`                       its task is made, for the latest `MAX_CAUGHT_UP` of them
    later, no `catch_up`                    it is skipped

One that could not have its task made, because there was no room for it, is held: it waits until
there is, and is late for as long as it likes.
"""

from __future__ import annotations

import math
from typing import Final

from afterwards.logs import get_logger
from afterwards.schedules.recurrence import count
from afterwards.schedules.schedule import Schedule

log = get_logger(__name__)

MISSED_AFTER_SECONDS: Final = 60.0
MAX_CAUGHT_UP: Final = 1_000

_COUNTED_AT_MOST: Final = 10
"""Skipped times, for the log."""


def after(schedule: Schedule, moment: float) -> float | None:
    """The first due time after a moment; None: there is none, or it is not known any more."""
    try:
        return schedule.recurrence.after(moment)
    except ValueError as error:
        log.error(
            "schedule is not understood any more; it rests until it is put again",
            schedule=schedule.name,
            error=str(error),
        )
        return None


def is_late(due: float, now: float) -> bool:
    """True if a due time came so long ago that it may have been missed."""
    return due < now - MISSED_AFTER_SECONDS


class Missed:
    """Tells the due times that were missed from those that are only late. `wall` clock."""

    def __init__(self) -> None:
        self._held: dict[str, float] = {}
        """Until when times were due and there was no room for their tasks."""
        self._searched: dict[str, float] = {}
        """Up to when the missed times that are not caught up with have been skipped."""

    def load(self, name: str, held: float | None, searched: float | None) -> None:
        """Take in what was known of a schedule: the `marks` of it."""
        for marks, mark in ((self._held, held), (self._searched, searched)):
            if mark is not None:
                marks[name] = mark

    def marks(self, name: str) -> tuple[float | None, float | None]:
        """Until when times of a schedule were held, and up to when they were searched."""
        return self._held.get(name), self._searched.get(name)

    def hold(self, name: str, now: float) -> bool:
        """There is no room for the times of a schedule that have come by now: none is missed.

        Returns:
            Whether there was room until now.
        """
        is_new = name not in self._held
        self._held[name] = now
        return is_new

    def has(self, schedule: Schedule, due: float, now: float) -> bool:
        """True if this due time was missed, as far as `first_made` has not decided otherwise."""
        if not is_late(due, now) or due <= self._held.get(schedule.name, -math.inf):
            return False
        return not schedule.catch_up or due > self._searched.get(schedule.name, -math.inf)

    def first_made(self, schedule: Schedule, due: float, now: float) -> float | None:
        """The first due time from a missed one on that a task is made for. Logs what is skipped."""
        if schedule.catch_up:
            self._searched[schedule.name] = now
            latest = _latest(schedule, now)
            first: float | None = due if latest is None else max(due, latest)
            if first == due:
                return due
        else:
            first = after(schedule, math.nextafter(now - MISSED_AFTER_SECONDS, -math.inf))
        if first is not None:
            log.warning(
                "times were due while the service was down; they are skipped",
                schedule=schedule.name,
                skipped=count(schedule.recurrence, due, first, _COUNTED_AT_MOST),
                counted_at_most=_COUNTED_AT_MOST,
                goes_on_with=first,
            )
        return first

    def commit(self, name: str, due: float | None) -> None:
        """It is durable that a schedule is due next then."""
        for marks in (self._held, self._searched):
            # What is left has been late for as long as the mark says, or comes after it.
            if due is None or due > marks.get(name, -math.inf):
                marks.pop(name, None)

    def undo(self, name: str) -> None:
        """Take back what was skipped of a schedule: it could not be written."""
        self._searched.pop(name, None)


def _latest(schedule: Schedule, now: float) -> float | None:
    try:
        return schedule.recurrence.latest(MAX_CAUGHT_UP, now)
    except ValueError:
        # `after` will say it.
        return None
