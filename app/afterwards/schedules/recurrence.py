"""The recurrence of due times: by a cron expression in a time zone, or every so many seconds.

Why cronsim, and what happens when clocks are put forward or back, is in
docs/decisions/0007-recurrence.md.

All times are POSIX timestamps.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSimError

from afterwards.schedules.cron_times import CronTimes

MIN_PERIOD_SECONDS: Final = 1
MAX_PERIOD_SECONDS: Final = 366 * 86_400
CRON_FIELDS: Final = 5
_FIELD_VALUES: Final = {
    "minute": 60, "hour": 24, "day of the month": 31, "month": 12, "day of the week": 7,
}  # fmt: skip
MAX_CRON_CHARACTERS: Final = 200

_PARSED_RECURRENCES: Final = 256
"""Kept as cronsim parses them; each takes up to 20 KiB."""
_KNOWN_RECURRENCES: Final = 16_384
"""The number of recurrences whose next due times are kept: all there can be in a service, and
more."""

_NO_PLACES: Final = ("right", "posix", "posixrules", "localtime", "Factory")
"""Names under which an operating system may keep what is no zone of its own, or is one with leap
seconds, which no clock here counts."""


@dataclass(frozen=True)
class Cron:
    """The times a cron expression gives, on the clocks of a time zone.

    Both have been checked (`check_cron`, `zone`); if they do not hold any more, because a library
    or the operating system has changed, the methods raise ValueError.
    """

    expression: str
    timezone: str

    def after(self, moment: float) -> float | None:
        """The first due time later than `moment`; None if there is none for fifty years."""
        return next(iter(self.following(moment, 1)), None)

    def following(self, moment: float, count: int) -> Sequence[float]:
        """The first `count` due times later than `moment`; fewer if there are no more."""
        known = _known(self.expression, self.timezone)
        since, dues = known.dues
        left = dues[bisect_right(dues, moment) :] if since <= moment else ()
        if len(left) < count and not (left and left[-1] == math.inf):
            left = tuple(islice(self._times(moment), count))
            if len(left) < count:
                left += (math.inf,)
            known.dues = (moment, left)
        return [due for due in left[:count] if due != math.inf]

    def latest(self, count: int, moment: float) -> float | None:
        """The earliest of about the last `count` due times up to `moment`; None: there is none."""
        try:
            earliest = self._parsed().some_back(count, self._clock_at(moment))
            # On the clock it may be a time that was left out or came twice.
            first = None if earliest is None else self.after(earliest.timestamp() - 1)
        except OverflowError:
            return None
        return None if first is None or first > moment else first

    def _times(self, moment: float) -> Iterator[float]:
        latest = moment
        try:
            for due in self._parsed().since(self._clock_at(moment)):
                # Where an hour comes twice, the library begins with the first of the two, and where
                # one is left out, it gives several times the same moment.
                if (found := due.timestamp()) > latest:
                    yield found
                    latest = found
        except OverflowError:
            # Beyond the year 9999.
            return

    def _clock_at(self, moment: float) -> datetime:
        return datetime.fromtimestamp(math.floor(moment), zone(self.timezone))

    def _parsed(self) -> CronTimes:
        try:
            return _parsed(self.expression, self.timezone)
        except CronSimError as error:
            raise ValueError(str(error)) from None


class _Known:
    """Due times of one expression in one time zone that have been found."""

    __slots__ = ("dues",)

    def __init__(self) -> None:
        self.dues: tuple[float, tuple[float, ...]] = (math.inf, ())
        """All those that follow a moment, up to the last; infinity: there are no more. Replaced
        whole, as several threads may come by."""


_known: Final = lru_cache(_KNOWN_RECURRENCES)(lambda _expression, _timezone: _Known())


@lru_cache(_PARSED_RECURRENCES)
def _parsed(expression: str, timezone: str) -> CronTimes:
    return CronTimes(expression, zone(timezone))


@dataclass(frozen=True)
class Every:
    """The times that lie whole periods after `since`."""

    seconds: float
    since: float

    def after(self, moment: float) -> float:
        """The first due time later than `moment`."""
        periods = max(1, math.floor((moment - self.since) / self.seconds))
        while (due := self.since + periods * self.seconds) <= moment:
            periods += 1
        return due

    def following(self, moment: float, count: int) -> Sequence[float]:
        """The first `count` due times later than `moment`."""
        dues: list[float] = []
        for _ in range(count):
            dues.append(self.after(dues[-1] if dues else moment))
        return dues

    def latest(self, count: int, moment: float) -> float | None:
        """The earliest of the last `count` due times up to `moment`; None: there is none."""
        first = self.since + self.seconds
        if first > moment:
            return None
        return max(first, self.after(moment - count * self.seconds))


Recurrence = Cron | Every


def count(recurrence: Recurrence, first: float, end: float, at_most: int) -> int:
    """The number of due times from `first`, which is one, up to `end`, which does not count.

    More than `at_most` are not counted.
    """
    dues = [first, *recurrence.following(first, at_most - 1)]
    return sum(due < end for due in dues)


def check_cron(expression: str) -> None:
    """Accept a cron expression.

    Raises:
        ValueError: it is none; the message says which field is wrong.
    """
    # The library takes a sixth field, of seconds, and reads numbers of any length.
    if len(expression) > MAX_CRON_CHARACTERS:
        raise ValueError(f"a cron expression has at most {MAX_CRON_CHARACTERS} characters")
    fields = len(expression.split())
    if fields != CRON_FIELDS:
        raise ValueError(
            f"a cron expression has {CRON_FIELDS} fields (minute, hour, day of the month, month, "
            f"day of the week), and this has {fields}"
        )
    _check_steps(expression)
    try:
        never = next(CronTimes(expression, UTC), None) is None
    except CronSimError as error:
        raise ValueError(f"{str(error).lower()} in the cron expression {expression!r}") from None
    if never:
        raise ValueError(f"no time ever fits the cron expression {expression!r}")


def check_period(seconds: float) -> None:
    """Accept a period.

    Raises:
        ValueError: it is too short or too long.
    """
    if not MIN_PERIOD_SECONDS <= seconds <= MAX_PERIOD_SECONDS:
        raise ValueError(
            f"a period has {MIN_PERIOD_SECONDS} to {MAX_PERIOD_SECONDS} seconds, not {seconds!r}"
        )


def _check_steps(expression: str) -> None:
    # The library takes any step: "*/61" in the minutes is each hour to it.
    for text, (field, values) in zip(expression.split(), _FIELD_VALUES.items(), strict=True):
        for part in text.split(","):
            step = part.partition("/")[2]
            if step.isdecimal() and int(step) > values:
                raise ValueError(
                    f"the step {step} is too large: the {field} of a cron expression has {values} "
                    f"values, in {expression!r}"
                )


def zone(name: str) -> tzinfo:
    """The time zone of an IANA name.

    Raises:
        ValueError: there is none.
    """
    if name == "UTC":
        # The same, and arithmetic with it is several times faster.
        return UTC
    try:
        if name.partition("/")[0] not in _NO_PLACES:
            return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        # A folder of zones is an OSError, and so is a name longer than files may have.
        pass
    raise ValueError(f"there is no time zone {name!r}; an IANA name such as Europe/Berlin is meant")
