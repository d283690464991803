"""The history of a task: each of its attempts, as `Inspect` tells of them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from itertools import pairwise

import pytest

from afterwards.counts import OUTCOMES
from afterwards.errors import TaskDeleted, TaskNotFound
from afterwards.lifecycle import MAX_LOST_ATTEMPTS, TaskState, Usage
from afterwards.registry.journal.history import MOST_SHOWN, MOST_TRACEBACK_BYTES
from afterwards.registry.protocol.answers import AttemptRecord, Claim, Details
from afterwards.registry.protocol.base import SUSPECTED, Registry
from afterwards.registry.protocol.requests import (
    Add,
    Cancel,
    Failed,
    Inspect,
    Lost,
    Report,
    Retry,
    Succeeded,
    Suspected,
)
from tests.registry.bench import Bench
from tests.registry.conftest import Reach
from tests.registry.peers import ask, get, make_task, raised

USAGE = Usage(34_000_000, 0.5)


def history(registry: Registry, task_id: str) -> list[AttemptRecord]:
    found = ask(registry, Inspect(task_id))
    assert isinstance(found, Details)
    assert found.task == get(registry, task_id)
    return list(found.attempts)


def of(reach: Reach, claim: Claim) -> list[AttemptRecord]:
    return history(reach.registry, claim.task_id)


def test_a_task_that_waits_has_no_history(reach: Reach) -> None:
    task = make_task()
    reach.ask(Add(task))

    assert history(reach.registry, task.id) == []


def test_the_running_attempt_is_the_last_and_has_no_end(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())

    task = reach.get(claim)
    assert of(reach, claim) == [AttemptRecord(1, peer.name, task.run_at, task.started_at or 0.0)]


def test_an_attempt_that_succeeded_has_all_its_times_and_no_error(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())
    peer.succeed(claim)

    task = reach.get(claim)
    [attempt] = of(reach, claim)

    assert attempt == AttemptRecord(
        1, peer.name, task.run_at, task.started_at or 0.0, task.finished_at, 0.25, "success"
    )


def test_each_way_to_end_is_told_with_its_error(reach: Reach) -> None:
    peer = reach.peer({"async": 2, SUSPECTED: 2})
    claim = peer.run(make_task(max_attempts=9))
    peer.lose(claim, error="killed by SIGKILL")
    peer.suspect(peer.table[claim.task_id], 3, error="killed by SIGSEGV")
    peer.release(peer.table[claim.task_id], reason="the worker stops")
    timed_out = peer.table[claim.task_id]
    peer.report(Failed(claim.task_id, timed_out.attempt, "too slow", 1.5, None, timed_out=True))
    peer.ask(Retry(claim.task_id))
    peer.fail(peer.table[claim.task_id], error="no")
    peer.ask(Retry(claim.task_id))
    peer.ask(Cancel(claim.task_id))
    peer.stop(peer.table[claim.task_id])
    peer.ask(Retry(claim.task_id))
    peer.succeed(peer.table[claim.task_id])

    told = of(reach, claim)

    # Where the worker does not say how long it ran.
    ran = [(a.finished_at or 0.0) - a.started_at for a in told]
    assert [(a.attempt, a.outcome, a.run_seconds, a.error) for a in told] == [
        (1, "lost", None, "killed by SIGKILL"),
        (2, "suspected", None, "killed by SIGSEGV"),
        (3, "released", ran[2], "the worker stops"),
        (4, "timeout", 1.5, "too slow"),
        (5, "failure", 0.25, "no"),
        (6, "cancelled", ran[5], "Cancelled while running"),
        (7, "success", 0.25, None),
    ]
    assert {a.outcome for a in told} == set(OUTCOMES)
    assert {a.worker for a in told} == {peer.name}
    for earlier, later in pairwise(told):
        assert earlier.finished_at is not None
        assert earlier.started_at <= earlier.finished_at <= later.started_at


def test_an_attempt_waits_from_when_it_could_have_been_started(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry)
    start = bench.clock.wall()
    claim = peer.run(bench.task())
    bench.clock.turn(1.0)
    peer.fail(claim, retry_in=5.0)
    bench.clock.turn(7.0)
    [claim] = peer.take()
    bench.clock.turn(1.0)
    peer.lose(claim)

    assert [(a.due_at - start, a.started_at - start) for a in history(registry, claim.task_id)] == [
        (0.0, 0.0),
        (6.0, 8.0),
        (9.0, 9.0),
    ]


def test_a_history_survives_a_crash(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry)
    claim = peer.run(bench.task(max_attempts=9))
    peer.release(claim)
    before = history(registry, claim.task_id)
    bench.machine.kill(peer.worker)

    registry = bench.registry(journal=bench.crash())
    registry.tick()

    told = history(registry, claim.task_id)
    assert told[0] == before[0]
    assert [a.outcome for a in told] == ["released", "lost"]
    assert told[1].error == "the service went down"


def test_an_attempt_whose_end_could_not_be_written_runs_on(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal)
    peer = bench.peer(registry)
    claim = peer.run(bench.task())
    journal.failures = 2
    peer.ask(Failed(claim.task_id, 1, "no", 0.1, None))

    assert [a.outcome for a in history(registry, claim.task_id)] == [None]
    peer.fail(claim)
    assert [a.outcome for a in history(registry, claim.task_id)] == ["failure"]


def test_a_history_is_deleted_with_its_task(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal, retention_seconds=100.0)
    peer = bench.peer(registry)
    claim = peer.run(bench.task())
    peer.report(Failed(claim.task_id, 1, "no", 0.1, None, traceback="in line 1"))
    for _ in range(3):
        bench.clock.turn(100.0)
        registry.tick()

    assert raised(ask(registry, Inspect(claim.task_id))) is TaskDeleted
    for table in ("attempts", "tracebacks"):
        assert journal._writer.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_what_does_not_exist_has_no_history(reach: Reach) -> None:
    for task_id in (str(uuid.uuid4()), "no-uuid", ""):
        assert raised(reach.ask(Inspect(task_id))) is TaskNotFound


def test_without_a_journal_a_history_goes_with_its_task(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry)
    claim = peer.run(bench.task())
    peer.succeed(claim)
    registry.rules.store.put(get(registry, claim.task_id), None)
    registry.tick()

    assert raised(ask(registry, Inspect(claim.task_id))) is TaskDeleted


def test_of_a_long_history_the_latest_attempts_are_shown(bench: Bench) -> None:
    for journal in (None, bench.journal()):
        registry = bench.registry(journal=journal)
        peer = bench.peer(registry)
        claim = peer.run(bench.task())
        for _ in range(MOST_SHOWN + 2):
            peer.release(peer.table[claim.task_id])

        told = history(registry, claim.task_id)

        assert len(told) == MOST_SHOWN + 1
        assert told[-1].outcome is None
        assert [a.attempt for a in told] == list(range(3, MOST_SHOWN + 4))


def test_a_task_lost_too_often_says_so_in_its_last_attempt(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())
    for _ in range(MAX_LOST_ATTEMPTS):
        peer.lose(peer.table[claim.task_id])

    assert reach.state(claim) is TaskState.FAILED
    assert of(reach, claim)[-1].error == "3 attempts were lost; the last: killed by SIGKILL"


def tracebacks(registry: Registry, task_id: str) -> list[tuple[int, str | None]]:
    found = ask(registry, Inspect(task_id, tracebacks=True))
    assert isinstance(found, Details)
    return [(record.attempt, record.traceback) for record in found.attempts]


def test_the_latest_attempts_that_have_a_traceback_keep_it(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task(max_attempts=99))
    for number in (1, 2, 3, 4):
        peer.report(Failed(claim.task_id, number, "no", 0.1, 0.0, traceback=f"in line {number} ☃"))
        assert peer.watch()
        [claim] = peer.take()
    peer.release(claim)
    claim = peer.table[claim.task_id]
    peer.report(Failed(claim.task_id, 6, "no", 0.1, None, traceback="in line 6"))

    kept = {3: "in line 3 ☃", 4: "in line 4 ☃", 6: "in line 6"}
    assert tracebacks(reach.registry, claim.task_id) == [(n, kept.get(n)) for n in range(1, 7)]
    # Who has not asked for it does not pay for it.
    assert {record.traceback for record in of(reach, claim)} == {None}


def test_a_traceback_is_bounded_whatever_a_worker_sends(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())
    peer.report(Failed(claim.task_id, 1, "no", 0.1, None, traceback="é\ud800" * 16_000))

    [(_, text)] = tracebacks(reach.registry, claim.task_id)
    assert text == ("é?" * 16_000).encode()[:MOST_TRACEBACK_BYTES].decode(errors="ignore")


@pytest.mark.parametrize(
    ("report", "outcome"),
    [
        (lambda i, n: Succeeded(i, n, b"1", 0.1, USAGE, ["a", "b"]), "success"),
        (lambda i, n: Failed(i, n, "no", 0.1, 5.0, False, USAGE, ["a", "b"]), "failure"),
        (lambda i, n: Lost(i, n, "killed", USAGE, ["a", "b"]), "lost"),
        (lambda i, n: Suspected(i, n, "killed", 3, USAGE, ["a", "b"]), "suspected"),
    ],
)
def test_what_an_attempt_took_and_printed_last_is_kept_with_it(
    reach: Reach, report: Callable[[str, int], Report], outcome: str
) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())

    assert peer.ask(report(claim.task_id, 1)) is None

    attempt = of(reach, claim)[0]
    assert (attempt.outcome, attempt.log_lines) == (outcome, ("a", "b"))
    assert (attempt.peak_memory_bytes, attempt.cpu_seconds) == USAGE
