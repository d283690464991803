"""Deadlines: no attempt starts after its task's deadline, and what waits then is failed."""

from __future__ import annotations

import time

import pytest
from structlog.testing import capture_logs

from afterwards.lifecycle import TaskState
from afterwards.registry.protocol.requests import Add, Cancel, Retry
from afterwards.registry.state import rules
from tests.registry.bench import Bench, SteppedRegistry
from tests.registry.conftest import Reach
from tests.registry.peers import ask, counts, eventually, get, make_task

PENDING, PROCESSING, SCHEDULED = TaskState.PENDING, TaskState.PROCESSING, TaskState.SCHEDULED
SUCCESS, FAILED, CANCELLED = TaskState.SUCCESS, TaskState.FAILED, TaskState.CANCELLED


def test_what_waits_for_a_slot_fails_by_itself_at_its_deadline(reach: Reach) -> None:
    task = make_task(deadline=time.time() + 0.05)
    reach.ask(Add(task))

    eventually(lambda: reach.state(task) is FAILED, "it has failed")

    failed = reach.get(task)
    assert (failed.reason, failed.attempt) == ("deadline passed", 0)
    assert failed.finished_at is not None
    assert failed.finished_at >= (task.deadline or 0.0)
    assert counts(reach.registry) == {FAILED: 1}


def test_what_comes_after_its_deadline_is_accepted_and_never_started(reach: Reach) -> None:
    peer = reach.peer()
    task = make_task(deadline=time.time() - 1.0)

    reply = peer.add(task)

    assert (reply.answers, reply.claims) == ([None], [])
    eventually(lambda: reach.state(task) is FAILED, "it has failed")
    assert reach.get(task).attempt == 0


def test_a_deadline_ends_a_backoff_that_would_be_longer(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task(deadline=time.time() + 60.0))

    peer.fail(claim, retry_in=61.0, error="busy")

    assert reach.state(claim) is FAILED
    assert "deadline" in (reach.get(claim).error or "")
    assert "busy" in (reach.get(claim).error or "")


def test_what_runs_may_end_after_its_deadline(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry)
    claim = peer.run(bench.task(deadline=bench.clock.wall() + 5.0))
    bench.clock.turn(6.0)
    registry.tick()

    assert peer.succeed(claim) is None
    assert get(registry, claim.task_id).state is SUCCESS


@pytest.mark.parametrize("report", ["release", "lose"])
def test_what_is_given_back_after_its_deadline_is_not_started_again(
    bench: Bench, report: str
) -> None:
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry)
    claim = peer.run(bench.task(deadline=bench.clock.wall() + 5.0))
    bench.clock.turn(6.0)

    getattr(peer, report)(claim)

    assert peer.table == {}
    assert get(registry, claim.task_id).state is FAILED


def test_what_is_due_later_than_its_deadline_fails_at_the_deadline(bench: Bench) -> None:
    registry = bench.registry()
    task = bench.task(due_in=60.0, deadline=bench.clock.wall() + 5.0)
    ask(registry, Add(task))
    bench.clock.turn(4.0)
    registry.tick()
    assert get(registry, task.id).state is SCHEDULED

    bench.clock.turn(1.0)
    with capture_logs() as lines:
        registry.tick()

    assert get(registry, task.id).state is FAILED
    [line] = lines
    assert (line["event"], line["task_id"]) == ("deadline passed; the task has failed", task.id)


def test_a_registry_wakes_for_a_deadline(bench: Bench) -> None:
    registry = bench.registry()
    ask(registry, Add(bench.task(deadline=bench.clock.wall() + 0.125)))
    assert registry.committer._until_next_due() == 0.125

    bench.clock.turn(0.5)

    assert registry.committer._until_next_due() == 0.0


def test_a_deadline_follows_the_wall_clock(bench: Bench) -> None:
    registry = bench.registry()
    task = bench.task(executor="process", deadline=bench.clock.wall() + 5.0)
    ask(registry, Add(task))
    bench.clock.set_wall(-3600.0)
    bench.clock.turn(60.0)
    registry.tick()
    assert get(registry, task.id).state is PENDING

    bench.clock.set_wall(3600.0)
    registry.tick()

    assert get(registry, task.id).state is FAILED


def test_a_deadline_passes_while_the_registry_is_down(bench: Bench) -> None:
    task = bench.task(deadline=bench.clock.wall() + 5.0)
    ask(bench.registry(journal=bench.journal()), Add(task))
    journal = bench.crash()
    bench.clock.turn(6.0)

    registry = bench.registry(journal=journal)

    assert bench.peer(registry).table == {}
    assert get(registry, task.id).state is FAILED
    assert get(registry, task.id).deadline == task.deadline


def test_a_retry_by_hand_after_the_deadline_starts(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    task = bench.task(deadline=bench.clock.wall() + 5.0)
    ask(registry, Add(task))
    bench.clock.turn(6.0)
    registry.tick()
    peer = bench.peer(registry)

    assert peer.ask(Retry(task.id)).deadline is None

    assert list(peer.table) == [task.id]
    assert get(bench.registry(journal=bench.crash()), task.id).deadline is None


def test_what_is_cancelled_has_no_deadline_any_more(bench: Bench) -> None:
    registry = bench.registry()
    task = bench.task(deadline=bench.clock.wall() + 5.0)
    ask(registry, Add(task))
    ask(registry, Cancel(task.id))
    bench.clock.turn(6.0)

    registry.tick()

    assert get(registry, task.id).state is CANCELLED


def test_a_failure_at_the_deadline_that_cannot_be_written_comes_later(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal)
    task = bench.task(deadline=bench.clock.wall() + 5.0)
    ask(registry, Add(task))
    bench.clock.turn(6.0)
    journal.failures = 2
    registry.tick()
    assert registry.rules.store.get(task.id) == journal.read(task.id)

    registry.tick()

    assert get(registry, task.id).state is FAILED


def test_of_many_deadlines_at_once_none_is_started_however_many_a_group_takes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "DUE_AT_ONCE", 2)
    registry: SteppedRegistry = bench.registry()
    deadline = bench.clock.wall() + 5.0
    late = [bench.task(deadline=deadline) for _ in range(7)]
    last = bench.task()
    for task in (*late, last):
        ask(registry, Add(task))
    bench.clock.turn(6.0)

    peer = bench.peer(registry)
    # Two by the passing of time, and two that stood before what could be claimed.
    held = registry.rules.store.gathered(finished=True)
    assert [task.state for task in held].count(FAILED) == 4
    for _ in late:
        peer.take()

    assert list(peer.table) == [last.id]
    assert counts(registry) == {FAILED: len(late), PROCESSING: 1}
