"""The registry's contract, over every registry: in memory, journaled, in a process of its own."""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from afterwards.counts import HTTP_SECONDS, WorkerCounts
from afterwards.errors import (
    IllegalTransition,
    NotJoined,
    StaleReport,
    TaskNotFound,
    TooManyUnfinished,
)
from afterwards.lifecycle import MAX_LOST_ATTEMPTS, Kind, Task, TaskState
from afterwards.registry.protocol.answers import Claim, Page, Reply
from afterwards.registry.protocol.filters import Filter
from afterwards.registry.protocol.requests import (
    Add,
    Amend,
    Beat,
    Cancel,
    Changes,
    Counts,
    Delete,
    Drain,
    Find,
    Get,
    Held,
    Inspect,
    Leave,
    Probe,
    Retry,
    RunNow,
    Scrape,
    Succeeded,
)
from afterwards.registry.state.acceptance import Limits
from tests.registry.conftest import MakeReach, Reach
from tests.registry.peers import Peer, counts, eventually, make_task, raised

PENDING, PROCESSING, SCHEDULED = TaskState.PENDING, TaskState.PROCESSING, TaskState.SCHEDULED
SUCCESS, FAILED, CANCELLED = TaskState.SUCCESS, TaskState.FAILED, TaskState.CANCELLED


def failed(reach: Reach, peer: Peer) -> Task:
    """A task that has failed for good."""
    claim = peer.run(make_task())
    peer.fail(claim)
    return reach.get(claim)


# -- claims ---------------------------------------------------------------------------------------


def test_adding_brings_the_claim_in_the_same_exchange(reach: Reach) -> None:
    peer = reach.peer()
    task = make_task(payload=b'{"n":1}', timeout_seconds=5.0, max_attempts=2)

    reply = peer.add(task)

    assert reply.answers == [None]
    assert reply.claims == [Claim(task.id, 1, "note", b'{"n":1}', "async", 0, 2, 5.0)]
    stored = reach.get(task)
    assert (stored.state, stored.attempt, stored.worker) == (PROCESSING, 1, peer.name)
    assert stored.started_at is not None


def test_a_read_sees_what_was_answered(reach: Reach) -> None:
    peer, task, other = reach.peer({"async": 1}), make_task(), make_task()
    for_reads = reach.open()

    def seen() -> list[Any]:
        return list(for_reads.read([Get(task.id), Inspect(task.id), Get(other.id)]))

    assert [raised(answer) for answer in seen()] == [TaskNotFound] * 3
    claim = peer.run(task)
    assert reach.ask(Add(other)) is None
    running, details, waiting = seen()
    assert (running.state, running.attempt, waiting.state) == (PROCESSING, 1, PENDING)
    assert details.task == running
    peer.succeed(claim, b"1")
    done, details, running = seen()
    assert (done.state, done.result, running.state) == (SUCCESS, b"1", PROCESSING)
    assert (details.task, len(details.attempts)) == (done, 1)


def test_without_a_free_slot_a_task_waits_until_there_is_one(reach: Reach) -> None:
    peer = reach.peer({"async": 1})
    claim = peer.run(make_task())
    waiting = make_task()

    assert peer.add(waiting).claims == []
    assert reach.state(waiting) is PENDING
    peer.succeed(claim)

    assert list(peer.table) == [waiting.id]


def test_a_worker_gets_no_claims_on_kinds_it_has_no_slots_of(reach: Reach) -> None:
    peer = reach.peer({"async": 5})

    assert peer.add(make_task(executor="process")).claims == []


def test_a_task_that_one_worker_has_no_room_for_wakes_the_other(reach: Reach) -> None:
    full, idle = reach.peer({"async": 0}), reach.peer()
    idle.registry = reach.open()
    woken: list[bool] = []
    waiting = threading.Thread(target=lambda: woken.append(_watch_anew(reach, idle)))
    waiting.start()
    task = make_task()

    full.add(task)

    waiting.join()
    assert woken == [True]
    assert [claim.task_id for claim in idle.take()] == [task.id]


def _watch_anew(reach: Reach, peer: Peer) -> bool:
    """Watch from another thread, as a worker does, until woken."""
    registry = reach.open()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if registry.watch(peer.worker, peer.connection, 10.0):
            return True
    return False


def test_watching_ends_without_news_when_the_time_is_over(reach: Reach) -> None:
    assert reach.peer().watch(0.01) is False


def test_watching_under_a_connection_that_is_not_the_current_one_ends_at_once(
    reach: Reach,
) -> None:
    peer = reach.peer()

    assert reach.registry.watch(peer.worker, peer.connection + 1, 30.0) is False
    peer.leave()
    assert peer.watch(30.0) is False


def test_workers_never_hold_more_than_their_slots(reach: Reach) -> None:
    one, two = reach.peer({"async": 3}), reach.peer({"async": 2, "thread": 1})
    tasks = [make_task(executor=kind) for kind in ["async"] * 8 + ["thread"] * 3]

    one.add(*tasks[:6])
    two.add(*tasks[6:])
    for peer in (one, two):
        peer.take()

    assert sorted(claim.executor for claim in one.table.values()) == ["async"] * 3
    assert sorted(claim.executor for claim in two.table.values()) == ["async"] * 2 + ["thread"]
    assert counts(reach.registry) == {PROCESSING: 6, PENDING: 5}


def test_a_beat_that_reports_fewer_slots_gets_fewer_claims(reach: Reach) -> None:
    peer = reach.peer({"async": 3})
    peer.run(make_task())
    peer.exchange(Beat({"async": 1}, {"async": 2}, peer.held()))

    assert peer.add(make_task()).claims == []


def test_higher_priorities_go_first_and_then_those_that_have_waited_longest(reach: Reach) -> None:
    busy = reach.peer({"async": 0})
    tasks = {f"{p}-{n}": make_task(priority=p) for n in (1, 2) for p in (4, 0, 9, 5)}
    busy.add(*tasks.values())

    claimed = list(reach.peer({"async": 8}).table)

    names = {task.id: name for name, task in tasks.items()}
    assert [names[task_id] for task_id in claimed] == [
        "9-1", "9-2", "5-1", "5-2", "4-1", "4-2", "0-1", "0-2",
    ]  # fmt: skip


def test_a_scheduled_task_cannot_be_claimed_before_it_is_due(reach: Reach) -> None:
    peer = reach.peer()
    due = time.time() + 0.1
    task = make_task(state=SCHEDULED, run_at=due)

    assert peer.add(task).claims == []
    assert reach.state(task) is SCHEDULED
    eventually(peer.watch, "the worker is woken")
    [claim] = peer.take()

    assert time.time() >= due
    assert claim.task_id == task.id


# -- the end of an attempt ------------------------------------------------------------------------


def test_a_success_is_final_and_keeps_its_result(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())

    assert peer.succeed(claim, b'{"message":"sent"}') is None

    task = reach.get(claim)
    assert (task.state, task.result, task.error) == (SUCCESS, b'{"message":"sent"}', None)
    assert task.worker is None
    assert task.finished_at is not None


def test_a_permanent_failure_is_final_and_keeps_its_error(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())

    assert peer.fail(claim, error="mailbox unknown") is None

    task = reach.get(claim)
    assert (task.state, task.error, task.attempts_used) == (FAILED, "mailbox unknown", 1)


def test_a_failure_to_be_retried_waits_and_runs_again_under_the_next_number(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())

    # Longer than it takes to look, on a busy machine, too.
    peer.fail(claim, retry_in=1.0, error="busy")
    assert reach.state(claim) is SCHEDULED
    eventually(peer.watch, "the backoff is over")
    [again] = peer.take()

    assert again == claim._replace(attempt=2, attempts_used=1)


def test_the_last_allowed_attempt_fails_the_task_whatever_its_report_hopes(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task(max_attempts=1))

    peer.fail(claim, retry_in=0.01, error="busy")

    assert (reach.state(claim), reach.get(claim).error) == (FAILED, "busy")


def test_a_released_attempt_is_not_counted(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())

    peer.release(claim)
    again = peer.table[claim.task_id]

    assert again == claim._replace(attempt=2)
    assert reach.get(claim).lost_attempts == 0


def test_a_task_whose_attempts_are_lost_too_often_fails_and_says_so(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())

    for _ in range(MAX_LOST_ATTEMPTS):
        assert reach.state(claim) is PROCESSING
        peer.lose(peer.table[claim.task_id])

    task = reach.get(claim)
    assert (task.state, task.lost_attempts) == (FAILED, MAX_LOST_ATTEMPTS)
    assert task.error == "3 attempts were lost; the last: killed by SIGKILL"


@pytest.mark.parametrize("report", ["succeed", "fail", "release", "lose", "stop"])
def test_a_report_of_another_attempt_is_refused_and_changes_nothing(
    reach: Reach, report: str
) -> None:
    peer = reach.peer()
    peer.release(peer.run(make_task()))
    [current] = peer.table.values()
    before = reach.get(current)

    for attempt in (current.attempt - 1, current.attempt + 1):
        answer = getattr(peer, report)(current._replace(attempt=attempt))
        assert raised(answer) is StaleReport

    assert reach.get(current) == before
    assert metric(reach, "afterwards_reports_refused_total") == 2


def test_a_repeated_report_is_refused_and_changes_nothing(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())
    peer.succeed(claim, b"1")
    before = reach.get(claim)

    assert raised(peer.succeed(claim, b"2")) is StaleReport
    assert raised(peer.fail(claim)) is StaleReport

    assert reach.get(claim) == before


def test_a_report_on_a_task_that_waits_is_refused(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())
    peer.fail(claim, retry_in=60.0)

    assert raised(peer.succeed(claim)) is StaleReport
    assert reach.state(claim) is SCHEDULED


def test_a_report_on_an_unknown_task_is_refused(reach: Reach) -> None:
    answer = reach.peer().succeed(Held(str(uuid.uuid4()), 1))

    assert raised(answer) is StaleReport


# -- by hand --------------------------------------------------------------------------------------


def test_a_retry_gives_fresh_budgets_and_the_next_attempt_number(reach: Reach) -> None:
    peer = reach.peer()
    task = failed(reach, peer)

    [retried] = peer.exchange(Retry(task.id)).answers

    assert isinstance(retried, Task)
    assert (retried.state, retried.retries, retried.attempts_used) == (PENDING, 1, 0)
    assert retried.error is None
    assert peer.table[task.id].attempt == 2


def test_a_retry_with_another_payload_runs_with_it(reach: Reach) -> None:
    peer = reach.peer()
    task = failed(reach, peer)

    retried = peer.ask(Retry(task.id, b'{"n":2}'))

    assert retried.payload == b'{"n":2}'
    assert peer.table[task.id].payload == b'{"n":2}'
    assert reach.get(task).payload == b'{"n":2}'


def test_a_retry_needs_room_for_the_payload_it_brings(make_reach: MakeReach) -> None:
    reach = make_reach(Limits(max_pending_bytes=100))
    task = failed(reach, reach.peer())

    assert raised(reach.ask(Retry(task.id, b"x" * 101))) is TooManyUnfinished
    assert reach.get(task) == task
    assert reach.ask(Retry(task.id, b"x" * 100)).state is PENDING
    assert raised(reach.ask(Add(make_task(payload=b"x")))) is TooManyUnfinished


def test_only_failed_and_cancelled_tasks_can_be_retried(reach: Reach) -> None:
    peer = reach.peer({"async": 1})
    running = peer.run(make_task())
    waiting, later = make_task(), make_task(state=SCHEDULED, run_at=time.time() + 60)
    peer.add(waiting, later)
    for task_id in (running.task_id, waiting.id, later.id):
        assert raised(reach.ask(Retry(task_id))) is IllegalTransition
    peer.succeed(running)
    assert raised(reach.ask(Retry(running.task_id))) is IllegalTransition
    reach.ask(Cancel(later.id))

    assert reach.ask(Retry(later.id)).state is PENDING


@pytest.mark.parametrize("verb", [Get, Retry, Cancel, RunNow, Delete])
def test_what_does_not_exist_is_not_found(reach: Reach, verb: Any) -> None:
    for task_id in (str(uuid.uuid4()), "no-uuid", ""):
        assert raised(reach.ask(verb(task_id))) is TaskNotFound


def test_of_two_simultaneous_retries_exactly_one_wins(reach: Reach) -> None:
    task = failed(reach, reach.peer())
    barrier = threading.Barrier(2)
    answers: list[Any] = []

    def retry() -> None:
        registry = reach.open()
        barrier.wait()
        answers.extend(registry.exchange(None, 0, [Retry(task.id)]).answers)

    threads = [threading.Thread(target=retry) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(type(answer).__name__ for answer in answers) == ["IllegalTransition", "Task"]
    assert reach.get(task).retries == 1


def test_cancelling_what_waits_ends_it_at_once(reach: Reach) -> None:
    peer = reach.peer({"async": 0})
    waiting, later = make_task(), make_task(state=SCHEDULED, run_at=time.time() + 60)
    peer.add(waiting, later)

    for task in (waiting, later):
        assert reach.ask(Cancel(task.id)).state is CANCELLED
        assert raised(reach.ask(Cancel(task.id))) is IllegalTransition

    peer.slots = {"async": 2}
    assert peer.beat().claims == []


def test_cancelling_what_is_finished_is_illegal(reach: Reach) -> None:
    peer = reach.peer()
    succeeded = peer.run(make_task())
    peer.succeed(succeeded)

    for task_id in (succeeded.task_id, failed(reach, peer).id):
        assert raised(reach.ask(Cancel(task_id))) is IllegalTransition


def test_the_holder_of_a_cancelled_task_is_woken_and_told_once(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())

    asked = reach.ask(Cancel(claim.task_id))
    assert (asked.state, asked.cancel_requested) == (PROCESSING, True)
    assert reach.ask(Cancel(claim.task_id)) == asked
    assert peer.watch()
    peer.beat()
    peer.beat()

    assert peer.told == [Held(claim.task_id, claim.attempt)]


def test_a_new_connection_is_told_of_cancellations_again(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())
    reach.ask(Cancel(claim.task_id))
    peer.beat()

    peer.join()

    assert peer.told == [Held(claim.task_id, claim.attempt)] * 2


@pytest.mark.parametrize(
    ("report", "state"),
    [
        ("stop", CANCELLED),
        ("succeed", SUCCESS),
        ("fail", FAILED),
        ("release", CANCELLED),
        ("lose", CANCELLED),
    ],
)
def test_the_holder_decides_how_a_cancelled_task_ends(
    reach: Reach, report: str, state: TaskState
) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())
    reach.ask(Cancel(claim.task_id))

    assert getattr(peer, report)(claim) is None

    assert reach.state(claim) is state


def test_a_cancelled_task_is_not_tried_again(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())
    reach.ask(Cancel(claim.task_id))

    peer.fail(claim, retry_in=0.01)

    assert reach.state(claim) is CANCELLED


def test_a_cancelled_task_whose_holder_dies_is_cancelled(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())
    reach.ask(Cancel(claim.task_id))

    reach.kill(peer)

    eventually(lambda: reach.state(claim) is CANCELLED, "the task is cancelled")


def test_stopping_what_nobody_has_cancelled_is_illegal(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())

    assert raised(peer.stop(claim)) is IllegalTransition
    assert reach.state(claim) is PROCESSING


# -- adding ---------------------------------------------------------------------------------------


def test_adding_a_task_again_changes_nothing_wherever_it_stands(reach: Reach) -> None:
    peer = reach.peer()
    task = make_task()
    claim = peer.run(task)

    for request in (Add(task), Add(task, again=True)):
        assert peer.ask(request) is None
        assert reach.get(task).attempt == 1
    peer.succeed(claim)
    for request in (Add(task), Add(task, again=True)):
        assert peer.ask(request) is None

    assert counts(reach.registry) == {SUCCESS: 1}


def test_a_group_with_one_task_twice_stores_it_once(reach: Reach) -> None:
    peer = reach.peer({"async": 5})
    task = make_task()

    reply = peer.add(task, task)

    assert reply.answers == [None, None]
    assert len(reply.claims) == 1
    assert counts(reach.registry) == {PROCESSING: 1}


def test_more_unfinished_tasks_than_the_limit_are_refused_until_one_is_finished(
    make_reach: MakeReach,
) -> None:
    reach = make_reach(Limits(max_pending=2))
    peer = reach.peer()
    claim = peer.run(make_task())
    failing = peer.run(make_task())
    refused = make_task()

    [answer] = peer.add(refused).answers
    assert isinstance(answer, TooManyUnfinished)
    assert answer.retry_after_seconds >= 1
    assert raised(reach.ask(Get(refused.id))) is TaskNotFound
    assert counts(reach.registry) == {PROCESSING: 2}
    peer.succeed(claim)
    assert peer.add(refused).answers == [None]
    peer.fail(failing)
    assert peer.add(make_task()).answers == [None]

    assert raised(reach.ask(Retry(failing.task_id))) is TooManyUnfinished
    assert reach.state(failing) is FAILED


def test_more_bytes_of_payload_than_the_limit_are_refused_until_some_are_finished(
    make_reach: MakeReach,
) -> None:
    reach = make_reach(Limits(max_pending_bytes=100))
    peer = reach.peer()
    claim = peer.run(make_task(payload=b"x" * 60))
    fits, refused = make_task(payload=b"x" * 40), make_task(payload=b"x" * 41)

    answers = peer.add(refused, fits).answers

    assert [raised(answer) for answer in answers] == [TooManyUnfinished, None]
    assert raised(reach.ask(Get(refused.id))) is TaskNotFound
    peer.succeed(claim)
    assert peer.add(refused).answers == [None]


# -- workers --------------------------------------------------------------------------------------


def test_whoever_has_not_joined_is_refused_and_nothing_is_stored(reach: Reach) -> None:
    peer = reach.peer(joined=False)
    task = make_task()

    reply = peer.exchange(Add(task), peer_beat(peer), Drain(), Leave(), Succeeded("", 1, b"", 0.0))

    assert [raised(answer) for answer in reply.answers] == [NotJoined] * 5
    assert raised(reach.ask(Get(task.id))) is TaskNotFound


def test_a_worker_of_another_service_may_not_join(reach: Reach) -> None:
    worker = reach.processes.start("another")
    reach.peer({"async": 0}).add(make_task())
    foreign = Peer(reach.registry, worker)

    reply = foreign.join()

    assert [raised(answer) for answer in reply.answers] == [NotJoined]
    assert reply.claims == []


def test_someone_who_is_no_worker_may_say_nothing_about_a_worker(reach: Reach) -> None:
    for request in (Beat({"async": 5}, {}, []), Drain(), Leave()):
        assert raised(reach.ask(request)) is NotJoined


def test_someone_who_is_no_worker_may_add_and_gets_no_claims(reach: Reach) -> None:
    task = make_task()

    assert reach.registry.exchange(None, 0, [Add(task)]) == Reply([None], [], [])
    assert reach.state(task) is PENDING


def peer_beat(peer: Peer) -> Beat:
    return Beat(peer.slots, {}, peer.held())


def test_a_claim_that_a_beat_omits_is_released_and_a_listed_one_kept(reach: Reach) -> None:
    peer = reach.peer()
    kept, omitted = peer.run(make_task()), peer.run(make_task())
    peer.slots = {"async": 1}

    peer.beat(held=[Held(kept.task_id, kept.attempt)])

    task = reach.get(omitted)
    assert (reach.state(kept), task.state, task.lost_attempts) == (PROCESSING, PENDING, 0)


def test_a_new_connection_releases_what_it_does_not_list(reach: Reach) -> None:
    peer = reach.peer()
    kept, undelivered = peer.run(make_task()), peer.run(make_task())
    peer.slots = {"async": 1}

    peer.join(held=[Held(kept.task_id, kept.attempt)])

    assert (reach.state(kept), reach.state(undelivered)) == (PROCESSING, PENDING)
    assert raised(peer.succeed(undelivered)) is StaleReport


def test_a_new_connection_silences_the_old_one(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())
    peer.join()
    peer.connection -= 1
    late = make_task()

    reply = peer.exchange(Add(late), Succeeded(claim.task_id, claim.attempt, b"1", 0.1))

    assert [raised(answer) for answer in reply.answers] == [NotJoined] * 2
    assert reach.state(claim) is PROCESSING
    assert raised(reach.ask(Get(late.id))) is TaskNotFound


def test_a_join_that_arrives_after_its_successor_is_refused(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())
    peer.join()
    peer.connection -= 2

    assert [raised(answer) for answer in peer.join(held=[]).answers] == [NotJoined]
    assert reach.state(claim) is PROCESSING


def test_the_tasks_of_a_worker_that_dies_are_pending_again_and_counted_lost(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())

    reach.kill(peer)
    eventually(lambda: reach.state(claim) is PENDING, "the task is released", seconds=3)

    task = reach.get(claim)
    assert (task.lost_attempts, task.worker) == (1, None)
    assert task.error == f"worker {peer.worker.pid} died"
    assert reach.peer().table[claim.task_id].attempt == 2


def test_what_a_draining_worker_loses_by_its_death_is_not_counted(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())
    peer.drain()

    reach.kill(peer)
    eventually(lambda: reach.state(claim) is PENDING, "the task is released", seconds=3)

    assert reach.get(claim).lost_attempts == 0


def test_a_draining_worker_gets_no_claims_and_finishes_what_it_has(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())
    peer.drain()

    assert peer.add(make_task()).claims == []
    assert peer.succeed(claim) is None
    assert peer.table == {}


@pytest.mark.parametrize("executor", ["async", "thread", "process"])
def test_what_a_worker_still_holds_when_it_leaves_is_released_once_its_process_has_ended(
    reach: Reach, executor: str
) -> None:
    peer = reach.peer({executor: 1})
    claim = peer.run(make_task(executor=executor))

    assert peer.leave().answers == [None]

    assert reach.state(claim) is PROCESSING
    assert raised(peer.succeed(claim)) is NotJoined
    reach.kill(peer)
    eventually(lambda: reach.state(claim) is PENDING, "the task is released", seconds=3)
    assert reach.get(claim).lost_attempts == 0


def test_a_worker_that_is_dead_when_its_join_arrives_keeps_no_claims(reach: Reach) -> None:
    peer = reach.peer({"thread": 1}, joined=False)
    task = make_task(executor="thread")
    reach.peer({"async": 0}).add(task)
    reach.kill(peer)

    peer.join()

    eventually(lambda: reach.state(task) is PENDING, "the task is free", seconds=3)


# -- other types and payloads ---------------------------------------------------------------------

CHARGE = Kind("charge", "thread", 7)


def cells(reach: Reach) -> dict[tuple[str, TaskState], int]:
    return {cell: number for cell, number in reach.ask(Counts()).items() if number}


def test_a_retry_may_move_a_task_to_another_type(reach: Reach) -> None:
    peer = reach.peer({"async": 1, "thread": 1})
    claim = peer.run(make_task())
    peer.fail(claim)

    moved = reach.ask(Retry(claim.task_id, b'{"amount":1}', CHARGE))

    assert (moved.type, moved.executor, moved.max_attempts, moved.attempt) == (*CHARGE, 1)
    assert reach.get(moved) == moved
    assert cells(reach) == {("charge", PENDING): 1}
    [again] = peer.take()
    assert (again.type, again.executor, again.payload) == ("charge", "thread", b'{"amount":1}')


def test_a_scheduled_task_may_be_changed_before_it_is_due(reach: Reach) -> None:
    peer = reach.peer({"async": 1, "thread": 1})
    now = time.time()
    task = make_task(state=SCHEDULED, run_at=now + 3600)
    peer.add(task)

    changed = reach.ask(Amend(task.id, b'{"amount":1}', CHARGE, now + 1800))

    assert (changed.state, changed.run_at, changed.payload) == (
        SCHEDULED,
        now + 1800,
        b'{"amount":1}',
    )
    assert cells(reach) == {("charge", SCHEDULED): 1}
    assert reach.get(task) == changed
    reach.ask(Amend(task.id, run_at=now))

    def claimed() -> Claim | None:
        peer.beat()
        return peer.table.get(task.id)

    claim = eventually(claimed, "it is claimed")
    assert (claim.type, claim.payload) == ("charge", b'{"amount":1}')


def test_what_backs_off_may_be_made_due_at_once(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())
    peer.fail(claim, retry_in=3600.0)

    reach.ask(Amend(claim.task_id, run_at=time.time() - 1.0))

    def claimed() -> bool:
        peer.beat()
        return claim.task_id in peer.table

    eventually(claimed, "it is claimed")


def test_only_what_is_scheduled_can_be_changed(reach: Reach) -> None:
    peer = reach.peer({})
    task = make_task()
    peer.add(task)

    assert raised(reach.ask(Amend(task.id, b"{}"))) is IllegalTransition
    assert raised(reach.ask(Amend(make_task().id, b"{}"))) is TaskNotFound


@pytest.mark.parametrize("reach_of", [Limits(max_pending_bytes=100)])
def test_a_larger_payload_needs_room(make_reach: MakeReach, reach_of: Limits) -> None:
    reach = make_reach(reach_of)
    task = make_task(state=SCHEDULED, run_at=time.time() + 3600, payload=b"x" * 60)
    reach.peer({}).add(task)

    assert raised(reach.ask(Amend(task.id, b"x" * 101))) is TooManyUnfinished
    assert reach.ask(Amend(task.id, b"x" * 100)).payload == b"x" * 100


# -- generations of task code ---------------------------------------------------------------------


def test_a_worker_whose_task_code_is_behind_gets_no_tasks_of_task_modules(reach: Reach) -> None:
    behind, ahead = (reach.peer({}, joined=False) for _ in range(2))
    for peer in (behind, ahead):
        peer.known_types, peer.user_types = frozenset({"note", "charge"}), frozenset({"charge"})
        peer.join()
    ahead.generation = 1
    ahead.known_types |= {"new"}
    ahead.user_types |= {"new"}
    ahead.join()
    own, theirs, new = (make_task(type=name) for name in ("note", "charge", "new"))
    ahead.add(theirs, new, own)

    behind.slots = {"async": 3}
    behind.beat()
    assert set(behind.table) == {own.id}
    behind.generation = 1
    behind.beat()

    assert set(behind.table) == {own.id, theirs.id, new.id}


def test_a_claim_says_the_generation_it_is_for_and_so_does_the_task(reach: Reach) -> None:
    peer = reach.peer({"async": 3}, joined=False)
    peer.user_types, peer.generation = frozenset({"charge"}), 4
    peer.join()

    theirs, own = peer.run(make_task(type="charge")), peer.run(make_task())

    assert (theirs.generation, reach.get(theirs).generation) == (4, 4)
    assert (own.generation, reach.get(own).generation) == (0, 0)
    assert reach.ask(Inspect(theirs.task_id)).attempts[-1].generation == 4


# -- counts and metrics ---------------------------------------------------------------------------


def samples(reach: Reach, request: Scrape | None = None) -> dict[tuple[str, str], float]:
    """The service's metrics by name and labels."""
    text = reach.ask(request or Scrape()).decode()
    return {
        (sample.name, " ".join(sorted(sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def metric(reach: Reach, name: str, labels: str = "") -> float:
    return samples(reach)[name, labels]


def one_of_each(reach: Reach) -> Peer:
    """Tasks in all states."""
    peer = reach.peer({"async": 4})
    peer.succeed(peer.run(make_task()))
    failed(reach, peer)
    peer.fail(peer.run(make_task()), retry_in=60.0)
    cancelled = make_task(executor="thread")
    peer.add(cancelled, make_task(executor="thread"))
    reach.ask(Cancel(cancelled.id))
    peer.run(make_task(type="report"))
    return peer


def test_counts_are_of_tasks_by_type_and_state(reach: Reach) -> None:
    one_of_each(reach)

    assert reach.ask(Counts()) == {
        ("note", SUCCESS): 1,
        ("note", FAILED): 1,
        ("note", SCHEDULED): 1,
        ("note", CANCELLED): 1,
        ("note", PENDING): 1,
        ("report", PROCESSING): 1,
    }


def test_metrics_agree_with_the_counts(reach: Reach) -> None:
    one_of_each(reach)

    numbers = samples(reach)

    assert numbers["afterwards_tasks_submitted_total", "note"] == 5
    assert numbers["afterwards_tasks_submitted_total", "report"] == 1
    in_states = {key: n for key, n in numbers.items() if key[0] == "afterwards_tasks"}
    assert {key[1]: n for key, n in in_states.items() if n} == {
        f"{min(pair)} {max(pair)}": n for pair, n in reach.ask(Counts()).items()
    }
    assert numbers["afterwards_task_transitions_total", "note processing"] == 3
    assert numbers["afterwards_task_attempts_total", "note success"] == 1
    assert numbers["afterwards_task_attempts_total", "failure note"] == 2
    assert numbers["afterwards_task_run_seconds_count", "note"] == 3
    assert numbers["afterwards_task_wait_seconds_count", "note"] == 3
    assert numbers["afterwards_workers", ""] == 1
    assert numbers["afterwards_executor_slots", "async busy"] == 1
    assert numbers["afterwards_executor_slots", "async free"] == 3
    assert numbers["afterwards_oldest_pending_seconds", ""] > 0


def test_http_metrics_are_the_sum_over_all_workers_those_gone_included(reach: Reach) -> None:
    one, two = reach.peer(), reach.peer()
    cells = (*[0] * len(HTTP_SECONDS), 2, 25_000_000_000)
    http = WorkerCounts({("POST", "/notify/", "202"): 2}, {("POST", "/notify/"): cells})
    for peer in (one, two, two):
        peer.exchange(peer_beat(peer)._replace(counts=http))

    def total() -> float:
        return metric(reach, "afterwards_http_requests_total", "/notify/ 202 POST")

    assert total() == 4
    reach.kill(two)
    eventually(lambda: metric(reach, "afterwards_workers") == 1, "the death is noticed")
    assert [raised(a) for a in two.exchange(peer_beat(two)._replace(counts=http)).answers] == [
        NotJoined
    ]
    assert total() == 4
    more = WorkerCounts({("POST", "/notify/", "202"): 3}, {})
    one.exchange(Scrape(more))
    assert total() == 5


# -- reading --------------------------------------------------------------------------------------


def test_pages_lead_from_the_newest_task_to_the_oldest(reach: Reach) -> None:
    tasks = [make_task() for _ in range(5)]
    reach.peer({"async": 1}).add(*tasks)

    pages: list[Page] = [reach.ask(Find(limit=2))]
    while (before := pages[-1].next) is not None:
        pages.append(reach.ask(Find(limit=2, before=before)))

    assert [[task.id for task in page.tasks] for page in pages] == [
        [tasks[4].id, tasks[3].id],
        [tasks[2].id, tasks[1].id],
        [tasks[0].id],
    ]


def test_finding_by_state_and_type(reach: Reach) -> None:
    one_of_each(reach)

    found = reach.ask(Find(Filter(frozenset({PROCESSING})))).tasks
    assert [task.type for task in found] == ["report"]
    assert len(reach.ask(Find(Filter(types=frozenset({"note"})))).tasks) == 5
    assert reach.ask(Find(Filter(frozenset({SUCCESS}), types=frozenset({"report"})))) == Page(
        [], None
    )


def test_a_registry_is_a_mapping_of_ids_to_tasks(reach: Reach) -> None:
    registry: Any = reach.registry
    assert (len(registry), list(registry)) == (0, [])
    tasks = [make_task() for _ in range(3)]
    peer = reach.peer({"async": 1})
    peer.add(*tasks)
    peer.succeed(peer.table[tasks[0].id])

    assert len(registry) == 3
    assert list(registry) == [task.id for task in reversed(tasks)]
    assert registry[tasks[0].id].state is SUCCESS
    assert tasks[1].id in registry
    for missing in (str(uuid.uuid4()), "no-uuid"):
        assert missing not in registry
        assert registry.get(missing) is None
        with pytest.raises(KeyError):
            registry[missing]


def test_events_tell_each_transition_once_and_in_order(reach: Reach) -> None:
    peer = reach.peer()
    start = reach.ask(Changes("", 0))
    assert start.reset
    claim = peer.run(make_task())
    peer.fail(claim, retry_in=60.0)
    reach.ask(Cancel(claim.task_id))

    news = reach.ask(Changes(start.epoch, start.sequence))

    assert not news.reset
    assert [event.state for event in news.events] == [PENDING, PROCESSING, SCHEDULED, CANCELLED]
    assert {event.task_id for event in news.events} == {claim.task_id}
    first = start.sequence + 1
    assert [event.sequence for event in news.events] == [first, first + 1, first + 2, first + 3]
    rest = reach.ask(Changes(start.epoch, first + 1))
    assert rest.events == news.events[2:]
    assert reach.ask(Changes(start.epoch, news.sequence)).events == []


@pytest.mark.parametrize(("epoch", "ahead"), [("another", 0), (None, 1)])
def test_a_listener_from_another_epoch_or_the_future_gets_a_snapshot(
    reach: Reach, epoch: str | None, ahead: int
) -> None:
    one_of_each(reach)
    now = reach.ask(Changes("", 0))

    events = reach.ask(Changes(epoch or now.epoch, now.sequence + ahead))

    assert events.reset
    assert events.events == []
    assert events.counts == reach.ask(Counts())


# -- probes ----------------------------------------------------------------------------


def test_a_probe_of_a_working_registry_says_nothing(reach: Reach) -> None:
    assert reach.ask(Probe()) is None
