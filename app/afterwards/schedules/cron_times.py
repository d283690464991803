"""The times of a cron expression, each found in few steps, however rare they are.

cronsim says what fits, and what becomes of a time where clocks are put forward or back. It walks to
a rare day through all the others, up to fifty years of them, on every call; here the fitting days
of a month are found once for each of the 28 months there can be, and months without any are passed
over whole.
"""

from __future__ import annotations

import copy
from bisect import bisect_left, bisect_right
from calendar import monthrange
from collections.abc import Iterator, Sequence
from datetime import MAXYEAR, MINYEAR, date, datetime, time, tzinfo
from typing import Final

from cronsim import CronSim

YEARS_LOOKED_AT: Final = 50


class CronTimes(CronSim):
    """Those of one expression in one time zone, from 2000 on.

    Raises:
        CronSimError: it is no expression, or no month has such a day.
    """

    def __init__(self, expression: str, place: tzinfo) -> None:
        super().__init__(expression, datetime(2000, 1, 1, tzinfo=place))
        self._sorted_months = sorted(self.months)
        self._fitting: dict[tuple[int, int], Sequence[int]] = {}
        """The days that fit, by the month's first weekday and its length."""

    def since(self, start: datetime) -> CronTimes:
        """The same from after `start`, which is in its time zone."""
        times = copy.copy(self)
        start = start.replace(microsecond=0)
        times.dt = start.replace(tzinfo=None) if self.fixup_tz else start
        return times

    def some_back(self, count: int, moment: datetime) -> datetime | None:
        """The earliest of the last `count` times up to `moment`; None: there is none.

        It goes by the face of the clock: where clocks were put forward or back in between, it is
        some times off, and may be none of them.
        """
        hours, minutes = sorted(self.hours), sorted(self.minutes)
        a_day = len(hours) * len(minutes)
        today = moment.date()
        last_day, rest = None, count
        if self._day_from(today) == today:
            passed = bisect_left(hours, moment.hour) * len(minutes)
            if moment.hour in self.hours:
                passed += bisect_right(minutes, moment.minute)
            if passed:
                last_day, rest, index = today, count - passed, max(0, passed - count)
        if rest > 0:
            for day in self._days_before(today):
                last_day, index = day, max(0, a_day - rest)
                rest -= a_day
                if rest <= 0:
                    break
        if last_day is None:
            return None
        hour, minute = hours[index // len(minutes)], minutes[index % len(minutes)]
        return datetime.combine(last_day, time(hour, minute), tzinfo=moment.tzinfo)

    # -- cronsim's steps -----------------------------------------------------------------------

    def advance_month(self) -> None:
        """Leave it to `advance_day`."""

    def advance_day(self) -> bool:
        """Go to the first day that fits; False: it is that already."""
        today = self.dt.date()
        found = self._day_from(today)
        if found is None:
            raise StopIteration
        if found == today:
            return False
        self.dt = datetime.combine(found, time(), tzinfo=self.dt.tzinfo)
        return True

    # -- days ----------------------------------------------------------------------------------

    def _day_from(self, day: date) -> date | None:
        days = self._days_of(day.year, day.month)
        index = bisect_left(days, day.day)
        if index < len(days):
            return day.replace(day=days[index])
        for year in range(day.year, min(day.year + YEARS_LOOKED_AT, MAXYEAR) + 1):
            for month in self._sorted_months:
                if (year, month) > (day.year, day.month):
                    days = self._days_of(year, month)
                    if days:
                        return date(year, month, days[0])
        return None

    def _days_before(self, day: date) -> Iterator[date]:
        for year in range(day.year, max(day.year - YEARS_LOOKED_AT, MINYEAR) - 1, -1):
            for month in reversed(self._sorted_months):
                if (year, month) <= (day.year, day.month):
                    for number in reversed(self._days_of(year, month)):
                        found = date(year, month, number)
                        if found < day:
                            yield found

    def _days_of(self, year: int, month: int) -> Sequence[int]:
        if month not in self.months:
            return ()
        kind = monthrange(year, month)
        days = self._fitting.get(kind)
        if days is None:
            numbers = range(1, kind[1] + 1)
            days = [number for number in numbers if self.match_day(date(year, month, number))]
            self._fitting[kind] = days
        return days
