"""Times as JSON and queries have them: RFC 3339, with an offset."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from afterwards.moments import LATEST_SHOWN, shown

EXAMPLE_TIME: Final = "2026-11-21T10:00:00.000000+00:00"

_RFC_3339: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?", re.IGNORECASE | re.ASCII
)


def parse_time(value: object) -> float:
    """An RFC 3339 time as seconds since 1970, no later than `LATEST_SHOWN`.

    Raises:
        ValueError: it is none, or does not say of which zone it is.
    """
    found = _RFC_3339.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"must be a time like {EXAMPLE_TIME}")
    if found[2] is None:
        raise ValueError("must end with its offset from UTC, such as Z or +01:00")
    try:
        moment = datetime.fromisoformat(found[0].upper())
    except ValueError as error:
        raise ValueError(f"is no time: {error}") from None
    return min(max(0.0, moment.timestamp()), LATEST_SHOWN)


def parse_query_time(value: object) -> float:
    """The same in a query, where a plus sign that was not escaped arrives as a space."""
    if isinstance(value, str):
        value = re.sub(r" (?=\d\d:\d\d\Z)", "+", value)
    return parse_time(value)


def shown_time(seconds: float) -> str:
    """A time as all answers have it; one that cannot be shown, as the nearest that can."""
    return shown(seconds).isoformat(timespec="microseconds")


def as_shown(seconds: float | None) -> float | None:
    """A limit that cuts between stored times as it would between the times as they are shown.

    Those are rounded to microseconds; what is shown as equal to a limit is then not below it.
    """
    return None if seconds is None else seconds - 0.5e-6
