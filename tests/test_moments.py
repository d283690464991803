from __future__ import annotations

import math

import pytest

from afterwards.moments import LATEST_SHOWN, shown


@pytest.mark.parametrize(
    ("timestamp", "moment"),
    [
        (1.25, "1970-01-01T00:00:01.250000+00:00"),
        (-1e300, "1970-01-01T00:00:00+00:00"),
        (math.nan, "1970-01-01T00:00:00+00:00"),
        (LATEST_SHOWN, "9999-12-31T00:00:00+00:00"),
        (math.inf, "9999-12-31T00:00:00+00:00"),
    ],
)
def test_every_timestamp_has_a_moment_that_can_be_shown(timestamp: float, moment: str) -> None:
    assert shown(timestamp).isoformat() == moment
