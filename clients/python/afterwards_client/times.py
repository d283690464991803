"""Times and durations as the service writes and takes them: RFC 3339 in UTC, and seconds."""

from __future__ import annotations

from datetime import datetime, timedelta


def optional_time(text: str | None) -> datetime | None:
    """The time, aware of its offset, if there is one.

    Raises:
        TypeError, ValueError: it is none.
    """
    return None if text is None else datetime.fromisoformat(text)


def seconds_of(duration: float | timedelta | None) -> float | None:
    """A duration as the service takes it."""
    return duration.total_seconds() if isinstance(duration, timedelta) else duration
