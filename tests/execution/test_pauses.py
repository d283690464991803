"""A kind rests for longer from time to time while something is short, and says so once."""

from __future__ import annotations

import time

import pytest
from structlog.testing import capture_logs

from afterwards.execution.pauses import LONGEST_SECONDS, OVER_SECONDS, Pauses


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def rest_of(pauses: Pauses, clock: Clock) -> float:
    """The rest of a kind that rests now."""
    began = clock.now
    while pauses.is_resting("process"):
        clock.now += 0.5
    return clock.now - began


def test_each_pause_of_a_shortage_is_twice_the_last_up_to_a_limit(clock: Clock) -> None:
    pauses = Pauses()
    rests = []
    for _ in range(6):
        pauses.begin("process", "no descriptors")
        rests.append(rest_of(pauses, clock))

    assert rests == [1, 2, 4, 8, 8, 8]


def test_more_that_starves_during_a_pause_does_not_prolong_it(clock: Clock) -> None:
    pauses = Pauses()
    pauses.begin("process", "no descriptors")
    clock.now += 0.5
    for _ in range(100):
        pauses.begin("process", "no descriptors")

    assert rest_of(pauses, clock) == 0.5


def test_kinds_rest_by_themselves(clock: Clock) -> None:
    pauses = Pauses()
    pauses.begin("thread", "no threads")

    assert [pauses.is_resting(kind) for kind in ("thread", "process")] == [True, False]


def test_a_shortage_is_logged_once_and_the_next_one_again(clock: Clock) -> None:
    pauses = Pauses()
    with capture_logs() as lines:
        for _ in range(100):
            pauses.begin("process", "no descriptors")
            clock.now += LONGEST_SECONDS
    assert [(line["log_level"], line["executor"], line["reason"]) for line in lines] == [
        ("warning", "process", "no descriptors")
    ]

    clock.now += OVER_SECONDS
    with capture_logs() as lines:
        pauses.begin("process", "no descriptors")
    assert len(lines) == 1
    assert rest_of(pauses, clock) == 1
