"""Due times: where clocks are put forward and back, and what is no recurrence."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterwards.schedules.recurrence import Cron, Every, check_cron, count, zone

BERLIN = "Europe/Berlin"


def at(text: str, zone_name: str = BERLIN, fold: int = 0) -> float:
    local = datetime.fromisoformat(text).replace(fold=fold)
    return (local if local.tzinfo else local.replace(tzinfo=ZoneInfo(zone_name))).timestamp()


def following(recurrence: Cron | Every, moment: float, number: int) -> list[str]:
    """The next due times, on the clocks of Berlin."""
    found: list[str] = []
    due: float | None = moment
    for _ in range(number):
        assert due is not None
        due = recurrence.after(due)
        assert due is not None
        found.append(datetime.fromtimestamp(due, ZoneInfo(BERLIN)).isoformat())
    return found


@pytest.mark.parametrize(
    ("expression", "start", "expected"),
    [
        # Clocks go from 2 to 3: what falls into the hour that is left out is done at its end.
        ("30 2 * * *", "2026-03-28T12:00", ["29T03:00:00+02:00", "30T02:30:00+02:00"]),
        ("0,30 2 * * *", "2026-03-28T12:00", ["29T03:00:00+02:00", "30T02:00:00+02:00"]),
        ("*/30 * * * *", "2026-03-29T01:00", ["29T01:30:00+01:00", "29T03:00:00+02:00"]),
        ("0 6 * * *", "2026-03-28T12:00", ["29T06:00:00+02:00", "30T06:00:00+02:00"]),
        # Clocks go from 3 to 2: what has an hour comes once, in the first of the two, and what
        # comes every hour goes on through both.
        ("30 2 * * *", "2026-10-24T12:00", ["25T02:30:00+02:00", "26T02:30:00+01:00"]),
        ("30 * * * *", "2026-10-25T02:00", ["25T02:30:00+02:00", "25T02:30:00+01:00"]),
        ("0 6 * * *", "2026-10-24T12:00", ["25T06:00:00+01:00", "26T06:00:00+01:00"]),
    ],
)
def test_a_cron_time_is_of_its_time_zone_when_clocks_are_put_forward_and_back(
    expression: str, start: str, expected: list[str]
) -> None:
    found = following(Cron(expression, BERLIN), at(start), len(expected))

    assert [due[len("2026-10-") :] for due in found] == expected


def test_in_the_second_of_two_equal_hours_nothing_is_due_again() -> None:
    second = at("2026-10-25T02:15", fold=1)

    assert following(Cron("30 2 * * *", BERLIN), second, 1) == ["2026-10-26T02:30:00+01:00"]


@pytest.mark.parametrize("moment", [59.9999999, 0.0, 59.0, 30.5])
def test_the_next_due_time_is_the_next_one_to_a_fraction_of_a_second(moment: float) -> None:
    assert Cron("* * * * *", "UTC").after(moment) == 60.0


def test_a_due_time_is_not_followed_by_itself() -> None:
    assert Cron("* * * * *", "UTC").after(60.0) == 120.0
    assert Every(60.0, 0.0).after(60.0) == 120.0


@given(
    st.sampled_from(["* * * * *", "30 2 * * *", "0,30 2,3 * * *", "15 */2 * * *", "0 0 * * 1"]),
    st.sampled_from([BERLIN, "America/Havana", "UTC"]),
    st.floats(at("2026-01-01T00:00"), at("2027-01-01T00:00")),
)
def test_due_times_grow_wherever_one_begins(expression: str, place: str, moment: float) -> None:
    cron = Cron(expression, place)
    dues = [moment]
    for _ in range(30):
        due = cron.after(dues[-1])
        assert due is not None
        dues.append(due)

    assert all(earlier < later for earlier, later in pairwise(dues))
    for earlier, later in pairwise(dues[1:]):
        # From just before and from in between, it is the same one.
        assert cron.after(later - 1e-6) == later
        assert cron.after((earlier + later) / 2) == later


def test_a_period_is_counted_from_its_beginning() -> None:
    every = Every(90.0, 1_000.5)

    assert every.after(0.0) == every.after(1_000.5) == 1_090.5
    assert every.after(1_090.5) == 1_180.5
    assert every.after(1_750_000_000.0) - 1_000.5 == pytest.approx(90.0 * 19_444_434, abs=1e-3)


@given(st.floats(1.0, 1e6), st.floats(0, 1e9), st.floats(0, 1e7))
def test_a_period_leaves_none_out(seconds: float, since: float, later: float) -> None:
    every = Every(seconds, since)
    due = every.after(since + later)

    assert since + later < due <= since + later + seconds * 1.000001 + 1e-6
    assert every.after(due) > due


@pytest.mark.parametrize(
    "recurrence", [Cron("* * * * *", BERLIN), Every(60.0, 0.0)], ids=["cron", "every"]
)
def test_the_latest_times_are_the_last_so_many(recurrence: Cron | Every) -> None:
    moment = at("2026-06-01T12:00:30")

    assert recurrence.latest(10, moment) == at("2026-06-01T11:51:00")
    assert recurrence.latest(1, at("2026-06-01T12:00")) == at("2026-06-01T12:00")


def test_before_its_first_period_there_are_no_latest_times() -> None:
    assert Every(60.0, 100.0).latest(10, 159.0) is None
    assert Every(60.0, 100.0).latest(10, 160.0) == 160.0
    assert Every(60.0, 100.0).latest(10, 300.0) == 160.0


@pytest.mark.parametrize("hour", range(6))
def test_the_latest_times_are_due_times_also_where_clocks_were_set(hour: int) -> None:
    for day in ("2026-03-29", "2026-10-25"):
        for expression in ("30 2 * * *", "*/15 * * * *", "0 1-4 * * *"):
            cron, moment = Cron(expression, BERLIN), at(f"{day}T{hour:02}:10")
            latest = cron.latest(3, moment)
            assert latest is None or latest <= moment
            assert latest is None or cron.after(latest - 1) == latest


def test_due_times_are_counted_up_to_a_bound() -> None:
    assert count(Every(60.0, 0.0), 60.0, 600.0, 100) == 9
    assert count(Every(60.0, 0.0), 60.0, 1e9, 100) == 100


def test_a_time_that_is_too_far_is_none() -> None:
    assert Cron("0 0 1 1 *", "UTC").after(at("9999-06-01T00:00", "UTC")) is None


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("61 * * * *", "bad minute"),
        ("* * * *", "has 4"),
        ("* * * * * *", "has 6"),
        ("@daily", "has 1"),
        ("", "has 0"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("0 0 * * MON#6", "bad day-of-week"),
        ("9" * 5_000 + " * * * *", "at most 200"),
        ("* * * * ²L", "bad day-of-week"),
        ("*/61 * * * *", "step 61 is too large: the minute .* 60 values"),
        ("0 1,2-20/25 * * *", "step 25 is too large: the hour"),
        ("0 0 */32 * *", "the day of the month"),
        ("0 0 1 */13 *", "the month"),
        ("0 0 * * */8", "the day of the week"),
    ],
)
def test_what_is_no_cron_expression_is_refused_by_name(expression: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check_cron(expression)


@given(st.lists(st.text("0123456789*/,-#LWMONSU²", max_size=8), min_size=5, max_size=5))
def test_every_text_is_an_expression_or_refused(fields: list[str]) -> None:
    try:
        check_cron(" ".join(fields))
    except ValueError:
        return
    assert (Cron(" ".join(fields), BERLIN).after(at("2026-01-01T00:00")) or 1e12) > 0


@pytest.mark.parametrize(
    "name",
    ["Europe", "Mars/Base", "", "../etc/passwd", "/etc/localtime", "x" * 300, "a\0b", "localtime",
     "right/UTC", "posix/Europe/Berlin", "zone.tab", "europe/berlin", "\ud800"],
)  # fmt: skip
def test_what_is_no_time_zone_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match="there is no time zone"):
        zone(name)


@pytest.mark.parametrize("name", ["UTC", BERLIN, "Etc/GMT+3", "America/Argentina/Ushuaia"])
def test_a_time_zone_is_found(name: str) -> None:
    assert zone(name).utcoffset(datetime(2026, 1, 1)) is not None  # noqa: DTZ001 - it is asked for
