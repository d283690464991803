"""Somebody sets the machine's clock: no task is lost, doubled or held up."""

from __future__ import annotations

import pytest

from afterwards.lifecycle import Task, TaskState
from afterwards.registry.protocol.base import LEASE_SECONDS
from afterwards.registry.protocol.requests import Add
from afterwards.registry.state.retention import PAUSE_SECONDS, STEP_PAUSE_SECONDS
from tests.registry.bench import Bench
from tests.registry.conftest import bench, processes
from tests.registry.peers import ask, get

__all__ = ["bench", "processes"]

HOUR_SECONDS = 3_600.0

back_or_forward = pytest.mark.parametrize("by_seconds", [-HOUR_SECONDS, HOUR_SECONDS])


@back_or_forward
def test_what_runs_goes_on_under_its_lease(bench: Bench, by_seconds: float) -> None:
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry)
    claim = peer.run(bench.task())
    bench.clock.set_wall(by_seconds)
    registry.tick()
    assert get(registry, claim.task_id).attempt == 1
    assert peer.take() == []

    bench.clock.turn(LEASE_SECONDS - 0.1)
    registry.tick()
    assert get(registry, claim.task_id).state is TaskState.PROCESSING
    assert peer.succeed(claim) is None
    assert get(registry, claim.task_id).state is TaskState.SUCCESS


@back_or_forward
def test_a_silent_worker_loses_its_tasks_no_sooner_and_no_later(
    bench: Bench, by_seconds: float
) -> None:
    registry = bench.registry()
    claim = bench.peer(registry).run(bench.task())
    bench.clock.set_wall(by_seconds)
    bench.clock.turn(LEASE_SECONDS + 0.1)
    registry.tick()
    task = get(registry, claim.task_id)
    assert (task.state, task.lost_attempts) == (TaskState.PENDING, 1)


@back_or_forward
def test_a_backoff_waits_exactly_its_delay(bench: Bench, by_seconds: float) -> None:
    registry = bench.registry()
    peer = bench.peer(registry)
    claim = peer.run(bench.task())
    peer.fail(claim, retry_in=5.0)
    bench.clock.set_wall(by_seconds)
    bench.clock.turn(4.9)
    peer.beat()
    assert peer.take() == []

    bench.clock.turn(0.2)
    peer.beat()
    assert [(again.task_id, again.attempt) for again in peer.table.values()] == [(claim.task_id, 2)]


@back_or_forward
def test_a_backoff_is_not_prolonged_by_a_clock_that_was_set_while_everything_was_down(
    bench: Bench, by_seconds: float
) -> None:
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry)
    claim = peer.run(bench.task())
    peer.fail(claim, retry_in=5.0)
    journal = bench.crash()
    bench.clock.set_wall(by_seconds)
    registry = bench.registry(journal=journal)
    bench.clock.turn(5.1)
    again = bench.peer(registry).table.values()
    assert [(c.task_id, c.attempt) for c in again] == [(claim.task_id, 2)]


@back_or_forward
def test_tasks_that_wait_keep_their_order_and_new_ones_come_after_them(
    bench: Bench, by_seconds: float
) -> None:
    registry = bench.registry()
    adder = bench.peer(registry, slots={})
    tasks = [bench.task() for _ in range(2)]
    adder.add(*tasks)
    bench.clock.set_wall(by_seconds)
    tasks.append(bench.task())
    adder.add(tasks[-1])
    claims = bench.peer(registry, slots={"async": 3}).table
    assert list(claims) == [task.id for task in tasks]


def test_a_clock_that_is_set_forward_deletes_nothing_and_keys_stay_known(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal(), retention_seconds=HOUR_SECONDS)
    peer = bench.peer(registry)
    task = bench.task(idempotency_key="order-1", fingerprint=b"1")
    peer.succeed(peer.run(task))
    bench.clock.set_wall(1_000 * HOUR_SECONDS)
    bench.clock.turn(PAUSE_SECONDS)
    for _ in range(3):
        registry.tick()
        bench.clock.turn(STEP_PAUSE_SECONDS)

    first = ask(registry, Add(bench.task(idempotency_key="order-1", fingerprint=b"1")))

    assert isinstance(first, Task)
    assert first.id == task.id
