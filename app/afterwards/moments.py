"""The moments that timestamps name, as far as they can be shown.

A journal may hold any timestamp: they came from retry policies, clocks and earlier versions.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

LATEST_SHOWN: Final = 253_402_214_400.0
"""9999-12-31: later times are shown as this one, so that every time can be shown in UTC."""


def shown(timestamp: float) -> datetime:
    """The moment of a POSIX timestamp in UTC; the nearest that can be shown, if it cannot."""
    # What lies before 1970 may lie before the year 1 as well, which no datetime can say.
    return datetime.fromtimestamp(min(max(0.0, timestamp), LATEST_SHOWN), UTC)
