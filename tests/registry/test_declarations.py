"""Declared schedules: in place once, as the latest task code has them, whatever dies (rule 32)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from afterwards.errors import (
    JournalUnavailable,
    ScheduleDeclared,
    TooManySchedules,
    TooManyUnfinished,
)
from afterwards.registry.protocol.base import Registry
from afterwards.registry.protocol.requests import (
    DeclareSchedules,
    DeleteSchedule,
    GetSchedule,
    PauseSchedule,
    PutSchedule,
    RunSchedule,
    Schedules,
)
from afterwards.registry.state import declarations
from afterwards.registry.state.acceptance import Limits
from afterwards.schedules.schedule import Schedule
from afterwards.task_ids import new_id
from tests.registry.bench import Bench, FailingNull, FailingSqlite, SteppedRegistry, keys_of
from tests.registry.conftest import MakeReach, Reach
from tests.registry.peers import Peer, ask, make_schedule, make_task, raised


def declared(name: str = "nightly", **fields: Any) -> Schedule:
    return make_schedule(name, module="shop.tasks", **fields)


def declare(registry: Registry, *schedules: Schedule, generation: int = 1) -> None:
    assert ask(registry, DeclareSchedules(generation, schedules)) is None


def shown(registry: Registry, name: str = "nightly") -> Schedule:
    schedule = ask(registry, GetSchedule(name))
    assert isinstance(schedule, Schedule), schedule
    return schedule


def due(schedule: Schedule) -> float:
    assert schedule.next_due is not None
    return schedule.next_due


# -- as the code has them -------------------------------------------------------------------------


def test_what_is_declared_is_there_and_says_so(reach: Reach) -> None:
    declare(reach.registry, declared("a"), declared("b", cron="0 3 * * *"))

    found = reach.ask(Schedules(payloads=True)).schedules
    assert [(one.name, one.module, one.gone) for one in found] == [
        ("a", "shop.tasks", False),
        ("b", "shop.tasks", False),
    ]
    assert all(one.next_due is not None for one in found)


def test_a_declaration_that_is_said_again_changes_nothing(bench: Bench) -> None:
    registry = bench.registry()
    declare(registry, declared())
    before = shown(registry)
    bench.clock.turn(7)

    declare(registry, declared(created_at=5.0))

    assert shown(registry) == before


def test_a_changed_payload_keeps_the_times_and_a_changed_recurrence_makes_new_ones(
    bench: Bench,
) -> None:
    registry = bench.registry()
    declare(registry, declared())
    before = shown(registry)
    bench.clock.turn(10)

    pattern = make_task(id="", created_at=0.0, run_at=0.0, payload=b'{"new":1}')
    declare(registry, declared(pattern=pattern))
    assert shown(registry) == replace(before, pattern=pattern)

    declare(registry, declared(every_seconds=90.0))
    assert shown(registry).created_at == before.created_at
    assert due(shown(registry)) == before.created_at + 90


def test_a_pause_by_hand_outlasts_declarations(bench: Bench) -> None:
    registry = bench.registry()
    declare(registry, declared())
    ask(registry, PauseSchedule("nightly", paused=True))

    declare(registry, declared(every_seconds=90.0), generation=2)

    assert (shown(registry).paused, shown(registry).next_due) == (True, None)
    ask(registry, PauseSchedule("nightly", paused=False))
    assert due(shown(registry)) == shown(registry).created_at + 90


def test_what_is_declared_is_neither_put_nor_deleted_by_hand_and_can_be_run(reach: Reach) -> None:
    declare(reach.registry, declared())
    before = reach.ask(GetSchedule("nightly"))

    for request in (PutSchedule(make_schedule()), DeleteSchedule("nightly")):
        refusal = reach.ask(request)
        assert raised(refusal) is ScheduleDeclared
        assert "declared in the task module shop.tasks" in str(refusal)

    assert reach.ask(GetSchedule("nightly")) == before
    assert reach.ask(RunSchedule("nightly", new_id())).schedule == "nightly"


def test_one_that_was_put_by_hand_becomes_the_modules_with_its_times(bench: Bench) -> None:
    registry = bench.registry()
    ask(registry, PutSchedule(make_schedule()))
    before = shown(registry)
    bench.clock.turn(7)

    with capture_logs() as lines:
        declare(registry, declared())

    assert shown(registry) == replace(before, module="shop.tasks")
    [line] = lines
    assert "put by hand" in line["event"]
    assert line["schedules"] == ["nightly"]


# -- gone from the code ---------------------------------------------------------------------------


def test_one_that_is_gone_rests_and_comes_back_as_it_was(bench: Bench) -> None:
    registry = bench.registry()
    declare(registry, declared(), declared("other"))
    bench.clock.turn(61)
    registry.tick()
    made = shown(registry).last_task_id
    assert made is not None

    declare(registry, declared("other"), generation=2)
    rested = shown(registry)
    assert (rested.gone, rested.next_due, rested.last_task_id) == (True, None, made)
    bench.clock.turn(600)
    registry.tick()
    assert shown(registry) == rested

    declare(registry, declared(), declared("other"), generation=3)
    back = shown(registry)
    assert (back.gone, back.last_task_id, back.created_at) == (False, made, rested.created_at)
    # In the middle of a period: those that were due meanwhile are not made up for.
    assert 0 < due(back) - bench.clock.wall() <= 60


def test_a_resumed_one_that_is_gone_still_rests(bench: Bench) -> None:
    registry = bench.registry()
    declare(registry, declared())
    ask(registry, PauseSchedule("nightly", paused=True))
    declare(registry, generation=2)

    ask(registry, PauseSchedule("nightly", paused=False))

    assert (shown(registry).paused, shown(registry).next_due) == (False, None)


def test_one_that_is_gone_can_be_deleted(reach: Reach) -> None:
    declare(reach.registry, declared())
    declare(reach.registry)

    assert reach.ask(DeleteSchedule("nightly")) is None
    assert reach.ask(Schedules()).schedules == []


def test_one_that_is_gone_can_be_put_by_hand_and_then_belongs_to_no_module(reach: Reach) -> None:
    declare(reach.registry, declared())
    declare(reach.registry)

    assert reach.ask(PutSchedule(make_schedule())) is False

    found = reach.ask(GetSchedule("nightly"))
    assert (found.module, found.gone) == (None, False)
    assert found.next_due is not None
    # And the next start leaves it alone.
    declare(reach.registry, generation=2)
    assert reach.ask(GetSchedule("nightly")) == found


def test_those_that_are_gone_are_told_of_at_each_start_and_reload_by_one_of_the_workers(
    bench: Bench,
) -> None:
    registry = bench.registry(journal=bench.journal())
    declare(registry, *(declared(name) for name in "abc"))

    def said(generation: int) -> list[Any]:
        with capture_logs() as lines:
            for _ in range(3):
                declare(registry, declared("a"), generation=generation)
        return [line["schedules"] for line in lines if "any more" in line["event"]]

    assert said(2) == [["b", "c"]]
    assert said(2) == []
    assert said(3) == [["b", "c"]]
    registry = bench.registry(journal=bench.crash())
    assert said(1) == [["b", "c"]]


def test_many_that_are_gone_are_counted(bench: Bench) -> None:
    registry = bench.registry()
    declare(registry, *(declared(f"s{number:02}") for number in range(30)))
    with capture_logs() as lines:
        declare(registry, generation=2)
    [line] = lines
    assert line["number_schedules"] == 30
    assert line["schedules"] == [f"s{number:02}" for number in range(20)]


# -- workers, failures and limits -----------------------------------------------------------------


def test_a_worker_that_is_behind_declares_nothing(bench: Bench) -> None:
    registry = bench.registry()
    latest = Peer(registry, bench.machine.start(), {})
    latest.generation = 2
    latest.join()
    declare(registry, declared(every_seconds=90.0), generation=2)
    before = shown(registry)

    declare(registry, declared(), declared("old"), generation=1)

    assert shown(registry) == before
    assert [one.name for one in ask(registry, Schedules()).schedules] == ["nightly"]


@pytest.mark.parametrize("kind", ["memory", "journal"])
def test_declarations_that_cannot_be_written_change_nothing_and_say_nothing(
    bench: Bench, kind: str
) -> None:
    journal: FailingNull | FailingSqlite = bench.journal() if kind == "journal" else FailingNull()
    registry = bench.registry(journal=journal)
    declare(registry, declared(), declared("b"))
    before = shown(registry), shown(registry, "b")

    journal.failures = 1
    with capture_logs() as lines:
        answer = ask(registry, DeclareSchedules(2, [declared(every_seconds=90.0)]))
    assert raised(answer) is JournalUnavailable
    assert (shown(registry), shown(registry, "b")) == before
    assert not [line for line in lines if "schedule" in line["event"]]

    declare(registry, declared(every_seconds=90.0), generation=2)
    assert shown(registry).every_seconds == 90
    assert shown(registry, "b").gone


@pytest.mark.parametrize("encrypted", [False, True])
def test_they_are_the_same_after_a_crash(bench: Bench, *, encrypted: bool) -> None:
    keys = keys_of("k1") if encrypted else None
    registry = bench.registry(journal=bench.journal(keys))
    declare(registry, declared(), declared("b"), declared("c"))
    ask(registry, PauseSchedule("c", paused=True))
    ask(registry, PutSchedule(make_schedule("d")))
    declare(registry, declared(), declared("c"), generation=2)
    before = [shown(registry, name) for name in ("nightly", "b", "c", "d")]

    registry = bench.registry(journal=bench.crash(keys))

    assert [shown(registry, name) for name in ("nightly", "b", "c", "d")] == before


def test_too_many_are_refused_together(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declarations, "MAX_SCHEDULES", 2)
    registry = bench.registry()
    ask(registry, PutSchedule(make_schedule("by-hand")))
    declare(registry, declared("a"))

    assert raised(ask(registry, DeclareSchedules(1, [declared("a"), declared("b")]))) is (
        TooManySchedules
    )
    assert [one.name for one in ask(registry, Schedules()).schedules] == ["a", "by-hand"]


def test_payloads_beyond_the_room_are_refused_together(make_reach: MakeReach) -> None:
    reach = make_reach(Limits(max_pending_bytes=100))
    pattern = make_task(id="", created_at=0.0, run_at=0.0, payload=b"x" * 30)

    answer = reach.ask(
        DeclareSchedules(1, [declared("a", pattern=pattern), declared("b", pattern=pattern)])
    )

    assert raised(answer) is TooManyUnfinished
    assert reach.ask(Schedules()).schedules == []


def test_two_workers_that_declare_in_one_group_make_one_of_each(bench: Bench) -> None:
    registry: SteppedRegistry = bench.registry()
    request = DeclareSchedules(1, [declared()])
    with capture_logs() as lines:
        registry.together((None, [request]), (None, [request]))
    assert [line["made"] for line in lines if "in place" in line["event"]] == [["nightly"]]
    assert len(ask(registry, Schedules()).schedules) == 1
