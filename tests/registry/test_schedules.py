"""Schedules: each due time has its task once, whatever dies, fails or is set (rule 17)."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from cronsim import CronSim

from afterwards.errors import (
    JournalUnavailable,
    ScheduleNotFound,
    TooManySchedules,
    UniqueKeyTaken,
)
from afterwards.lifecycle import Task, TaskState
from afterwards.registry.process.manager import connect
from afterwards.registry.protocol.answers import DueTask
from afterwards.registry.protocol.base import Registry
from afterwards.registry.protocol.requests import (
    Add,
    Cancel,
    DeleteSchedule,
    Find,
    GetSchedule,
    PauseSchedule,
    PutSchedule,
    RunSchedule,
    Schedules,
    Succeeded,
)
from afterwards.registry.state.acceptance import Limits
from afterwards.registry.state.due_times import MAX_CAUGHT_UP
from afterwards.registry.state.schedules import FIRING_SECONDS
from afterwards.schedules import recurrence
from afterwards.schedules.schedule import Schedule
from afterwards.task_ids import new_id
from tests.registry.bench import Bench, FailingNull, FailingSqlite, SteppedRegistry
from tests.registry.conftest import Hosted, Reach
from tests.registry.peers import Peer, ask, eventually, make_schedule, make_task, raised

NO_NEW_TASKS, NOTHING = 1, 2


@pytest.fixture(params=["memory", "journal"])
def journal(request: pytest.FixtureRequest, bench: Bench) -> FailingNull | FailingSqlite:
    return bench.journal() if request.param == "journal" else FailingNull()


def put(registry: Registry, name: str = "nightly", **fields: Any) -> Schedule:
    assert ask(registry, PutSchedule(make_schedule(name, **fields))) in (True, False)
    return shown(registry, name)


def shown(registry: Registry, name: str = "nightly") -> Schedule:
    schedule = ask(registry, GetSchedule(name))
    assert isinstance(schedule, Schedule), schedule
    return schedule


def due(schedule: Schedule) -> float:
    """Its next due time; there is one."""
    assert schedule.next_due is not None
    return schedule.next_due


def made(registry: Registry) -> list[Task]:
    """The tasks of schedules, in the order of their due times."""
    page = ask(registry, Find(limit=10_000))
    assert page.next is None
    return sorted((task for task in page.tasks if task.schedule), key=lambda task: task.run_at)


def dues(registry: Registry, since: float) -> list[float]:
    """The due times of the tasks, in seconds since a moment."""
    return [round(task.run_at - since, 6) for task in made(registry)]


def let_pass(registry: SteppedRegistry, bench: Bench, seconds: float, steps: int = 1) -> None:
    for _ in range(steps):
        bench.clock.turn(seconds / steps)
        registry.tick()


# -- the verbs ------------------------------------------------------------------------------------


def test_a_schedule_is_put_shown_listed_and_deleted(reach: Reach) -> None:
    before = time.time()
    given = make_schedule("b", cron="30 2 * * *", timezone="Europe/Berlin", created_at=5.0)
    pattern = replace(given.pattern, type="report", payload=b'{"a":1}', priority=7, max_attempts=9,
                      timeout_seconds=2.5, executor="process")  # fmt: skip
    given = replace(given, pattern=pattern, catch_up=True, next_due=1.0, last_due=2.0)
    assert reach.ask(PutSchedule(given)) is True
    assert reach.ask(PutSchedule(make_schedule("a"))) is True

    schedule = reach.ask(GetSchedule("b"))
    assert before <= schedule.created_at <= time.time()
    assert schedule.next_due == schedule.recurrence.after(schedule.created_at)
    assert schedule == replace(
        given, created_at=schedule.created_at, next_due=schedule.next_due, last_due=None
    )
    assert [each.name for each in reach.ask(Schedules()).schedules] == ["a", "b"]

    assert reach.ask(PutSchedule(given)) is False
    assert reach.ask(DeleteSchedule("b")) is None
    for request in (GetSchedule("b"), DeleteSchedule("b"), PauseSchedule("b", True)):
        assert raised(reach.ask(request)) is ScheduleNotFound
    assert [each.name for each in reach.ask(Schedules()).schedules] == ["a"]


def test_a_due_time_is_skipped_while_an_unfinished_task_has_its_unique_key(
    bench: Bench, journal: FailingNull | FailingSqlite
) -> None:
    registry = bench.registry(Limits(lease_seconds=1e6), journal=journal)
    peer = bench.peer(registry)
    since = bench.clock.wall()
    pattern = make_task(id="", created_at=0.0, run_at=0.0, unique_key="sync", concurrency_key="crm")
    put(registry, pattern=pattern)
    let_pass(registry, bench, 60.0)
    [claim] = peer.take()
    assert (shown(registry).last_skipped, dues(registry, since)) == (None, [60.0])

    let_pass(registry, bench, 120.0, steps=2)

    schedule = shown(registry)
    assert (schedule.last_due, schedule.last_skipped) == (since + 60.0, since + 180.0)
    assert schedule.last_task_id == claim.task_id
    assert raised(ask(registry, RunSchedule("nightly", new_id()))) is UniqueKeyTaken
    peer.succeed(claim)
    let_pass(registry, bench, 60.0)
    assert dues(registry, since) == [60.0, 240.0]
    assert shown(registry).last_skipped == since + 180.0
    assert put(registry, pattern=pattern).last_skipped == since + 180.0


def test_the_keys_of_a_schedule_and_what_it_has_skipped_survive_a_crash(bench: Bench) -> None:
    registry = bench.registry(Limits(lease_seconds=1e6), journal=bench.journal())
    pattern = make_task(id="", created_at=0.0, run_at=0.0, unique_key="sync", concurrency_key="c")
    put(registry, pattern=pattern)
    put(registry, "plain")
    let_pass(registry, bench, 120.0, steps=2)
    before = [shown(registry, name) for name in ("nightly", "plain")]
    assert before[0].last_skipped is not None

    registry = bench.registry(Limits(lease_seconds=1e6), journal=bench.crash())

    assert [shown(registry, name) for name in ("nightly", "plain")] == before
    ask(registry, DeleteSchedule("nightly"))
    assert put(registry).pattern.unique_key is None


def test_a_list_tells_the_latest_tasks_of_due_times_newest_first(reach: Reach) -> None:
    put(reach.registry, "a", every_seconds=1.0)
    put(reach.registry, "b", cron="0 3 1 1 *")
    put(reach.registry, "a.b", cron="0 3 1 1 *")
    assert isinstance(reach.ask(RunSchedule("b", make_task().id)), Task)
    first, second = eventually(lambda: len(t := due_ones(reach.registry)) > 1 and t[:2], "two")
    reach.ask(Cancel(first.id))

    results = reach.ask(Schedules(results=True)).results

    assert set(results) == {"a", "a.b", "b"}
    assert results["a.b"] == results["b"] == []
    assert results["a"][-2:] == [
        DueTask(second.id, second.run_at, TaskState.PENDING),
        DueTask(first.id, first.run_at, TaskState.CANCELLED),
    ]
    assert reach.ask(Schedules()).results is None


def due_ones(registry: Registry) -> list[Task]:
    """The tasks that due times have made."""
    return [task for task in made(registry) if task.idempotency_key]


def test_a_schedule_makes_a_task_each_time_it_is_due(reach: Reach) -> None:
    pattern = make_task(id="", type="report", payload=b'{"n":1}', priority=6, max_attempts=2)
    schedule = put(reach.registry, pattern=pattern, every_seconds=1.0)

    first, second = eventually(lambda: len(t := made(reach.registry)) > 1 and t[:2], "two tasks")

    assert first.run_at == schedule.created_at + 1.0
    assert second.run_at == schedule.created_at + 2.0
    assert first.created_at >= first.run_at
    assert (first.schedule, first.type, first.payload) == ("nightly", "report", b'{"n":1}')
    assert (first.priority, first.max_attempts, first.state) == (6, 2, TaskState.PENDING)
    assert shown(reach.registry).last_task_id in {task.id for task in made(reach.registry)}
    assert set(reach.peer().table) <= {task.id for task in made(reach.registry)}


def test_a_worker_is_woken_for_a_scheduled_task(reach: Reach) -> None:
    peer = reach.peer()
    put(reach.registry, every_seconds=1.0)

    assert peer.watch()
    assert [claim.type for claim in peer.take()] == ["note"]


def test_the_registry_wakes_by_itself_when_a_schedule_is_due(bench: Bench) -> None:
    registry = bench.registry()
    put(registry)
    bench.clock.turn(59.875)
    registry.tick()

    assert registry.committer._until_next_due() == 0.125


def test_a_paused_schedule_rests_and_makes_nothing_up(bench: Bench) -> None:
    registry = bench.registry()
    schedule = put(registry, catch_up=True)
    let_pass(registry, bench, 60.0)

    paused = ask(registry, PauseSchedule("nightly", True))
    assert paused == shown(registry)
    assert (paused.paused, paused.next_due) == (True, None)
    let_pass(registry, bench, 600.0, steps=5)
    resumed = ask(registry, PauseSchedule("nightly", False))
    assert ask(registry, PauseSchedule("nightly", False)) == resumed
    let_pass(registry, bench, 60.0)

    assert dues(registry, schedule.created_at) == [60.0, 720.0]


def test_putting_it_with_the_same_recurrence_does_not_begin_anew(bench: Bench) -> None:
    registry = bench.registry()
    before = put(registry, every_seconds=100.0)
    bench.clock.turn(90.0)
    after = put(registry, every_seconds=100.0, pattern=make_task(id="", type="other"))
    let_pass(registry, bench, 10.0)

    assert (after.created_at, after.next_due) == (before.created_at, before.next_due)
    assert [task.type for task in made(registry)] == ["other"]


@pytest.mark.parametrize(
    "changed", [{"every_seconds": 7.0}, {"cron": "* * * * *", "every_seconds": None}]
)
def test_putting_it_with_another_recurrence_goes_by_that_from_now(
    bench: Bench, changed: dict[str, Any]
) -> None:
    registry = bench.registry()
    before = put(registry, every_seconds=100.0)
    bench.clock.turn(30.0)

    after = put(registry, **changed)

    assert after.created_at == before.created_at
    assert after.next_due == after.recurrence.after(bench.clock.wall())


def test_a_schedule_can_be_put_paused_and_put_to_go_on(bench: Bench) -> None:
    registry = bench.registry()
    assert put(registry, paused=True).next_due is None
    let_pass(registry, bench, 300.0)
    assert made(registry) == []

    schedule = put(registry, paused=False)

    assert schedule.next_due == schedule.created_at + 360.0


def test_there_are_only_so_many_schedules(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("afterwards.registry.state.schedules.MAX_SCHEDULES", 2)
    registry = bench.registry()
    put(registry, "a")
    put(registry, "b")

    assert raised(ask(registry, PutSchedule(make_schedule("c")))) is TooManySchedules
    assert ask(registry, PutSchedule(make_schedule("a"))) is False
    ask(registry, DeleteSchedule("a"))
    assert ask(registry, PutSchedule(make_schedule("c"))) is True


def test_nobody_waits_while_a_rare_due_time_is_looked_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = bench.registry()
    rare = make_schedule(cron="7 7 * 2 1#5", every_seconds=None)
    call, looks = registry.committer.call, itertools.count()

    def in_the_turn(*args: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(CronSim, "advance", lambda _: next(looks))
            return call(*args)

    monkeypatch.setattr(registry.committer, "call", in_the_turn)
    ask(registry, PutSchedule(rare))
    ask(registry, PauseSchedule("nightly", True))
    bench.clock.turn(1.0)
    recurrence._known.cache_clear()
    assert ask(registry, PauseSchedule("nightly", False)).next_due is not None

    assert next(looks) == 0


# -- late -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("catch_up", [True, False])
def test_what_is_a_minute_late_at_most_is_done(bench: Bench, catch_up: bool) -> None:
    registry = bench.registry(journal=bench.journal())
    schedule = put(registry, every_seconds=20.0, catch_up=catch_up)

    bench.clock.turn(75.0)
    registry = bench.registry(journal=bench.crash())
    registry.tick()

    assert dues(registry, schedule.created_at) == [20.0, 40.0, 60.0]


def test_without_catching_up_what_is_later_is_skipped(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    schedule = put(registry, every_seconds=20.0)

    bench.clock.turn(1_000_010.0)
    registry = bench.registry(journal=bench.crash())
    registry.tick()

    assert dues(registry, schedule.created_at) == [999_960.0, 999_980.0, 1_000_000.0]
    assert shown(registry).next_due == schedule.created_at + 1_000_020.0


def test_what_was_missed_is_caught_up_with_once_and_oldest_first(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    schedule = put(registry, every_seconds=3600.0, catch_up=True)

    bench.clock.turn(5 * 3600.0 + 1)
    registry = bench.registry(journal=bench.crash())
    registry.tick()
    registry.tick()

    assert dues(registry, schedule.created_at) == [3600.0 * n for n in range(1, 6)]
    by_order = sorted(made(registry), key=lambda task: task.order)
    assert [task.run_at for task in by_order] == sorted(task.run_at for task in by_order)
    assert all(task.created_at >= bench.clock.wall() for task in by_order)


@pytest.mark.parametrize("recurrence", [{"every_seconds": 60.0}, {"cron": "* * * * *"}])
def test_of_too_many_missed_times_the_latest_are_caught_up_with(
    bench: Bench, recurrence: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterwards.registry.state.rules.DUE_AT_ONCE", 300)
    registry = bench.registry(journal=bench.journal())
    put(registry, **recurrence, catch_up=True)

    bench.clock.turn(60.0 * 5_000 + 1)
    registry = bench.registry(journal=bench.crash())
    last = shown(registry).recurrence.latest(1, bench.clock.wall())
    registry.tick()
    assert 0 < registry.rules.store.unfinished() < MAX_CAUGHT_UP, "others have their turn"
    bench.clock.turn(5.0)
    for _ in range(20):
        registry.tick()

    assert last is not None
    assert dues(registry, last) == [-60.0 * n for n in reversed(range(MAX_CAUGHT_UP))]


@pytest.mark.parametrize("catch_up", [True, False])
def test_what_takes_long_lets_others_have_their_turn(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, catch_up: bool
) -> None:
    registry = bench.registry(journal=bench.journal())
    for number in range(30):
        put(registry, str(number), cron="0 0 * * *", catch_up=catch_up)
    bench.clock.turn(10 * 86_400.0)
    registry = bench.registry(journal=bench.crash())
    # Of the processor's seconds each look takes a quarter of what a group may spend.
    looks = itertools.count(0, FIRING_SECONDS / 4)
    monkeypatch.setattr(
        "afterwards.registry.state.schedules.time", SimpleNamespace(thread_time=looks.__next__)
    )

    def late() -> int:
        wall = bench.clock.wall()
        return sum(due(each) < wall for each in registry.rules.schedules.table)

    registry.tick()
    assert late() >= 26
    for _ in range(100):
        registry.tick()
    assert late() == 0
    assert len(made(registry)) == (300 if catch_up else 0)


def test_a_clock_set_forward_is_time_that_has_passed(bench: Bench) -> None:
    registry = bench.registry()
    schedule = put(registry, every_seconds=1000.0)
    bench.clock.set_wall(5_500.0)
    registry.tick()
    assert made(registry) == []
    assert shown(registry).next_due == schedule.created_at + 6_000.0


def test_due_times_never_move_back_with_the_clock(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    schedule = put(registry)
    let_pass(registry, bench, 60.0)
    bench.clock.set_wall(-3600.0)
    let_pass(registry, bench, 600.0, steps=10)
    # Whatever is asked for meanwhile:
    for every_seconds in (30.0, 60.0):
        assert due(put(registry, every_seconds=every_seconds)) > due(schedule)
    ask(registry, PauseSchedule("nightly", True))
    assert due(ask(registry, PauseSchedule("nightly", False))) > due(schedule)
    let_pass(registry, bench, 600.0, steps=10)
    assert dues(registry, schedule.created_at) == [60.0]

    let_pass(registry, bench, 2_461.0, steps=100)
    assert dues(registry, schedule.created_at) == [60.0, 120.0]


def test_a_due_time_has_one_task_even_if_its_schedule_is_made_anew(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    put(registry, cron="* * * * *")
    let_pass(registry, bench, 120.0, steps=4)
    before = {task.run_at: task.id for task in made(registry)}
    assert len(before) == 2
    peer = bench.peer(registry, {"async": 9})
    for claim in list(peer.table.values()):
        peer.succeed(claim)

    bench.clock.set_wall(-125.0)
    ask(registry, DeleteSchedule("nightly"))
    registry = bench.registry(journal=bench.crash())
    put(registry, cron="* * * * *")
    let_pass(registry, bench, 180.0, steps=6)

    after = {task.run_at: task.id for task in made(registry)}
    assert after.items() >= before.items()
    assert len(made(registry)) == len(after) == 3


# -- no room, no disk -----------------------------------------------------------------------------


def test_what_finds_no_room_waits_until_there_is(bench: Bench) -> None:
    registry = bench.registry(Limits(max_pending=1, lease_seconds=1e6))
    peer = bench.peer(registry)
    claim = peer.run(bench.task())
    schedule = put(registry, every_seconds=100.0)
    let_pass(registry, bench, 350.0, steps=7)
    assert made(registry) == []
    assert registry.committer._until_next_due() > 0, "it is not tried without a pause"

    peer.report(Succeeded(claim.task_id, claim.attempt, b"1", 0.1))
    assert made(registry) == [], "not in each of a thousand groups a second"
    let_pass(registry, bench, 0.25)

    assert dues(registry, schedule.created_at) == [100.0]
    for _ in range(5):
        peer.take()
        for each in list(peer.table.values()):
            peer.succeed(each)
        let_pass(registry, bench, 0.25)
    assert dues(registry, schedule.created_at) == [100.0, 200.0, 300.0]


def test_a_large_one_without_room_does_not_hold_up_a_small_one(bench: Bench) -> None:
    registry = bench.registry(Limits(max_pending_bytes=1_000))
    put(registry, "large", pattern=make_task(id="", payload=b"x" * 400))
    put(registry, "small")
    ask(registry, Add(bench.task(payload=b"x" * 300)))

    let_pass(registry, bench, 60.0)

    assert [task.schedule for task in made(registry)] == ["small"]


@pytest.mark.parametrize("failures", [NO_NEW_TASKS, NOTHING])
def test_what_could_not_be_written_is_done_once_when_it_can_be(
    bench: Bench, journal: FailingNull | FailingSqlite, failures: int
) -> None:
    registry = bench.registry(journal=journal)
    schedule = put(registry)
    for _ in range(10):
        journal.failures = failures
        let_pass(registry, bench, 13.0)
    journal.failures = failures
    assert made(registry) == []
    journal.failures = 0
    registry.tick()

    assert dues(registry, schedule.created_at) == [60.0, 120.0]


def test_a_disk_that_cannot_be_read_stops_nobody(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal)
    schedule = put(registry)
    reader, journal._reader = journal._reader, bench.journal()._reader
    journal._reader.close()
    let_pass(registry, bench, 60.0)
    assert ask(registry, Add(bench.task())) is None
    journal._reader = reader
    let_pass(registry, bench, 0.25)

    assert dues(registry, schedule.created_at) == [60.0]


@pytest.mark.parametrize(
    "request_", [PutSchedule(make_schedule(cron="* * * * *")), DeleteSchedule("nightly"),
                 PauseSchedule("nightly", True)], ids=lambda request: type(request).__name__,
)  # fmt: skip
def test_a_change_that_could_not_be_written_is_none(
    bench: Bench, journal: FailingNull | FailingSqlite, request_: Any
) -> None:
    registry = bench.registry(journal=journal)
    before = put(registry)
    journal.failures = NOTHING

    assert raised(ask(registry, request_)) is JournalUnavailable

    assert shown(registry) == before
    let_pass(registry, bench, 60.0)
    assert dues(registry, before.created_at) == [60.0]


def test_catching_up_that_could_not_be_written_begins_with_the_latest_again(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    put(registry, catch_up=True)
    bench.clock.turn(60.0 * 2_000)
    journal = bench.crash()
    registry = bench.registry(journal=journal)
    journal.failures = NO_NEW_TASKS
    for _ in range(20):
        registry.tick()

    assert len(made(registry)) == MAX_CAUGHT_UP


# -- crashes --------------------------------------------------------------------------------------


def test_schedules_are_there_after_a_crash_as_they_were(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    pattern = make_task(id="", created_at=0.0, run_at=0.0, payload=b'{"x":1}', timeout_seconds=3.0)
    put(registry, "cron", cron="0 4 * * *", timezone="Europe/Berlin", catch_up=True)
    put(registry, "every", pattern=pattern)
    put(registry, "rests", paused=True)
    put(registry, "gone")
    let_pass(registry, bench, 90.0, steps=3)
    ask(registry, DeleteSchedule("gone"))
    before = ask(registry, Schedules(payloads=True)).schedules
    assert before[1].last_task_id is not None
    rows = registry._journal._writer.execute("SELECT count(*) FROM due_times").fetchone()  # type: ignore[attr-defined] # a file's
    assert rows == (3,)

    registry = bench.registry(journal=bench.crash())

    assert ask(registry, Schedules(payloads=True)).schedules == before


def test_an_expression_that_is_not_understood_any_more_stops_nobody(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    put(registry, cron="* * * * *", timezone="Europe/Berlin")
    put(registry, "other")
    journal = bench.crash()
    journal._writer.execute("UPDATE schedules SET timezone = 'Mars/Base' WHERE cron IS NOT NULL")
    registry = bench.registry(journal=journal)
    let_pass(registry, bench, 60.0)

    assert Counter(task.schedule for task in made(registry)) == {"nightly": 1, "other": 1}
    assert shown(registry).next_due is None


def test_killed_as_often_as_one_likes_each_second_has_one_task(hosted: Hosted) -> None:
    process = hosted.start()
    registry: Registry = connect(process.endpoint)
    schedule = put(registry, every_seconds=1.0)

    def wait_for(number: int) -> None:
        eventually(lambda: len(made(registry)) >= number, "another task", 20.0)

    for kill in range(1, 4):
        wait_for(kill)
        hosted.kill(process)
        if kill == 3:
            # All of the service at once: another one takes the journal over.
            process = hosted.start()
            registry = connect(process.endpoint)
        else:
            registry = hosted.reopen(process)
    wait_for(5)

    found = dues(registry, schedule.created_at)
    assert found == [float(n) for n in range(1, len(found) + 1)]


def test_two_workers_share_what_schedules_make(reach: Reach) -> None:
    peers: list[Peer] = [reach.peer(), reach.peer()]
    put(reach.registry, every_seconds=1.0)

    def claimed() -> int:
        for peer in peers:
            peer.take()
        return sum(len(peer.table) for peer in peers)

    eventually(lambda: claimed() >= 2, "two are claimed")

    ids = [task_id for peer in peers for task_id in peer.table]
    assert len(set(ids)) == len(ids) == len({reach.get(peer.table[i]).run_at for peer in peers
                                             for i in peer.table})  # fmt: skip
