"""Times as people write them at a command.

| written | is |
|---|---|
| `2027-01-31T08:00:00+01:00`, `2026-11-01 10:30`, `2026-11-01` | that time; a day is its midnight |
| `10:30`, `10:30:15` | that time of the day: the last one, or the next one |
| `today`, `yesterday`, `tomorrow` | midnight of that day; `yesterday 10:30` is later |
| `2h`, `1h30m`, `90s`, `3d`, `2w` | so long ago, or from now on |
| `now` | now |

Times without an offset are local. Options that choose tasks look back: to the last 10:30, and to
two hours ago. Options for the start of a task look ahead.
"""

from __future__ import annotations

import argparse
import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

_SECONDS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION: Final = re.compile(r"(\d+[wdhms])+", re.ASCII)
_CLOCK: Final = re.compile(r"\d{1,2}:\d\d(:\d\d)?", re.ASCII)
_DAYS: Final = {"yesterday": -1, "today": 0, "tomorrow": 1}


def past(text: str) -> datetime:
    """The time that an option means that looks back.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    return _checked(text, looks_ahead=False)


def future(text: str) -> datetime:
    """The time that an option means that looks ahead.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    return _checked(text, looks_ahead=True)


def time_of(text: str, now: datetime, *, looks_ahead: bool) -> datetime:
    """The time, aware of its offset.

    Args:
        now: in the local zone.

    Raises:
        ValueError, OverflowError: it is none.
    """
    word = text.lower()
    if word == "now":
        return now
    if _DURATION.fullmatch(text):
        length = _duration(text)
        return (now + length if looks_ahead else now - length).astimezone()
    if _CLOCK.fullmatch(text):
        return _nearest(_clock(text), now, looks_ahead=looks_ahead)
    day, _, clock = word.partition(" ")
    if day in _DAYS:
        at = _clock(clock) if clock else time()
        return _local(now.date() + timedelta(days=_DAYS[day]), at)
    return datetime.fromisoformat(text).astimezone()


def _checked(text: str, *, looks_ahead: bool) -> datetime:
    now = datetime.now(UTC).astimezone()
    try:
        return time_of(text.strip(), now, looks_ahead=looks_ahead)
    except (ValueError, OverflowError):
        examples = "2h, 10:30, yesterday, 2026-11-01 or 2027-01-31T08:00:00+01:00"
        raise argparse.ArgumentTypeError(f"must be a time like {examples} (got {text!r})") from None


def _duration(text: str) -> timedelta:
    parts = re.findall(r"(\d+)([wdhms])", text, re.ASCII)
    return timedelta(seconds=sum(int(number) * _SECONDS[unit] for number, unit in parts))


def _nearest(at: time, now: datetime, *, looks_ahead: bool) -> datetime:
    today = _local(now.date(), at)
    if looks_ahead:
        return today if today > now else _local(now.date() + timedelta(days=1), at)
    return today if today <= now else _local(now.date() - timedelta(days=1), at)


def _clock(text: str) -> time:
    if not _CLOCK.fullmatch(text):
        raise ValueError(text)
    return time.fromisoformat(text if text[2] == ":" else f"0{text}")


def _local(day: date, at: time) -> datetime:
    # By the clock on the wall of that day, which may be another offset than today's.
    return datetime.combine(day, at).astimezone()
