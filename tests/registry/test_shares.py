"""Workers are told of each other's use of a key, so that a limit holds over all of them."""

from __future__ import annotations

from typing import Any

import pytest

from afterwards.access.key import Key, Limits
from afterwards.access.meters import Left, Meter, Use
from afterwards.registry.protocol.key_requests import CreateKey, RevokeKey, Share
from tests.registry.bench import Bench, FailingNull
from tests.registry.conftest import Reach
from tests.registry.peers import ask, eventually
from tests.registry.test_keys import a_key

RATE = Limits(requests_per_second=0.001, burst=10, streams=5, waits=5)
"""So slow that nothing comes back during a test."""


def created(reach: Reach, limits: Limits = RATE) -> Key:
    key = a_key(limits=limits)
    reach.ask(CreateKey(key))
    return key


def close(level: float, *rest: int) -> Left:
    about: Any = pytest.approx(level, abs=0.1)
    return Left(about, *rest)


# -- the contract: every registry ------------------------------------------------------------------


def test_each_worker_hears_what_all_have_spent(reach: Reach) -> None:
    key, (one, other) = created(reach), (reach.peer(), reach.peer())
    assert one.ask(Share({key.id: Use(4)})) == {key.id: close(6)}
    assert other.ask(Share({key.id: Use(8)})) == {key.id: close(-2)}
    assert one.ask(Share({key.id: Use(0)})) == {key.id: close(-2)}


def test_each_worker_hears_of_the_streams_and_waits_of_the_others(reach: Reach) -> None:
    key, (one, other) = created(reach), (reach.peer(), reach.peer())
    assert one.ask(Share({key.id: Use(0, 2, 1)})) == {key.id: Left(10, 0, 0)}
    assert other.ask(Share({key.id: Use(0, 1, 0)})) == {key.id: Left(10, 2, 1)}
    assert one.ask(Share({}, everything=True)) == {key.id: Left(10, 1, 0)}
    assert other.ask(Share({}, everything=True)) == {}


def test_a_beat_brings_what_the_others_use_before_there_is_any_use(reach: Reach) -> None:
    key, (one, other) = created(reach), (reach.peer(), reach.peer())
    one.ask(Share({key.id: Use(4, 1)}))
    assert other.ask(Share({})) == {}
    assert other.ask(Share({}, everything=True)) == {key.id: close(6, 1, 0)}


def test_the_streams_of_a_dead_worker_are_nobodys(reach: Reach) -> None:
    key, (one, other) = created(reach), (reach.peer(), reach.peer())
    one.ask(Share({key.id: Use(0, 5, 5)}))
    assert other.ask(Share({key.id: Use(0, 1)})) == {key.id: Left(10, 5, 5)}

    reach.kill(one)

    def is_free() -> bool:
        return bool(other.ask(Share({key.id: Use(0, 1)})) == {key.id: Left(10, 0, 0)})

    eventually(is_free, "the streams of a dead worker count no more")


def test_keys_without_limits_are_left_out(reach: Reach) -> None:
    key, peer = created(reach, Limits(pending_tasks=1)), reach.peer()
    assert peer.ask(Share({key.id: Use(4), "none": Use(1)}, everything=True)) == {}


# -- committed by hand -----------------------------------------------------------------------------


def test_a_bucket_fills_at_its_rate_and_takes_no_memory_when_it_is_full(bench: Bench) -> None:
    registry = bench.registry()
    key = a_key(limits=Limits(requests_per_second=2, burst=10))
    ask(registry, CreateKey(key))
    peer = bench.peer(registry)
    assert peer.ask(Share({key.id: Use(30)})) == {key.id: Left(-20)}
    bench.clock.turn(5)
    assert peer.ask(Share({}, everything=True)) == {key.id: Left(-10)}
    assert len(registry.rules.shares) == 1
    bench.clock.turn(10)
    assert peer.ask(Share({}, everything=True)) == {key.id: Left(10)}
    assert len(registry.rules.shares) == 0


def test_what_was_spent_counts_once_though_its_group_is_carried_out_again(bench: Bench) -> None:
    journal = FailingNull()
    registry = bench.registry(journal=journal)
    key = a_key(limits=RATE)
    ask(registry, CreateKey(key))
    peer = bench.peer(registry)
    journal.failures = 1

    reply = peer.exchange(RevokeKey("none"), CreateKey(a_key("b")), Share({key.id: Use(4)}))

    assert reply.answers[-1] == {key.id: close(6)}


@pytest.mark.parametrize("workers", [2, 4])
def test_a_flood_gets_its_burst_and_rate_and_one_share_of_each_worker_more(
    bench: Bench, workers: int
) -> None:
    registry = bench.registry()
    key = a_key(limits=Limits(requests_per_second=20, burst=20))
    ask(registry, CreateKey(key))
    peers = [bench.peer(registry) for _ in range(workers)]
    meters = [Meter(key.limits, bench.clock.elapsed()) for _ in peers]
    let_in, seconds, step = 0, 60, 0.25
    for _ in range(int(seconds / step)):
        bench.clock.turn(step)
        now = bench.clock.elapsed()
        for meter in meters:
            let_in += sum(meter.take(now) == 0 for _ in range(100))
        for peer, meter in zip(peers, meters, strict=True):
            spent, meter.requests = meter.requests, 0
            left = peer.ask(Share({key.id: Use(spent)}))
            meter.hear(left[key.id], bench.clock.elapsed())
    allowed = 20 + 20 * seconds
    assert 0.95 * allowed <= let_in <= allowed + (workers - 1) * 20 + workers * 20 * step
