"""The log of activity: what people do by hand, in the transaction that does it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from afterwards.errors import IllegalTransition, JournalUnavailable, TaskNotFound
from afterwards.lifecycle import Kind, TaskState
from afterwards.registry.journal import activity
from afterwards.registry.journal.base import Group
from afterwards.registry.process.manager import connect
from afterwards.registry.protocol.activity import (
    MAX_TEXT_CHARACTERS,
    ActivityPage,
    Bulk,
    By,
    Entry,
    Outcome,
)
from afterwards.registry.protocol.base import Registry
from afterwards.registry.protocol.requests import (
    Activity,
    Add,
    Amend,
    Cancel,
    Delete,
    DeleteSchedule,
    Note,
    Pause,
    PauseSchedule,
    PutSchedule,
    Resume,
    Retry,
    RunNow,
    RunSchedule,
)
from afterwards.registry.state.activity import PAUSE_SECONDS, STEP_PAUSE_SECONDS
from tests.registry.bench import Bench, FailingNull, FailingSqlite, SteppedRegistry
from tests.registry.conftest import Hosted, Reach
from tests.registry.peers import ask, counts, make_schedule, make_task, raised

ANN = By("ann", "c1f7a9d2-1", "192.0.2.7")


def log_of(registry: Registry, limit: int = 100) -> Sequence[Entry]:
    page = ask(registry, Activity(limit))
    assert isinstance(page, ActivityPage), page
    return page.entries


def said(entries: Sequence[Entry]) -> list[tuple[str, str, str, str]]:
    return [(entry.verb, entry.object, entry.name, entry.outcome) for entry in entries]


def later(**fields: Any) -> Any:
    return make_task(state=TaskState.SCHEDULED, run_at=time.time() + 3600, **fields)


def test_each_verb_by_hand_leaves_an_entry_that_says_who_and_what(reach: Reach) -> None:
    task = later(payload=b'{"secret":"x"}')
    reach.ask(Add(task))
    reach.ask(Amend(task.id, b'{"secret":"y"}', run_at=4_000_000_000.0, by=ANN))
    reach.ask(Cancel(task.id, ANN))
    reach.ask(Retry(task.id, kind=Kind("charge", "thread", 2), run_at=4e9, by=ANN))
    reach.ask(RunNow(task.id, ANN))
    reach.ask(Cancel(task.id, ANN))
    reach.ask(Delete(task.id, ANN))

    entries = log_of(reach.registry)

    assert said(entries[::-1]) == [
        ("change", "task", task.id, "done"),
        ("cancel", "task", task.id, "done"),
        ("retry", "task", task.id, "done"),
        ("run", "task", task.id, "done"),
        ("cancel", "task", task.id, "done"),
        ("delete", "task", task.id, "done"),
    ]
    assert {(e.actor, e.request_id, e.address) for e in entries} == {ANN[:3]}
    assert {entry.affected for entry in entries} == {1}
    assert [entry.detail for entry in entries[-1:-4:-1]] == [
        "another payload, due 2096-10-02T07:06:40+00:00",
        None,
        "moved to charge, due 2096-10-02T07:06:40+00:00",
    ]
    assert "secret" not in str(entries)
    assert time.time() - 60 < entries[0].at <= time.time()


def test_types_and_schedules_have_their_entries(reach: Reach) -> None:
    schedule, new = make_schedule(), make_task().id
    for request in (
        Pause("note", ANN),
        Resume("note", ANN),
        PutSchedule(schedule, ANN),
        PutSchedule(schedule, ANN),
        PauseSchedule("nightly", True, ANN),
        PauseSchedule("nightly", False, ANN),
        RunSchedule("nightly", new, ANN),
        DeleteSchedule("nightly", ANN),
    ):
        reach.ask(request)

    entries = log_of(reach.registry)[::-1]

    assert said(entries) == [
        ("pause", "task type", "note", "done"),
        ("resume", "task type", "note", "done"),
        ("create", "schedule", "nightly", "done"),
        ("replace", "schedule", "nightly", "done"),
        ("pause", "schedule", "nightly", "done"),
        ("resume", "schedule", "nightly", "done"),
        ("run", "schedule", "nightly", "done"),
        ("delete", "schedule", "nightly", "done"),
    ]
    assert (entries[2].detail, entries[6].detail) == ("note: every 60 s", f"task {new}")


def test_what_is_refused_is_remembered_with_the_reason(reach: Reach) -> None:
    task = make_task()
    reach.ask(Add(task))
    refused = reach.ask(Retry(task.id, by=ANN))
    unknown = reach.ask(Delete(make_task().id, ANN))
    assert (raised(refused), raised(unknown)) == (IllegalTransition, TaskNotFound)

    last, first = log_of(reach.registry)

    assert (first.outcome, first.affected, first.detail) == ("refused", 0, str(refused))
    assert (last.outcome, last.detail) == ("refused", str(unknown))
    assert counts(reach.registry) == {TaskState.PENDING: 1}


def test_what_nobody_asks_for_by_hand_leaves_no_entry(reach: Reach) -> None:
    peer = reach.peer()
    peer.fail(peer.run(make_task()))
    task = later()
    peer.add(task)
    reach.ask(Cancel(task.id))

    assert log_of(reach.registry) == []


def test_a_call_for_many_is_one_entry_that_grows(reach: Reach) -> None:
    by = ANN._replace(bulk=Bulk("b1", "status=failed&type=note", "another payload"))
    tasks = [later() for _ in range(5)]
    reach.registry.exchange(None, 0, list(map(Add, tasks)))
    for part in (tasks[:2], tasks[2:4]):
        reach.registry.exchange(None, 0, [Cancel(task.id, by) for task in part])
    reach.ask(Cancel(tasks[0].id, by))
    reach.ask(Pause("note", ANN))

    [_, growing] = log_of(reach.registry)
    assert growing[1:7] == (
        "cancel", "tasks", "status=failed&type=note", 4, "begun", "another payload",
    )  # fmt: skip

    reach.ask(Note(by, "cancel", "tasks", "status=failed&type=note", Outcome.DONE, "1 skipped"))
    [_, done] = log_of(reach.registry)
    assert done == growing._replace(outcome="done", detail="1 skipped")


def test_pages_lead_from_the_newest_entry_to_the_oldest(reach: Reach) -> None:
    reach.registry.exchange(None, 0, [Pause(f"type {n}", ANN) for n in range(5)])

    found, before = [], None
    for size in (2, 2, 1):
        page = reach.ask(Activity(2, before))
        assert len(page.entries) == size
        found += [entry.name for entry in page.entries]
        before = page.next

    assert (found, before) == ([f"type {n}" for n in (4, 3, 2, 1, 0)], None)


def test_long_texts_are_cut(reach: Reach) -> None:
    reach.ask(Pause("x" * 10_000, ANN))
    [entry] = log_of(reach.registry)
    assert (len(entry.name), entry.name[-1]) == (MAX_TEXT_CHARACTERS, "…")


# -- durable, and not for ever --------------------------------------------------------------------


@pytest.fixture(params=["memory", "journal"])
def journal(request: pytest.FixtureRequest, bench: Bench) -> FailingNull | FailingSqlite:
    return bench.journal() if request.param == "journal" else FailingNull()


def test_what_could_not_be_done_leaves_no_entry_and_is_in_no_later_group(
    bench: Bench, journal: FailingNull | FailingSqlite
) -> None:
    registry = bench.registry(journal=journal)
    journal.failures = 2
    assert raised(ask(registry, Pause("note", ANN))) is JournalUnavailable

    ask(registry, Pause("memo", ANN))

    assert [entry.name for entry in log_of(registry)] == ["memo"]


def test_a_part_of_a_group_has_its_entries_once(
    bench: Bench, journal: FailingNull | FailingSqlite
) -> None:
    registry = bench.registry(journal=journal)
    task = bench.task(due_in=100.0)
    ask(registry, Add(task))
    journal.failures = 1

    refused, answer = registry.exchange(
        None, 0, [RunSchedule("none", make_task().id, ANN), Cancel(task.id, ANN)]
    ).answers

    assert raised(refused) is JournalUnavailable
    assert not isinstance(answer, Exception)
    assert said(log_of(registry)) == [("cancel", "task", task.id, "done")]


def test_entries_outlive_the_registry_together_with_what_was_done(
    hosted: Hosted,
) -> None:
    process = hosted.start()
    registry = connect(process.endpoint)
    task = later()
    ask(registry, Add(task))
    ask(registry, Cancel(task.id, ANN))
    hosted.kill(process)

    registry = hosted.reopen(process)

    [entry] = log_of(registry)
    assert (entry.verb, entry.name, entry.request_id) == ("cancel", task.id, "c1f7a9d2-1")


def test_a_call_for_many_counts_what_was_done_whenever_the_registry_is_killed(
    hosted: Hosted,
) -> None:
    process = hosted.start()
    registry = connect(process.endpoint)
    by = ANN._replace(bulk=Bulk("b1", "all"))
    tasks = [later() for _ in range(2_000)]
    registry.exchange(None, 0, list(map(Add, tasks)))
    begun = threading.Event()

    def cancel_all() -> None:
        own = connect(process.endpoint)
        for first in range(0, len(tasks), 20):
            try:
                own.exchange(None, 0, [Cancel(task.id, by) for task in tasks[first : first + 20]])
            except (OSError, EOFError):
                return
            begun.set()

    cancelling = threading.Thread(target=cancel_all)
    cancelling.start()
    assert begun.wait(10)
    hosted.kill(process)
    cancelling.join()

    registry = hosted.reopen(process)

    [entry] = log_of(registry)
    assert entry.outcome == "begun"
    assert entry.affected == counts(registry)[TaskState.CANCELLED] > 0


def pass_by(bench: Bench, registry: SteppedRegistry, steps: int = 4) -> None:
    bench.clock.turn(PAUSE_SECONDS)
    for _ in range(steps):
        registry.tick()
        bench.clock.turn(STEP_PAUSE_SECONDS)


def test_old_entries_are_deleted_a_few_at_a_time(
    bench: Bench, journal: FailingNull | FailingSqlite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "STEP_ENTRIES", 2)
    monkeypatch.setattr(activity, "_OVERDUE", activity._OVERDUE.replace("1000", "2"))
    registry = bench.registry(journal=journal, activity_seconds=1_000.0, retention_seconds=1e9)
    registry.exchange(None, 0, [Pause(f"old {n}", ANN) for n in range(5)])
    bench.clock.turn(900.0)
    ask(registry, Pause("young", ANN))
    pass_by(bench, registry)
    assert len(log_of(registry)) == 6

    bench.clock.turn(100.0)
    pass_by(bench, registry, steps=2)
    assert len(journal.activity(Activity()).entries) == 2
    pass_by(bench, registry)
    assert [entry.name for entry in log_of(registry)] == ["young"]


def test_deletions_that_could_not_be_written_are_made_up_for(
    bench: Bench, journal: FailingNull | FailingSqlite
) -> None:
    registry = bench.registry(journal=journal, activity_seconds=1_000.0, retention_seconds=1e9)
    ask(registry, Pause("old", ANN))
    bench.clock.turn(1_001.0 + PAUSE_SECONDS)
    journal.failures = 2
    registry.tick()
    assert len(journal.activity(Activity()).entries) == 1

    pass_by(bench, registry)

    assert log_of(registry) == []


def test_there_are_never_more_than_the_limit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "MOST_ENTRIES", 3)
    registry = bench.registry(journal=bench.journal(), activity_seconds=1e9)
    registry.exchange(None, 0, [Pause(f"type {n}", ANN) for n in range(5)])

    pass_by(bench, registry)

    assert [entry.name for entry in log_of(registry)] == ["type 4", "type 3", "type 2"]


def test_without_a_journal_the_last_ones_are_kept_and_a_call_for_many_stays_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "MOST_IN_MEMORY", 3)
    registry = bench.registry()
    by = ANN._replace(bulk=Bulk("b1", "all"))
    note = Note(by, "cancel", "tasks", "all", "done")
    ask(registry, note)
    registry.exchange(None, 0, [Pause(f"type {n}", ANN) for n in range(3)])
    ask(registry, note)

    assert [entry.name for entry in log_of(registry)] == ["all", "type 2", "type 1"]


def test_an_idle_registry_writes_nothing_for_the_sake_of_its_log(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal)
    ask(registry, Pause("note", ANN))
    written: list[Group] = []
    monkeypatch.setattr(journal, "write", written.append)

    for _ in range(5):
        pass_by(bench, registry)

    assert not [group for group in written if group.activity or group.overdue_activity]
