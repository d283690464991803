"""Group commit: what happens to a group whose transaction fails, and what may be seen of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, cast, get_args
from unittest.mock import Mock

import pytest
from structlog.testing import capture_logs

from afterwards.counts import WorkerCounts
from afterwards.errors import (
    JournalLocked,
    JournalUnavailable,
    NotJoined,
    OutcomeUnknown,
    RegistryUnavailable,
    StaleReport,
    TaskDeleted,
    TaskNotFound,
)
from afterwards.lifecycle import Task, TaskState
from afterwards.registry.engine.call import Call
from afterwards.registry.engine.memory import MemoryRegistry
from afterwards.registry.engine.turns import LONGEST_SECONDS
from afterwards.registry.journal.base import Group
from afterwards.registry.journal.nowhere import NullJournal
from afterwards.registry.protocol.answers import Events, Reply, Statistics
from afterwards.registry.protocol.key_requests import Share
from afterwards.registry.protocol.requests import (
    ABOUT_THE_WORKER,
    Add,
    Beat,
    Cancel,
    Changes,
    Counts,
    Get,
    Held,
    Join,
    Leave,
    Probe,
    Progress,
    PutSchedule,
    Request,
    Retry,
    Stats,
    Succeeded,
)
from afterwards.registry.state.store import FINISHED_CACHE_TASKS
from tests.registry.bench import Bench, FailingCommits, FailingNull, FailingSqlite, ProcessEnded
from tests.registry.peers import ask, counts, get, make_schedule, raised

PENDING, PROCESSING = TaskState.PENDING, TaskState.PROCESSING
NEW_WORK_REFUSED, ALL_REFUSED = 1, 2
"""So many failed writes of one group it takes."""


@pytest.fixture(params=["memory", "journal"])
def journal(request: pytest.FixtureRequest, bench: Bench) -> FailingNull | FailingSqlite:
    return bench.journal() if request.param == "journal" else FailingNull()


def test_every_request_is_a_change_a_read_or_a_note_and_only_one_of_them(bench: Bench) -> None:
    committer = bench.registry().committer
    reads, notes = committer._replies._reads.kinds, {Probe, Progress, Share}

    changes = [*ABOUT_THE_WORKER, *committer._rules._verbs]
    assert sorted(map(str, [*changes, *reads, *notes])) == sorted(map(str, get_args(Request)))


@pytest.mark.parametrize("failures", [NEW_WORK_REFUSED, ALL_REFUSED])
def test_a_group_that_cannot_be_written_leaves_no_trace_of_new_tasks(
    bench: Bench, journal: FailingNull | FailingSqlite, failures: int
) -> None:
    registry = bench.registry(journal=journal)
    peer = bench.peer(registry)
    before = ask(registry, Changes("", 0))
    task = bench.task()
    journal.failures = failures

    reply = peer.exchange(Add(task), Get(task.id), PutSchedule(make_schedule()))

    assert [raised(answer) for answer in reply.answers] == [
        JournalUnavailable,
        TaskNotFound,
        JournalUnavailable,
    ]
    assert reply.claims == []
    assert counts(registry) == {}
    assert len(registry) == 0
    assert ask(registry, Changes("", 0)) == before
    # And when it can be written again:
    journal.failures = 0
    assert peer.exchange(Add(task), PutSchedule(make_schedule())).answers == [None, True]
    assert counts(registry) == {PROCESSING: 1}


def test_reports_and_cancellations_may_fit_where_new_tasks_do_not(
    bench: Bench, journal: FailingNull | FailingSqlite
) -> None:
    registry = bench.registry(journal=journal)
    peer = bench.peer(registry)
    claim, other = peer.run(bench.task()), peer.run(bench.task())
    journal.failures = NEW_WORK_REFUSED

    answers = peer.exchange(
        Add(bench.task()),
        Succeeded(claim.task_id, claim.attempt, b"1", 0.1),
        Cancel(other.task_id),
    ).answers

    assert [raised(answer) for answer in answers] == [JournalUnavailable, None, None]
    assert get(registry, claim.task_id).state is TaskState.SUCCESS
    assert peer.told == [Held(other.task_id, 1)]


def test_a_refused_report_is_accepted_when_it_is_sent_again(
    bench: Bench, journal: FailingNull | FailingSqlite
) -> None:
    registry = bench.registry(journal=journal)
    peer = bench.peer(registry)
    claim = peer.run(bench.task())
    report = Succeeded(claim.task_id, claim.attempt, b"1", 0.1)
    journal.failures = ALL_REFUSED

    assert raised(peer.ask(report)) is JournalUnavailable
    assert get(registry, claim.task_id).state is PROCESSING
    assert peer.ask(report) is None
    assert raised(peer.ask(report)) is StaleReport


def test_a_cancellation_whose_commit_failed_is_told_to_nobody(
    bench: Bench, journal: FailingNull | FailingSqlite
) -> None:
    registry = bench.registry(journal=journal)
    peer = bench.peer(registry)
    claim = peer.run(bench.task())
    journal.failures = ALL_REFUSED

    assert raised(peer.ask(Cancel(claim.task_id))) is JournalUnavailable
    peer.beat()

    assert peer.told == []
    assert not get(registry, claim.task_id).cancel_requested
    assert raised(peer.stop(claim)) is not None


def test_reading_goes_on_while_nothing_can_be_written(
    bench: Bench, journal: FailingNull | FailingSqlite
) -> None:
    registry = bench.registry(journal=journal)
    peer = bench.peer(registry)
    claim = peer.run(bench.task())
    journal.failures = 100

    answers = peer.exchange(Add(bench.task()), Get(claim.task_id), Probe()).answers

    assert [raised(answer) for answer in answers] == [JournalUnavailable, None, JournalUnavailable]
    assert list(registry) == [claim.task_id]
    assert raised(ask(registry, Probe())) is JournalUnavailable
    journal.failures = 0
    assert ask(registry, Probe()) is None


class Locked(NullJournal):
    """Another process has its lock; counts the tries."""

    tries = 0

    def write(self, group: Group) -> None:
        self.tries += 1
        raise JournalLocked("it is locked by another process")


def test_under_a_foreign_lock_readers_and_beats_wait_for_one_try_only(bench: Bench) -> None:
    journal = Locked()
    registry = bench.registry(journal=journal)
    peer = bench.peer(registry)
    task = bench.task()

    reply = peer.exchange(Beat({"async": 2}, {}, [], WorkerCounts({}, {})), Add(task), Get(task.id))

    assert [raised(answer) for answer in reply.answers] == [None, JournalLocked, TaskNotFound]
    assert journal.tries == 1


def test_under_a_foreign_lock_a_probe_says_so(bench: Bench) -> None:
    registry = bench.registry(journal=Locked())

    answer = ask(registry, Probe())

    assert type(answer) is JournalUnavailable
    assert "locked by another process" in str(answer)


def test_a_worker_can_join_while_nothing_can_be_written(
    bench: Bench, journal: FailingNull | FailingSqlite
) -> None:
    registry = bench.registry(journal=journal)
    peer = bench.peer(registry)
    claim = peer.run(bench.task())
    peer.connection += 1
    journal.failures = ALL_REFUSED

    reply = peer.exchange(Join(peer.slots, []), Add(bench.task()))

    assert [raised(answer) for answer in reply.answers] == [None, JournalUnavailable]
    # What the join did not list was not released, and is by the next beat.
    assert get(registry, claim.task_id).state is PROCESSING
    peer.slots = {}
    peer.beat(held=[])
    assert get(registry, claim.task_id).state is PENDING


def test_what_a_beat_releases_is_not_seen_before_it_is_committed(
    bench: Bench, journal: FailingNull | FailingSqlite
) -> None:
    registry = bench.registry(journal=journal)
    peer = bench.peer(registry)
    claim = peer.run(bench.task())
    journal.failures = ALL_REFUSED

    reply = peer.exchange(Beat({}, {}, []), Get(claim.task_id))

    assert reply.answers[1] == get(registry, claim.task_id)
    assert counts(registry) == {PROCESSING: 1}


def test_a_leave_and_a_death_take_effect_as_soon_as_they_can_be_written(
    bench: Bench, journal: FailingNull | FailingSqlite
) -> None:
    registry = bench.registry(journal=journal)
    leaving, dying = bench.peer(registry), bench.peer(registry)
    left, lost = leaving.run(bench.task()), dying.run(bench.task())
    bench.machine.kill(dying.worker)
    journal.failures = ALL_REFUSED

    assert leaving.exchange(Leave()).answers == [None]
    bench.machine.kill(leaving.worker)
    assert counts(registry) == {PENDING: 2}

    assert get(registry, left.task_id).lost_attempts == 0
    assert get(registry, lost.task_id).lost_attempts == 1


def test_a_stale_report_is_counted_once_however_often_its_group_is_carried_out(
    bench: Bench, journal: FailingNull | FailingSqlite
) -> None:
    registry = bench.registry(journal=journal)
    peer = bench.peer(registry)
    journal.failures = NEW_WORK_REFUSED

    peer.exchange(Add(bench.task()), Succeeded(bench.task().id, 1, b"1", 0.1))

    assert registry.views.refused_reports == 1


def test_what_is_due_while_nothing_can_be_written_is_not_tried_without_a_pause(
    bench: Bench, journal: FailingNull | FailingSqlite
) -> None:
    registry = bench.registry(journal=journal)
    bench.peer(registry, {"async": 0}).add(bench.task(due_in=1.0))
    journal.failures = 2
    bench.clock.turn(5.0)
    registry.tick()

    assert registry.committer._until_next_due() == LONGEST_SECONDS
    registry.tick()
    assert counts(registry) == {PENDING: 1}


def test_the_two_queues_of_due_tasks_decide_how_long_the_committer_waits(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry)
    assert registry.committer._until_next_due() == LONGEST_SECONDS

    peer.add(bench.task(due_in=0.2))
    assert registry.committer._until_next_due() == pytest.approx(0.2)
    peer.fail(peer.run(bench.task()), retry_in=0.1)
    assert registry.committer._until_next_due() == pytest.approx(0.1)
    bench.clock.turn(1.0)
    assert registry.committer._until_next_due() == 0.0


def test_one_request_that_breaks_the_rules_own_code_costs_its_group_and_nothing_else(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry)
    impossible = bench.task(priority=2**70)
    good: Any = bench.task()

    answers = peer.add(impossible, good).answers

    assert [raised(answer) for answer in answers] == [JournalUnavailable] * 2
    assert peer.table == {}
    assert peer.add(good).answers == [None]
    assert counts(registry) == {PROCESSING: 1}


def test_no_two_callers_of_one_group_get_the_same_task(bench: Bench) -> None:
    registry = bench.registry()
    one, two = bench.peer(registry, {"async": 2}), bench.peer(registry, {"async": 2})
    tasks = [bench.task() for _ in range(3)]

    calls = registry.together((one, [Add(tasks[0]), Add(tasks[1])]), (two, [Add(tasks[2])]))

    claimed = [claim.task_id for call in calls for claim in call.claims]
    assert sorted(claimed) == sorted(task.id for task in tasks)


def test_two_retries_in_one_group_are_one(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry)
    claim = peer.run(bench.task())
    peer.fail(claim)

    calls = registry.together((None, [Retry(claim.task_id)]), (None, [Retry(claim.task_id)]))

    assert [isinstance(call.answers[0], Task) for call in calls] == [True, False]


def test_claims_of_one_exchange_are_bounded_in_bytes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterwards.registry.state.rules.MAX_BATCH_BYTES", 100)
    registry = bench.registry()
    bench.peer(registry, {"async": 0}).add(*[bench.task(payload=b"x" * 60) for _ in range(3)])
    peer = bench.peer(registry, {"async": 3})

    assert len(peer.table) == 2
    assert peer.watch()
    assert len(peer.take()) == 1


def test_finished_tasks_beyond_the_cache_are_read_from_the_journal(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert FINISHED_CACHE_TASKS >= 1
    monkeypatch.setattr("afterwards.registry.state.store.FINISHED_CACHE_TASKS", 2)
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry)
    tasks = [bench.task() for _ in range(5)]
    for task in tasks:
        peer.fail(peer.run(task), error=task.id)
    registry.tick()

    assert registry.rules.store.get(tasks[0].id) is None
    assert len(registry.rules.store._finished) == len(registry._committed._tasks) == 2
    assert get(registry, tasks[0].id).error == tasks[0].id
    # It is known all the same: not added twice, and retried from where it lies.
    assert peer.ask(Add(tasks[0], again=True)) is None
    assert get(registry, tasks[0].id).state is TaskState.FAILED
    assert isinstance(ask(registry, Retry(tasks[1].id)), Task)
    assert len(registry) == 5


def test_without_a_journal_finished_tasks_beyond_the_cache_are_deleted_and_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterwards.registry.state.store.FINISHED_CACHE_BYTES", 100)
    registry = bench.registry()
    peer = bench.peer(registry)
    tasks = [bench.task(payload=b"x" * 40) for _ in range(4)]
    for task in tasks:
        peer.succeed(peer.run(task), b"")
    registry.tick()

    assert list(registry) == [tasks[3].id, tasks[2].id]
    assert set(registry._committed._tasks) == {tasks[3].id, tasks[2].id}
    assert raised(ask(registry, Get(tasks[0].id))) is TaskDeleted
    assert registry.views._counts["deleted", "note", ""] == 2


def test_events_beyond_the_window_are_a_reset(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterwards.registry.engine.views.EVENTS_KEPT", 3)
    registry = bench.registry()
    bench.peer(registry, {"async": 0}).add(*[bench.task() for _ in range(5)])
    epoch = registry.views.events.epoch

    assert ask(registry, Changes(epoch, 1)).reset
    window = ask(registry, Changes(epoch, 2))
    assert (window.reset, len(window.events)) == (False, 3)


def test_a_worker_that_is_refused_leaves_no_http_metrics(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry)
    peer.connection += 1

    answer = peer.ask(Beat({}, {}, [], WorkerCounts({("GET", "/", "200"): 1}, {})))

    assert raised(answer) is NotJoined
    assert registry.views.of_workers.by_worker() == {}


def test_the_advice_when_to_come_back_follows_the_rate_of_late(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry, {"async": 500})
    assert registry.rules.room._refusal(1, "tasks").retry_after_seconds == 60.0
    claims = list(peer.add(*[bench.task() for _ in range(500)]).claims)
    bench.clock.turn(1.0)
    for claim in claims:
        peer.succeed(claim)
    bench.clock.turn(5.0)
    peer.succeed(peer.run(bench.task()))

    assert 1.0 <= registry.rules.room._refusal(1, "tasks").retry_after_seconds < 60.0


def test_closing_a_registry_refuses_what_comes_later(tmp_path: Path) -> None:
    registry = MemoryRegistry("service", journal=NullJournal())
    registry.close()

    with pytest.raises(Exception, match="does not answer"):
        registry.exchange(None, 0, [Probe()])


def test_a_claim_that_could_not_be_written_is_given_to_nobody(
    bench: Bench, journal: FailingNull | FailingSqlite
) -> None:
    registry = bench.registry(journal=journal)
    task = bench.task()
    bench.peer(registry, {}).add(task)
    peer = bench.peer(registry, {})
    peer.slots = {"async": 1}
    journal.failures = ALL_REFUSED

    assert peer.beat().claims == []
    assert get(registry, task.id).state is PENDING
    assert [claim.attempt for claim in peer.take()] == [1]


# -- a commit whose outcome nobody knows -----------------------------------------------------------


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise `ProcessEnded` in the caller of the registry instead of ending the process."""

    def end(status: int) -> None:
        raise ProcessEnded(status)

    monkeypatch.setattr("afterwards.registry.engine.turns.os._exit", end)


@pytest.mark.usefixtures("ended")
@pytest.mark.parametrize("arrives", [True, False])
def test_a_commit_of_unknown_outcome_ends_the_registry_and_a_repeat_makes_one_task(
    bench: Bench, arrives: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal)
    peer = bench.peer(registry, {"async": 0})
    task = bench.task(idempotency_key="order-1", fingerprint=b"1")
    writer = journal._writer
    journal._writer = cast("Any", FailingCommits(writer, "SQLITE_IOERR_FSYNC", arrives=arrives))

    with pytest.raises(ProcessEnded):
        peer.add(task)

    output = "".join(capfd.readouterr())
    assert "disk I/O error (SQLITE_IOERR_FSYNC)" in output
    assert str(journal._path) in output
    journal._writer = writer
    # The next registry knows what has become of it, and whoever repeats it need not.
    registry = bench.registry(journal=bench.crash())
    assert len(registry) == arrives
    repeat = bench.task(idempotency_key="order-1", fingerprint=b"1")
    answer = ask(registry, Add(repeat))
    assert answer == (get(registry, task.id) if arrives else None)
    assert len(registry) == 1


@pytest.mark.usefixtures("ended")
def test_nobody_of_a_group_whose_outcome_is_unknown_is_answered(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal)
    told: list[Reply] = []
    call = Call(None, 0, [Add(bench.task())], tell=told.append)
    writer = journal._writer
    journal._writer = cast("Any", FailingCommits(writer, "SQLITE_IOERR_FSYNC", arrives=True))

    with pytest.raises(OutcomeUnknown):
        registry.committer.commit([call])

    assert not call.done
    assert told == []
    journal._writer = writer


def test_a_bug_after_the_commit_is_no_refusal(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = bench.registry(journal=bench.journal())
    task = bench.task()
    broken = Mock(side_effect=ValueError)
    monkeypatch.setattr(registry.committer._replies, "settle", broken)

    assert raised(ask(registry, Add(task))) is RegistryUnavailable

    monkeypatch.undo()
    assert get(registry, task.id).state is PENDING


# -- answers first, then what is seen of the group -------------------------------------------------


def test_an_answer_is_told_after_the_commit_and_before_it_is_counted(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal)
    peer = bench.peer(registry)
    task = bench.task()
    seen: list[tuple[Reply, Task | None, object]] = []

    def tell(reply: Reply) -> None:
        seen.append((reply, journal.read(task.id), {**registry.views._counts}))

    reply = registry.exchange(peer.worker, peer.connection, [Add(task), Get(task.id)], tell)

    assert seen == [(reply, get(registry, task.id), {})]
    assert [claim.task_id for claim in reply.claims] == [task.id]
    assert registry.views._counts["tasks", "note", PROCESSING] == 1


@pytest.mark.parametrize("reads", [Beat({"async": 0}, {}, []), Changes("", 0), Counts(), Stats()])
def test_whoever_reads_is_answered_after_the_group_is_counted_and_sees_it(
    bench: Bench, reads: Request
) -> None:
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry, {"async": 0})
    told: list[Reply] = []

    reply = registry.exchange(
        peer.worker, peer.connection, [reads, Add(bench.task()), Counts()], told.append
    )

    assert told == [], "it was answered before the group was counted"
    assert reply.answers[1:] == [None, {("note", PENDING): 1}]
    match reply.answers[0]:
        case Events() as events:
            assert (events.sequence, events.counts) == (1, {("note", PENDING): 1})
        case Statistics() as statistics:
            assert statistics.snapshot.counts["tasks", "note", PENDING] == 1


def test_the_task_that_only_the_journal_has_is_not_read_in_a_turn(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterwards.registry.state.store.FINISHED_CACHE_BYTES", 0)
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry)
    task = bench.task()
    peer.succeed(peer.run(task))
    registry.tick()
    told: list[Reply] = []

    reply = registry.exchange(None, 0, [Get(task.id)], told.append)

    assert told == []
    assert isinstance(reply.answers[0], Task)
    assert reply.answers[0].state is TaskState.SUCCESS


@pytest.mark.parametrize("broken", ["views.committed", "committer._draw_attention"])
def test_a_bug_in_what_is_seen_of_a_group_takes_nothing_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry)
    task, other = bench.task(), bench.task()
    owner, name = broken.split(".")
    monkeypatch.setattr(getattr(registry, owner), name, Mock(side_effect=ValueError))

    with capture_logs() as lines:
        reply = peer.exchange(Add(task), Counts())
        peer.succeed(reply.claims[0])

    assert raised(reply.answers[0]) is None
    assert [line["log_level"] for line in lines].count("error") == 2
    monkeypatch.undo()
    assert get(registry, task.id).state is TaskState.SUCCESS
    assert raised(peer.ask(Add(other))) is None
    assert len(bench.registry(journal=bench.crash())) == 2


def test_an_answer_that_cannot_be_told_is_given_to_whoever_waits_for_it(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())

    with capture_logs() as lines:
        reply = registry.exchange(None, 0, [Add(bench.task())], Mock(side_effect=ValueError))

    assert reply.answers == [None]
    assert counts(registry) == {PENDING: 1}
    assert [line["log_level"] for line in lines] == ["error"]


@pytest.mark.processes
def test_a_bug_that_escapes_ends_the_process_so_that_it_is_started_again(tmp_path: Path) -> None:
    script = """
import sys
from afterwards.registry.protocol.requests import Probe
from afterwards.registry.engine.memory import MemoryRegistry
registry = MemoryRegistry("s")
registry.committer.commit = None
registry.exchange(None, 0, [Probe()])
registry.exchange(None, 0, [Probe()])
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, timeout=30, check=False
    )

    assert ended.returncode == 1
    assert b"ending the process" in ended.stdout + ended.stderr
