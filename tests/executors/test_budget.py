from __future__ import annotations

from collections.abc import Callable

import pytest

from afterwards_executors import budget
from afterwards_executors.budget import BURST_BYTES, BYTES_A_SECOND, Budget


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Turns the clock by so many seconds."""
    now = [0.0]
    monkeypatch.setattr(budget, "monotonic", lambda: now[0])

    def pass_time(seconds: float) -> None:
        now[0] += seconds

    return pass_time


@pytest.mark.usefixtures("pass_time")
def test_a_burst_passes_and_what_goes_beyond_is_counted_once() -> None:
    lines = Budget()

    assert lines.take(BURST_BYTES)
    assert not lines.take(1)
    assert not lines.take(1)
    assert lines.gap() == "2 lines before this one were dropped: too many at once"
    assert lines.gap() is None


def test_so_much_a_second_passes_from_then_on(pass_time: Callable[[float], None]) -> None:
    lines = Budget()
    lines.take(BURST_BYTES)
    pass_time(0.5)

    assert lines.take(BYTES_A_SECOND // 2)
    assert not lines.take(1)


def test_what_is_not_used_is_no_more_than_a_burst(pass_time: Callable[[float], None]) -> None:
    lines = Budget()
    pass_time(3600.0)

    assert lines.take(BURST_BYTES)
    assert not lines.take(1)
