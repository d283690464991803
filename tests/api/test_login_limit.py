"""The limit of failed logins."""

from __future__ import annotations

import pytest

from afterwards.api.login_limit import BURST, MOST_ADDRESSES, SECONDS_EACH, LoginLimit


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def failed(limit: LoginLimit, address: str | None, times: int = BURST) -> None:
    for _ in range(times):
        limit.failed(address)


def test_ten_failures_are_allowed_at_once_and_one_more_every_six_seconds(clock: Clock) -> None:
    limit = LoginLimit(clock)
    failed(limit, "192.0.2.7", BURST - 1)
    assert limit.wait_seconds("192.0.2.7") == 0.0
    limit.failed("192.0.2.7")
    assert limit.wait_seconds("192.0.2.7") == SECONDS_EACH
    clock.now += SECONDS_EACH
    assert limit.wait_seconds("192.0.2.7") == 0.0
    limit.failed("192.0.2.7")
    assert limit.wait_seconds("192.0.2.7") == SECONDS_EACH
    clock.now += 10 * BURST * SECONDS_EACH
    failed(limit, "192.0.2.7", BURST - 1)
    assert limit.wait_seconds("192.0.2.7") == 0.0


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("192.0.2.7", "192.0.2.8", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.7", "::ffff:192.0.2.7", True),
        (None, "/run/afterwards.sock", True),
        (None, "192.0.2.7", False),
    ],
)
def test_a_holder_of_many_addresses_has_one_bucket(
    clock: Clock, one: str | None, other: str, *, are_one: bool
) -> None:
    limit = LoginLimit(clock)
    failed(limit, one)
    assert (limit.wait_seconds(other) > 0) is are_one


def test_the_memory_is_bounded_and_the_latest_failures_stay(clock: Clock) -> None:
    limit = LoginLimit(clock)
    for number in range(MOST_ADDRESSES + 100):
        limit.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        if number == 50:
            failed(limit, "192.0.2.7")
        elif number % 1_000 == 0:
            limit.failed("192.0.2.7")
    assert len(limit._full_at) == MOST_ADDRESSES
    assert limit.wait_seconds("192.0.2.7") > 0
