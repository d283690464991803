"""Times as the service writes them: RFC 3339, in UTC."""

from __future__ import annotations

from datetime import datetime


def optional_time(text: str | None) -> datetime | None:
    """The time, aware of its offset, if there is one.

    Raises:
        TypeError, ValueError: it is none.
    """
    return None if text is None else datetime.fromisoformat(text)
