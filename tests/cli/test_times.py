"""Times as people write them, on a fixed day in a zone with summer time."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from afterwards.cli.times import future, past, time_of


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = os.environ.get("TZ")
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    if before is None:
        monkeypatch.delenv("TZ")
    else:
        monkeypatch.setenv("TZ", before)
    time.tzset()


@pytest.fixture
def now() -> datetime:
    # Two days after the clocks went back.
    return datetime.fromisoformat("2026-10-27T09:15:30").astimezone()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", "2026-10-27T09:15:30+01:00"),
        ("90s", "2026-10-27T09:14:00+01:00"),
        ("2h", "2026-10-27T07:15:30+01:00"),
        ("1h30m", "2026-10-27T07:45:30+01:00"),
        ("3d", "2026-10-24T10:15:30+02:00"),
        ("1w", "2026-10-20T10:15:30+02:00"),
        ("today", "2026-10-27T00:00:00+01:00"),
        ("Yesterday", "2026-10-26T00:00:00+01:00"),
        ("yesterday 9:30", "2026-10-26T09:30:00+01:00"),
        ("tomorrow", "2026-10-28T00:00:00+01:00"),
        ("08:00", "2026-10-27T08:00:00+01:00"),
        ("09:15:30", "2026-10-27T09:15:30+01:00"),
        ("23:00", "2026-10-26T23:00:00+01:00"),
        ("2026-10-01", "2026-10-01T00:00:00+02:00"),
        ("2026-11-01", "2026-11-01T00:00:00+01:00"),
        ("2026-11-01 10:30", "2026-11-01T10:30:00+01:00"),
        ("2026-11-01T10:30:00Z", "2026-11-01T10:30:00+00:00"),
        ("2027-01-31T08:00:00-05:00", "2027-01-31T08:00:00-05:00"),
    ],
)
def test_a_time_is_looked_back_to(text: str, expected: str, now: datetime) -> None:
    found = time_of(text, now, looks_ahead=False)
    assert found == datetime.fromisoformat(expected)
    assert found.tzinfo is not None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", "2026-10-27T11:15:30+01:00"),
        ("08:00", "2026-10-28T08:00:00+01:00"),
        ("09:15:30", "2026-10-28T09:15:30+01:00"),
        ("23:00", "2026-10-27T23:00:00+01:00"),
        ("tomorrow 6:00", "2026-10-28T06:00:00+01:00"),
        ("2026-11-01", "2026-11-01T00:00:00+01:00"),
    ],
)
def test_a_time_is_looked_ahead_to(text: str, expected: str, now: datetime) -> None:
    assert time_of(text, now, looks_ahead=True) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "2", "h", "2 h", "-2h", "24:00", "10:60", "yesterday soon", "2026-13-01",
     "99999999999d", "9999999999999999999999w", "0001-01-01", "٢h"],
)  # fmt: skip
def test_what_is_no_time_is_said_to_be_none(text: str) -> None:
    for read in (past, future):
        with pytest.raises(argparse.ArgumentTypeError, match="must be a time like 2h, 10:30"):
            read(text)


def test_now_is_the_clock_s() -> None:
    assert timedelta() <= past("now") - past("1s") < timedelta(minutes=1)
    assert future("1h") > past("now")
