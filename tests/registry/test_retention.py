"""Retention: deleted after their time, a few at once, counted, remembered for as long again."""

from __future__ import annotations

import pytest

from afterwards.errors import TaskDeleted, TaskNotFound
from afterwards.lifecycle import Task, TaskState
from afterwards.registry.protocol.requests import (
    Add,
    Cancel,
    Get,
    Probe,
    Retry,
    Scrape,
    Succeeded,
)
from afterwards.registry.state.ages import DOUBT_SECONDS
from afterwards.registry.state.retention import NOTE_SECONDS, PAUSE_SECONDS, STEP_PAUSE_SECONDS
from tests.registry.bench import Bench, FailingSqlite, SteppedRegistry
from tests.registry.peers import Peer, ask, counts, raised

KEPT_SECONDS = 1_000.0


@pytest.fixture
def registry(bench: Bench) -> SteppedRegistry:
    return bench.registry(journal=bench.journal(), retention_seconds=KEPT_SECONDS)


def finished(bench: Bench, peer: Peer) -> Task:
    task = bench.task()
    peer.succeed(peer.run(task))
    return task


def a_pass(bench: Bench, registry: SteppedRegistry, steps: int = 5) -> None:
    bench.clock.turn(PAUSE_SECONDS)
    for _ in range(steps):
        registry.tick()
        bench.clock.turn(STEP_PAUSE_SECONDS)


def test_finished_tasks_are_deleted_when_their_time_is_over(
    bench: Bench, registry: SteppedRegistry
) -> None:
    peer = bench.peer(registry)
    old = finished(bench, peer)
    unfinished = bench.task(due_in=10 * KEPT_SECONDS)
    peer.add(unfinished)
    bench.clock.turn(KEPT_SECONDS - PAUSE_SECONDS - 10)
    young = finished(bench, bench.peer(registry))
    a_pass(bench, registry)
    assert len(registry) == 3

    bench.clock.turn(20)
    a_pass(bench, registry)

    assert list(registry) == [young.id, unfinished.id]
    for request in (Get(old.id), Retry(old.id), Cancel(old.id)):
        assert raised(ask(registry, request)) is TaskDeleted


def test_a_deleted_task_is_counted_and_not_accepted_again(
    bench: Bench, registry: SteppedRegistry
) -> None:
    old = finished(bench, bench.peer(registry))
    bench.clock.turn(KEPT_SECONDS + 1)
    a_pass(bench, registry)

    assert ask(registry, Add(old, again=True)) is None

    assert counts(registry) == {}
    text = ask(registry, Scrape()).decode()
    assert 'afterwards_tasks_submitted_total{type="note"} 1.0' in text
    assert 'afterwards_tasks_deleted_total{type="note"} 1.0' in text
    assert 'afterwards_tasks{state="success",type="note"} 0.0' in text


def test_deleted_ids_are_forgotten_after_as_long_again(
    bench: Bench, registry: SteppedRegistry
) -> None:
    first = finished(bench, bench.peer(registry))
    bench.clock.turn(KEPT_SECONDS + 1)
    a_pass(bench, registry)
    finished(bench, bench.peer(registry))
    bench.clock.turn(KEPT_SECONDS + 1 + PAUSE_SECONDS)
    # Forgetting is done by the passes that delete something.
    a_pass(bench, registry)

    a_pass(bench, registry)
    assert raised(ask(registry, Get(first.id))) is TaskNotFound


def test_a_pass_goes_on_beyond_steps_that_have_nothing_to_delete(
    bench: Bench, registry: SteppedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterwards.registry.journal.journal.RETENTION_STEP_ROWS", 2)
    peer = bench.peer(registry, {"async": 5})
    peer.add(*[bench.task(due_in=10 * KEPT_SECONDS) for _ in range(6)])
    old = finished(bench, peer)
    bench.clock.turn(KEPT_SECONDS + 1)

    a_pass(bench, registry, steps=8)

    assert raised(ask(registry, Get(old.id))) is TaskDeleted


def test_an_overdue_task_that_is_retried_at_the_same_moment_stays(
    bench: Bench, registry: SteppedRegistry
) -> None:
    task = bench.task()
    peer = bench.peer(registry)
    peer.fail(peer.run(task))
    bench.clock.turn(KEPT_SECONDS + PAUSE_SECONDS + 1)

    retried = ask(registry, Retry(task.id))

    assert isinstance(retried, Task)
    assert counts(registry) == {TaskState.PENDING: 1}
    assert registry.views._counts["deleted", "note", ""] == 0


def test_a_group_that_is_only_partly_written_leaves_no_deletion_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterwards.registry.journal.journal.RETENTION_STEP_ROWS", 2)
    journal = bench.journal()
    registry = bench.registry(journal=journal, retention_seconds=KEPT_SECONDS)
    peer = bench.peer(registry, {"async": 9})
    old = [finished(bench, peer) for _ in range(4)]
    running = peer.run(bench.task())
    bench.clock.turn(KEPT_SECONDS + PAUSE_SECONDS + 1)
    peer = bench.peer(registry, {"async": 9})
    claim = peer.table.get(running.task_id) or peer.take()[0]
    bench.clock.turn(PAUSE_SECONDS + 1)
    # The whole group fails, and its reports alone can be written.
    journal.failures = 1
    peer.exchange(Add(bench.task()), Succeeded(claim.task_id, claim.attempt, b"{}", 0.1))
    for _ in range(4):
        bench.clock.turn(STEP_PAUSE_SECONDS)
        registry.tick()

    assert {raised(ask(registry, Get(task.id))) for task in old} == {TaskDeleted}


@pytest.mark.parametrize("in_memory", [True, False])
def test_deletions_that_could_not_be_written_change_nothing_and_are_made_up_for(
    bench: Bench, in_memory: bool
) -> None:
    registry = bench.registry(journal=bench.journal(), retention_seconds=KEPT_SECONDS)
    task = finished(bench, bench.peer(registry))
    before = ask(registry, Get(task.id))
    journal = bench.crash() if not in_memory else registry._journal
    assert isinstance(journal, FailingSqlite)
    if not in_memory:
        registry = bench.registry(journal=journal, retention_seconds=KEPT_SECONDS)
    bench.clock.turn(KEPT_SECONDS + PAUSE_SECONDS + 1)
    journal.failures = 1
    registry.tick()
    assert journal.failures == 0
    assert ask(registry, Get(task.id)) == before

    a_pass(bench, registry)
    a_pass(bench, registry)

    assert raised(ask(registry, Get(task.id))) is TaskDeleted


# -- the clock jumps -------------------------------------------------------------------------------


def test_a_clock_that_is_not_corrected_for_an_hour_is_believed(
    bench: Bench, registry: SteppedRegistry
) -> None:
    task = finished(bench, bench.peer(registry))
    bench.clock.set_wall(100 * KEPT_SECONDS)
    a_pass(bench, registry)
    assert len(registry) == 1

    for _ in range(int(DOUBT_SECONDS / PAUSE_SECONDS) + 1):
        a_pass(bench, registry)

    assert raised(ask(registry, Get(task.id))) is TaskDeleted


def test_a_confirmed_clock_deletes_at_once(bench: Bench) -> None:
    registry = bench.registry(
        journal=bench.journal(), retention_seconds=KEPT_SECONDS, clock_confirmed=True
    )
    task = finished(bench, bench.peer(registry))
    bench.clock.set_wall(KEPT_SECONDS + 1)
    a_pass(bench, registry)

    assert raised(ask(registry, Get(task.id))) is TaskDeleted


@pytest.mark.parametrize("seen_before_the_restart", [True, False])
def test_a_jump_is_not_forgotten_by_a_restart(bench: Bench, seen_before_the_restart: bool) -> None:
    registry = bench.registry(journal=bench.journal(), retention_seconds=KEPT_SECONDS)
    finished(bench, bench.peer(registry))
    bench.clock.set_wall(100 * KEPT_SECONDS)
    if seen_before_the_restart:
        a_pass(bench, registry)
        # Written with the wall clock as it is now.
        finished(bench, bench.peer(registry))
        assert ask(registry, Probe()) is None
    before = len(registry)
    registry = bench.registry(journal=bench.crash(), retention_seconds=KEPT_SECONDS)
    a_pass(bench, registry)

    assert len(registry) == before


def test_the_time_is_noted_now_and_then_and_not_with_every_task(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal)
    started = bench.clock.wall()
    ask(registry, Add(bench.task()))
    bench.clock.turn(NOTE_SECONDS - 1)
    ask(registry, Add(bench.task()))
    assert journal.load().trusted_at == pytest.approx(started)
    bench.clock.turn(1)
    ask(registry, Add(bench.task()))
    assert journal.load().trusted_at == pytest.approx(started + NOTE_SECONDS)
