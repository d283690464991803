"""Times as answers have them: whatever is stored can be shown."""

from __future__ import annotations

import math

import pytest

from afterwards.api.times import shown_time


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        (0.0, "1970-01-01T00:00:00.000000+00:00"),
        (-1e300, "1970-01-01T00:00:00.000000+00:00"),
        (1e300, "9999-12-31T00:00:00.000000+00:00"),
        (math.inf, "9999-12-31T00:00:00.000000+00:00"),
        (math.nan, "1970-01-01T00:00:00.000000+00:00"),
        (1.5, "1970-01-01T00:00:01.500000+00:00"),
    ],
)
def test_every_time_can_be_shown(stored: float, shown: str) -> None:
    assert shown_time(stored) == shown
