"""The waits of a stream for its next connection, without a network or a clock."""

from __future__ import annotations

import httpx
import pytest

from afterwards_client import ConnectionFailed, Retries
from afterwards_client.subscription import Subscription


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def subscription(clock: Clock) -> Subscription:
    return Subscription(None, {}, None, Retries(clock=clock, jitter=lambda _, most: most))


def answer(status: int, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named, request=httpx.Request("GET", "http://service"))


STREAM = {"Content_Type": "text/event-stream"}


def test_it_waits_longer_each_time_until_its_patience_is_at_its_end(
    subscription: Subscription, clock: Clock
) -> None:
    assert [subscription.pause_seconds() for _ in range(3)] == [0.1, 0.2, 0.4]
    clock.now = 31.0
    with pytest.raises(ConnectionFailed):
        subscription.pause_seconds()


def test_any_byte_makes_it_patient_again(subscription: Subscription, clock: Clock) -> None:
    subscription.pause_seconds()
    clock.now = 31.0
    subscription.opened(answer(200, **STREAM))
    assert list(subscription.feed(b":\n")) == []
    assert subscription.pause_seconds() == 0.1


def test_a_stream_that_opens_and_ends_is_no_reason_to_be_patient(
    subscription: Subscription, clock: Clock
) -> None:
    subscription.pause_seconds()
    clock.now = 31.0
    subscription.opened(answer(200, **STREAM))
    with pytest.raises(ConnectionFailed):
        subscription.pause_seconds()


def test_it_comes_back_no_sooner_than_a_refusal_says_and_that_only_once(
    subscription: Subscription,
) -> None:
    assert not subscription.opened(answer(503, Retry_After="7"))
    assert subscription.pause_seconds() == 7.1
    subscription.opened(answer(503))
    assert subscription.pause_seconds() == 0.2


def test_it_comes_back_no_sooner_than_the_stream_says_also_later(
    subscription: Subscription,
) -> None:
    subscription.opened(answer(200, **STREAM))
    list(subscription.feed(b"retry: 2000\n\n"))
    assert subscription.pause_seconds() == 2.1
    subscription.opened(answer(200, **STREAM))
    assert subscription.pause_seconds() == 2.2


def test_the_position_outlives_a_connection_that_brought_nothing(
    subscription: Subscription,
) -> None:
    subscription.opened(answer(200, **STREAM))
    list(subscription.feed(b"id: e-1\n\n"))
    subscription.opened(answer(200, **STREAM))
    assert subscription.call().headers["Last-Event-ID"] == "e-1"
