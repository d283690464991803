"""Acts by hand besides retrying and cancelling: run now, delete, put back."""

from __future__ import annotations

import time
from typing import Any

import pytest

from afterwards.counts import DELETED, SUBMITTED
from afterwards.errors import (
    IllegalTransition,
    ScheduleNotFound,
    TaskDeleted,
    TaskNotFound,
    TooManyUnfinished,
)
from afterwards.lifecycle import Task, TaskState
from afterwards.registry.protocol.answers import Claim, Page
from afterwards.registry.protocol.filters import Filter
from afterwards.registry.protocol.requests import (
    Add,
    AddAll,
    Cancel,
    Changes,
    Delete,
    Find,
    Get,
    GetSchedule,
    Inspect,
    PutSchedule,
    Retry,
    RunNow,
    RunSchedule,
)
from afterwards.registry.state.acceptance import Limits
from afterwards.registry.state.retention import PAUSE_SECONDS
from tests.registry.bench import Bench, FailingNull
from tests.registry.conftest import MakeReach, Reach
from tests.registry.peers import Peer, ask, counts, make_schedule, make_task, raised

PENDING, PROCESSING, SCHEDULED = TaskState.PENDING, TaskState.PROCESSING, TaskState.SCHEDULED
SUCCESS, FAILED, CANCELLED = TaskState.SUCCESS, TaskState.FAILED, TaskState.CANCELLED


def later(**fields: Any) -> Task:
    return make_task(state=SCHEDULED, run_at=time.time() + 3600, **fields)


def finished(peer: Peer, **fields: Any) -> Task:
    task = make_task(**fields)
    peer.succeed(peer.run(task))
    return task


# -- run now --------------------------------------------------------------------------------------


def test_what_is_scheduled_runs_at_once_and_says_why(reach: Reach) -> None:
    peer = reach.peer()
    task = later()
    peer.add(task)
    start = reach.ask(Changes("", 0))

    run = peer.ask(RunNow(task.id))

    assert (run.state, run.reason) == (PENDING, "run now by hand")
    assert run.run_at < task.run_at
    assert list(peer.table) == [task.id]
    news = reach.ask(Changes(start.epoch, start.sequence)).events
    assert [(event.state, event.reason) for event in news] == [
        (PENDING, "run now by hand"),
        (PROCESSING, "claimed"),
    ]
    assert counts(reach.registry) == {PROCESSING: 1}


def test_what_backs_off_runs_at_once_and_keeps_its_budget(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())
    peer.fail(claim, retry_in=3600.0)

    peer.ask(RunNow(claim.task_id))

    again = peer.table[claim.task_id]
    assert (again.attempt, again.attempts_used) == (2, 1)


def test_only_what_is_scheduled_can_be_run_now(reach: Reach) -> None:
    peer = reach.peer({"async": 1})
    running, waiting = peer.run(make_task()), make_task()
    peer.add(waiting)
    done = [running.task_id]

    assert raised(reach.ask(RunNow(running.task_id))) is IllegalTransition
    assert raised(reach.ask(RunNow(waiting.id))) is IllegalTransition
    peer.succeed(running)
    assert raised(reach.ask(RunNow(done[0]))) is IllegalTransition
    assert raised(reach.ask(RunNow(make_task().id))) is TaskNotFound


# -- delete ---------------------------------------------------------------------------------------


def test_what_is_finished_can_be_deleted_and_is_remembered_as_deleted(reach: Reach) -> None:
    peer = reach.peer()
    gone, kept = finished(peer), finished(peer)

    assert reach.ask(Delete(gone.id)) is None

    for request in (Get(gone.id), Inspect(gone.id), Delete(gone.id), Retry(gone.id)):
        assert raised(reach.ask(request)) is TaskDeleted
    assert reach.ids() == [kept.id]
    assert counts(reach.registry) == {SUCCESS: 1}
    page = reach.ask(Find(Filter(frozenset({SUCCESS}))))
    assert isinstance(page, Page)
    assert [task.id for task in page.tasks] == [kept.id]


def test_what_is_not_finished_has_to_be_cancelled_first(reach: Reach) -> None:
    peer = reach.peer({"async": 1})
    running = peer.run(make_task())
    waiting, scheduled = make_task(), later()
    peer.add(waiting, scheduled)

    for task_id in (running.task_id, waiting.id, scheduled.id):
        answer = reach.ask(Delete(task_id))
        assert raised(answer) is IllegalTransition
        assert "cancel it first" in str(answer)

    reach.ask(Cancel(scheduled.id))
    assert reach.ask(Delete(scheduled.id)) is None


def test_a_key_is_free_when_its_task_is_deleted_even_in_the_same_group(reach: Reach) -> None:
    named = {"idempotency_key": "k", "fingerprint": b"f"}
    old = finished(reach.peer(), **named)
    new = make_task(**named)

    answers = reach.registry.exchange(None, 0, [Delete(old.id), Add(new), Delete(old.id)]).answers

    assert [answers[0], answers[1], raised(answers[2])] == [None, None, TaskDeleted]
    assert reach.state(new) is PENDING
    assert counts(reach.registry) == {PENDING: 1}


def test_what_is_deleted_is_not_retried_by_the_same_group(bench: Bench) -> None:
    journal = bench.journal()
    task = make_task()
    registry = bench.registry(journal=journal)
    peer = bench.peer(registry)
    peer.fail(peer.run(task))
    # Its memory is the archive's alone.
    registry.rules.store.forget(task)

    answers = registry.exchange(None, 0, [Delete(task.id), Retry(task.id), Delete(task.id)]).answers

    assert [answers[0], raised(answers[1]), raised(answers[2])] == [None, TaskDeleted, TaskDeleted]
    assert counts(registry) == {}
    assert registry.views._counts[DELETED, "note", ""] == 1
    assert registry.views._counts[SUBMITTED, "note", ""] == 1


def test_retention_does_not_delete_what_a_hand_just_has(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal(), retention_seconds=1_000.0)
    task = bench.task()
    peer = bench.peer(registry)
    peer.succeed(peer.run(task))
    bench.clock.turn(1_000.0 + PAUSE_SECONDS + 1)

    assert ask(registry, Delete(task.id)) is None

    assert counts(registry) == {}
    assert registry.views._counts[DELETED, "note", ""] == 1


@pytest.mark.parametrize("durable", [False, True])
def test_a_deletion_that_could_not_be_written_has_not_happened(
    bench: Bench, *, durable: bool
) -> None:
    journal = bench.journal() if durable else FailingNull()
    registry = bench.registry(journal=journal)
    task = bench.task()
    peer = bench.peer(registry)
    peer.fail(peer.run(task))
    journal.failures = 2

    assert isinstance(ask(registry, Delete(task.id)), Exception)

    assert counts(registry) == {FAILED: 1}
    assert ask(registry, Retry(task.id)).state is PENDING


def test_the_first_of_a_batch_keeps_the_key_while_others_are_kept(reach: Reach) -> None:
    peer = reach.peer({"async": 3})
    first, second, third = tasks = [
        make_task(**({"idempotency_key": "k", "fingerprint": b"f"} if n == 0 else {}))
        for n in range(3)
    ]
    peer.exchange(AddAll(tasks))
    for claim in list(peer.table.values()):
        peer.succeed(claim)

    answer = reach.ask(Delete(first.id))
    assert raised(answer) is IllegalTransition
    assert "others of its batch" in str(answer)
    assert reach.ask(Delete(second.id)) is None
    assert raised(reach.ask(Delete(first.id))) is IllegalTransition

    together = reach.registry.exchange(None, 0, [Delete(third.id), Delete(first.id)]).answers
    assert together == [None, None]
    assert counts(reach.registry) == {}


# -- retry for later ------------------------------------------------------------------------------


def test_a_cancelled_task_goes_back_to_when_it_was_due(reach: Reach) -> None:
    peer = reach.peer()
    task = later()
    peer.add(task)
    reach.ask(Cancel(task.id))

    back = peer.ask(Retry(task.id, run_at=task.run_at))

    assert (back.state, back.run_at, back.error) == (SCHEDULED, task.run_at, None)
    assert back.reason == "retried by hand, for later"
    assert peer.table == {}
    assert counts(reach.registry) == {SCHEDULED: 1}
    peer.ask(RunNow(task.id))
    assert list(peer.table) == [task.id]


def test_a_retry_for_a_time_that_is_past_is_one_for_now(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())
    peer.fail(claim)

    retried = peer.ask(Retry(claim.task_id, run_at=time.time() - 3600))

    assert (retried.state, retried.reason) == (PENDING, "retried by hand")
    assert retried.run_at > time.time() - 60
    assert isinstance(peer.table[claim.task_id], Claim)


# -- schedules ------------------------------------------------------------------------------------


@pytest.mark.parametrize("paused", [False, True])
def test_a_schedule_makes_a_task_now_and_its_due_times_stay(reach: Reach, *, paused: bool) -> None:
    peer = reach.peer()
    reach.ask(PutSchedule(make_schedule(paused=paused)))
    before = reach.ask(GetSchedule("nightly"))
    new = make_task().id

    made = peer.ask(RunSchedule("nightly", new))

    assert (made.id, made.schedule, made.type) == (new, "nightly", "note")
    assert made.reason == "its schedule was run by hand"
    assert list(peer.table) == [new]
    assert reach.ask(GetSchedule("nightly")) == before
    assert peer.ask(RunSchedule("nightly", new)).id == new
    assert counts(reach.registry) == {PROCESSING: 1}


def test_a_schedule_that_is_not_there_or_has_no_room_is_not_run(make_reach: MakeReach) -> None:
    reach = make_reach(Limits(max_pending=1))
    reach.ask(PutSchedule(make_schedule()))
    assert raised(reach.ask(RunSchedule("other", make_task().id))) is ScheduleNotFound
    reach.ask(Add(make_task()))

    assert raised(reach.ask(RunSchedule("nightly", make_task().id))) is TooManyUnfinished
