"""A worker's bucket for a key: spent without asking, and brought to the level of all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from afterwards.access.key import Limits
from afterwards.access.meters import SHARE_SECONDS, Left, Meter, Meters, Use, capacity
from afterwards.access.roles import Role
from tests.access.holders import holder

RATE = Limits(requests_per_second=10, burst=3)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def taken(meter: Meter, now: float, tries: int = 50) -> int:
    return sum(meter.take(now) == 0 for _ in range(tries))


def test_a_burst_is_let_in_at_once_and_then_the_rate() -> None:
    meter = Meter(RATE, 0.0)
    assert taken(meter, 0.0) == 3
    assert meter.take(0.0) == pytest.approx(0.1)
    assert taken(meter, 0.25) == 2
    assert taken(meter, 100.0) == 3


def test_refusals_spend_nothing() -> None:
    meter = Meter(RATE, 0.0)
    assert taken(meter, 0.0, tries=1_000) == 3
    assert (meter.requests, taken(meter, 0.1)) == (3, 1)


@pytest.mark.parametrize(
    ("limits", "level"),
    [
        (Limits(requests_per_second=2.5), 3),
        (Limits(requests_per_second=0.1), 1),
        (Limits(requests_per_second=5, burst=0), 1),
        (RATE, 3),
    ],
)
def test_a_bucket_has_the_burst_or_one_seconds_requests_and_at_least_one(
    limits: Limits, level: int
) -> None:
    assert capacity(limits) == level
    assert taken(Meter(limits, 0.0), 0.0) == level


def test_a_meter_goes_on_from_the_level_of_all() -> None:
    meter = Meter(RATE, 0.0)
    meter.take(0.0)
    meter.hear(Left(-2.0), 1.0)
    # The one that was not told is not in what all have spent.
    assert meter.take(1.0) == pytest.approx(0.4)
    assert taken(meter, 1.41) == 1


def test_what_is_spent_is_told_once_and_not_more_often_than_it_has_to() -> None:
    clock = Clock()
    meters, key = Meters(clock), holder(limits=RATE).key
    meters.renew([key])
    meters.by_key[key.id].take(clock.now)
    assert meters.news(beat=False) == {key.id: Use(1)}
    meters.by_key[key.id].take(clock.now)
    assert meters.news(beat=False) is None
    clock.now += SHARE_SECONDS
    assert meters.news(beat=False) == {key.id: Use(1)}
    clock.now += SHARE_SECONDS
    assert meters.news(beat=False) is None
    assert meters.news(beat=True) == {}


def test_an_end_of_a_stream_is_news() -> None:
    clock = Clock()
    meters, key = Meters(clock), holder(limits=Limits(streams=1)).key
    meters.renew([key])
    for streams, news in [(1, {key.id: Use(0, 1)}), (0, {})]:
        meters.by_key[key.id].streams = streams
        clock.now += SHARE_SECONDS
        assert meters.news(beat=False) == news
        clock.now += SHARE_SECONDS
        assert meters.news(beat=False) is None


def test_only_keys_with_limits_that_workers_watch_have_meters() -> None:
    meters = Meters()
    meters.renew([holder(Role.VIEWER).key, holder(limits=Limits(pending_tasks=1)).key])
    assert meters.by_key == {}
    assert meters.news(beat=True) is None


def test_a_new_ring_leaves_what_was_used_and_brings_new_limits() -> None:
    meters, key = Meters(Clock()), holder(limits=RATE).key
    meters.renew([key])
    before = meters.by_key[key.id]
    before.streams = 2
    meters.renew([replace(key, limits=Limits(requests_per_second=1, burst=1))])
    assert meters.by_key[key.id] is before
    assert (before.streams, taken(before, 100.0)) == (2, 1)
    meters.renew([])
    assert meters.by_key == {}


def test_news_of_a_key_that_is_gone_are_passed_over() -> None:
    Meters().hear({"gone": Left(1.0)})
