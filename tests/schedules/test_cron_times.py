"""The times of a cron expression: those of cronsim, in few steps."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import given
from hypothesis import strategies as st

from afterwards.schedules.cron_times import CronTimes
from afterwards.schedules.recurrence import Cron

NEVER = "0 0 */31 * 1#5"
EVERY_28_YEARS = "0 0 * 2 1#5"

expressions = st.tuples(
    st.sampled_from(["0 0", "30 2", "59,0 23", "* 2", "*/20 */5", "15 *", "0,30 1,3"]),
    st.sampled_from(["*", "*/31", "*/7", "1", "29", "30,31", "L", "LW", "8,15", "31"]),
    st.sampled_from(["*", "2", "3,10", "*/5", "12"]),
    st.sampled_from(["*", "0", "1-5", "1#5", "5L", "*/7", "0#2", "1#1,3#5"]),
).map(" ".join)


@given(
    expressions,
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 - it gets a zone
)
def test_they_are_those_of_the_library(expression: str, place: str, start: datetime) -> None:
    start = start.replace(tzinfo=UTC if place == "UTC" else ZoneInfo(place))
    try:
        expected = list(islice(CronSim(expression, start), 4))
    except CronSimError:
        with pytest.raises(CronSimError):
            CronTimes(expression, start.tzinfo or UTC)
        return
    assert list(islice(CronTimes(expression, start.tzinfo or UTC).since(start), 4)) == expected


@pytest.mark.parametrize("expression", [NEVER, EVERY_28_YEARS, "0 0 29 2 */7", "59 23 L 12 1#5"])
def test_however_rare_the_days_are_each_kind_of_month_is_looked_through_once(
    expression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[date] = []
    match_day = CronSim.match_day

    def counted(self: CronSim, day: date) -> bool:
        looked_at.append(day)
        return match_day(self, day)

    monkeypatch.setattr(CronSim, "match_day", counted)
    times = CronTimes(expression, UTC)
    for start in (2020, 2030, 2050):
        list(islice(times.since(datetime(start, 1, 1, tzinfo=UTC)), 3))
        times.some_back(1_000, datetime(start, 1, 1, tzinfo=UTC))

    assert 0 < len(looked_at) <= 7 * (28 + 29 + 30 + 31)


def test_a_time_that_is_known_is_not_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cron = Cron("17 3 * * *", "Europe/Berlin")
    first, second, third = cron.following(1_800_000_000.0, 3)
    monkeypatch.setattr(CronSim, "advance", lambda _: pytest.fail("it is looked for"))

    assert cron.following(1_800_000_000.0, 3) == [first, second, third]
    assert cron.following(first - 1, 3) == [first, second, third]
    assert cron.following(first, 2) == [second, third]
    assert cron.after(second) == third


def test_that_there_are_no_more_is_known_too(monkeypatch: pytest.MonkeyPatch) -> None:
    # The clocks of New York leave that hour out.
    cron = Cron("* 2 * 3 0#2", "America/New_York")
    assert cron.after(1_800_000_000.0) is None
    monkeypatch.setattr(CronSim, "advance", lambda _: pytest.fail("it is looked for"))

    assert cron.following(1_800_000_001.0, 5) == []


@pytest.mark.parametrize(
    ("count", "expected"), [(1, "04T09:30"), (4, "04T00:00"), (5, "03T09:30"), (10, "02T09:00")]
)
def test_some_back_is_counted_over_the_days(count: int, expected: str) -> None:
    moment = datetime(2026, 6, 4, 9, 45, tzinfo=UTC)
    back = CronTimes("0,30 0,9 2-4 * *", UTC).some_back(count, moment)

    assert back == datetime.fromisoformat(f"2026-06-{expected}+00:00")


def test_there_may_be_fewer_back_than_asked_for_or_none() -> None:
    moment = datetime(2026, 6, 4, tzinfo=UTC)

    assert CronTimes(EVERY_28_YEARS, UTC).some_back(9, moment) == datetime(1988, 2, 29, tzinfo=UTC)
    assert CronTimes(NEVER, UTC).some_back(9, moment) is None
