"""The time that ages go by: it follows the wall clock, but not its jumps forward."""

from __future__ import annotations

import pytest

from afterwards.registry.state.ages import DOUBT_SECONDS, JUMP_SECONDS, TrustedTime
from tests.registry.bench import TurnedClock

YEAR = 365 * 86_400.0


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def time(clock: TurnedClock) -> TrustedTime:
    return TrustedTime(clock, 0.0, confirmed=False)


def behind(clock: TurnedClock, time: TrustedTime) -> float:
    """The time by which the clock is behind the wall clock."""
    return round(clock.wall() - time.now(), 3)


def test_it_is_the_wall_clock_while_nobody_sets_that(clock: TurnedClock, time: TrustedTime) -> None:
    clock.turn(10 * YEAR)
    assert behind(clock, time) == 0


def test_a_machine_that_sleeps_does_not_jump(clock: TurnedClock, time: TrustedTime) -> None:
    clock.sleep(YEAR)
    assert behind(clock, time) == 0


def test_corrections_are_followed(clock: TurnedClock, time: TrustedTime) -> None:
    for _ in range(10):
        clock.set_wall(JUMP_SECONDS)
        assert behind(clock, time) == 0
        clock.turn(60.0)


def test_a_jump_is_left_out_until_an_hour_has_passed(
    clock: TurnedClock, time: TrustedTime, capfd: pytest.CaptureFixture[str]
) -> None:
    clock.set_wall(YEAR)
    assert behind(clock, time) == YEAR
    assert "AFTERWARDS_CLOCK_CONFIRMED" in "".join(capfd.readouterr())

    clock.turn(DOUBT_SECONDS - 1)
    assert behind(clock, time) == YEAR
    clock.turn(1)
    assert behind(clock, time) == 0


def test_another_jump_begins_the_hour_anew_and_both_are_left_out(
    clock: TurnedClock, time: TrustedTime
) -> None:
    clock.set_wall(YEAR)
    time.now()
    clock.turn(DOUBT_SECONDS / 2)
    clock.set_wall(100.0)
    assert behind(clock, time) == YEAR + 100

    clock.turn(DOUBT_SECONDS - 1)
    assert behind(clock, time) == YEAR + 100
    clock.turn(1)
    assert behind(clock, time) == 0


def test_a_jump_that_is_taken_back_leaves_nothing_to_doubt(
    clock: TurnedClock, time: TrustedTime
) -> None:
    clock.set_wall(YEAR)
    time.now()
    clock.set_wall(-YEAR)
    assert behind(clock, time) == 0
    clock.turn(DOUBT_SECONDS)
    assert behind(clock, time) == 0


def test_a_jump_back_is_followed_at_once(clock: TurnedClock, time: TrustedTime) -> None:
    clock.set_wall(-YEAR)
    assert behind(clock, time) == 0


def test_a_clock_that_is_confirmed_is_followed_at_once(clock: TurnedClock) -> None:
    time = TrustedTime(clock, clock.wall() - YEAR, confirmed=True)
    clock.set_wall(YEAR)
    assert behind(clock, time) == 0


def test_what_lies_between_two_processes_is_left_out_for_an_hour(clock: TurnedClock) -> None:
    time = TrustedTime(clock, clock.wall() - YEAR, confirmed=False)
    assert behind(clock, time) == YEAR
    clock.turn(DOUBT_SECONDS)
    assert behind(clock, time) == 0


@pytest.mark.parametrize("gap", [JUMP_SECONDS, -YEAR])
def test_a_process_that_begins_at_once_believes_the_clock(clock: TurnedClock, gap: float) -> None:
    assert behind(clock, TrustedTime(clock, clock.wall() - gap, confirmed=False)) == 0
