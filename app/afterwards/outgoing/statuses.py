"""The meaning of an answer's status for another try, and `Retry-After`."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from afterwards.outgoing.calls import Answer

MAX_RETRY_AFTER_SECONDS: Final = 3_600.0
"""A server cannot put a task off for longer."""

_PASSING: Final = frozenset({408, 425, 429})


def is_success(status: int) -> bool:
    """True for 2xx."""
    return 200 <= status < 300


def is_passing(status: int) -> bool:
    """True if the same request may succeed later: 408, 425, 429 and 5xx."""
    return status in _PASSING or 500 <= status < 600


def named(status: int) -> str:
    """The status with its reason phrase, such as `404 Not Found`."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def retry_after_seconds(
    answer: Answer, now: float, *, most: float = MAX_RETRY_AFTER_SECONDS
) -> float | None:
    """The seconds that `Retry-After` asks for, from 0 to `most` (RFC 9110, 10.2.3).

    Args:
        now: in seconds since 1970, for a date.

    Returns:
        None: there is no such header, or it is neither a number of seconds nor a date.
    """
    value = (answer.header("retry-after") or "").strip()
    if value.isascii() and value.isdigit():
        # A number of any length; more than ten digits are as good as ten.
        seconds = float(value[:10])
    else:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        # An HTTP date is in UTC; one without a zone is taken for one, too.
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    return min(max(0.0, seconds), most)
