"""The bounds of schedules: pages of them, their payloads, and tasks that are made late."""

from __future__ import annotations

from typing import Any

from afterwards.errors import JournalUnavailable, TooManyUnfinished
from afterwards.lifecycle import Task
from afterwards.registry.protocol.answers import SchedulePage
from afterwards.registry.protocol.requests import (
    Add,
    Cancel,
    DeleteSchedule,
    PutSchedule,
    Schedules,
)
from afterwards.registry.state.acceptance import Limits
from afterwards.schedules.schedule import Schedule
from tests.registry.bench import Bench, SteppedRegistry
from tests.registry.conftest import MakeReach, Reach
from tests.registry.peers import ask, make_schedule, make_task, raised


def heavy(name: str, size: int, **fields: Any) -> Schedule:
    """With a payload of so many bytes."""
    return make_schedule(name, pattern=make_task(id="", payload=b"x" * size), **fields)


def pages(reach: Reach, query: Schedules) -> list[list[str]]:
    found: list[list[str]] = []
    page: SchedulePage = reach.ask(query)
    while True:
        found.append([schedule.name for schedule in page.schedules])
        if page.next is None:
            return found
        page = reach.ask(query._replace(after=page.next))


# -- pages ----------------------------------------------------------------------------------------


def test_a_page_of_payloads_stops_at_4_mebibytes_and_the_next_goes_on(reach: Reach) -> None:
    for name in "cabed":
        reach.ask(PutSchedule(heavy(name, 1_500_000)))
    reach.ask(PutSchedule(heavy("f", 5_000_000)))

    assert pages(reach, Schedules(payloads=True)) == [["a", "b"], ["c", "d"], ["e"], ["f"]]
    assert pages(reach, Schedules()) == [["a", "b", "c", "d", "e", "f"]]
    assert pages(reach, Schedules(limit=4)) == [["a", "b", "c", "d"], ["e", "f"]]
    assert {len(each.pattern.payload) for each in reach.ask(Schedules()).schedules} == {0}


def test_a_page_goes_on_where_a_schedule_was_deleted(reach: Reach) -> None:
    for name in "abcd":
        reach.ask(PutSchedule(make_schedule(name)))
    first = reach.ask(Schedules(limit=2))
    reach.ask(DeleteSchedule("b"))

    assert [each.name for each in reach.ask(Schedules(after=first.next)).schedules] == ["c", "d"]


# -- bytes ----------------------------------------------------------------------------------------


def test_payloads_of_schedules_count_with_those_of_tasks(make_reach: MakeReach) -> None:
    reach = make_reach(Limits(max_pending_bytes=1_000))
    assert reach.ask(PutSchedule(heavy("a", 400, paused=True))) is True
    assert reach.ask(Add(make_task(payload=b"x" * 500))) is None

    assert raised(reach.ask(Add(make_task(payload=b"x" * 101)))) is TooManyUnfinished
    assert raised(reach.ask(PutSchedule(heavy("b", 101, paused=True)))) is TooManyUnfinished
    assert str(reach.ask(PutSchedule(heavy("b", 101)))).startswith(
        "The limit of 500 bytes of payload in schedules is reached"
    )
    assert reach.ask(PutSchedule(heavy("b", 100, paused=True))) is True


def test_a_schedule_that_shrinks_or_goes_gives_its_bytes_back(make_reach: MakeReach) -> None:
    reach = make_reach(Limits(max_pending_bytes=1_000))
    task = make_task(payload=b"x" * 600)
    reach.ask(PutSchedule(heavy("a", 500, paused=True)))
    assert raised(reach.ask(Add(task))) is TooManyUnfinished
    assert reach.ask(PutSchedule(heavy("a", 400, paused=True))) is False
    assert reach.ask(Add(task)) is None
    assert raised(reach.ask(PutSchedule(heavy("a", 401, paused=True)))) is TooManyUnfinished
    assert reach.ask(PutSchedule(heavy("a", 400, paused=True))) is False
    assert reach.ask(DeleteSchedule("a")) is None
    assert reach.ask(Add(make_task(payload=b"x" * 400))) is None


def test_payloads_of_schedules_are_counted_again_after_a_crash(bench: Bench) -> None:
    limits = Limits(max_pending_bytes=1_000)
    registry = bench.registry(limits, journal=bench.journal())
    ask(registry, PutSchedule(heavy("a", 400)))
    ask(registry, PutSchedule(heavy("gone", 50)))
    ask(registry, DeleteSchedule("gone"))

    registry = bench.registry(limits, journal=bench.crash())

    assert raised(ask(registry, Add(bench.task(payload=b"x" * 601)))) is TooManyUnfinished
    assert ask(registry, Add(bench.task(payload=b"x" * 600))) is None


def test_a_change_that_could_not_be_written_holds_no_bytes(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(Limits(max_pending_bytes=1_000), journal=journal)
    ask(registry, PutSchedule(heavy("a", 100, paused=True)))
    for request in (PutSchedule(heavy("a", 500)), DeleteSchedule("a"), PutSchedule(heavy("b", 9))):
        journal.failures = 2
        assert raised(ask(registry, request)) is JournalUnavailable
        journal.failures = 0

    assert registry.rules.schedules.table.payload_bytes == 100
    assert ask(registry, Add(bench.task(payload=b"x" * 900))) is None


# -- late -----------------------------------------------------------------------------------------


def unfinished(registry: SteppedRegistry) -> list[Task]:
    return list(registry.rules.store._unfinished.values())


def down_for(bench: Bench, limits: Limits, seconds: float) -> SteppedRegistry:
    journal = bench.crash()
    bench.clock.turn(seconds)
    return bench.registry(limits, journal=journal)


def passed(registry: SteppedRegistry, bench: Bench) -> None:
    for _ in range(4):
        bench.clock.turn(0.25)
        registry.tick()


def test_catching_up_leaves_half_of_the_tasks_to_clients_and_nothing_out(bench: Bench) -> None:
    limits = Limits(max_pending=20)
    registry = bench.registry(limits, journal=bench.journal())
    for name in "ab":
        ask(registry, PutSchedule(make_schedule(name, every_seconds=100.0, catch_up=True)))
    since = bench.clock.wall()
    registry = down_for(bench, limits, 2_450.0)
    passed(registry, bench)
    assert len(unfinished(registry)) == 10
    for _ in range(10):
        assert ask(registry, Add(bench.task())) is None
    assert raised(ask(registry, Add(bench.task()))) is TooManyUnfinished

    made: set[tuple[str | None, float]] = set()
    for _ in range(10):
        late = [task for task in unfinished(registry) if task.schedule]
        assert len(late) <= 10
        made |= {(task.schedule, task.run_at - since) for task in late}
        for task in unfinished(registry):
            ask(registry, Cancel(task.id))
        passed(registry, bench)

    assert made == {(name, 100.0 * number) for name in "ab" for number in range(1, 25)}


def test_catching_up_leaves_half_of_the_bytes_to_clients(bench: Bench) -> None:
    limits = Limits(max_pending_bytes=1_100)
    registry = bench.registry(limits, journal=bench.journal())
    ask(registry, PutSchedule(heavy("a", 100, every_seconds=100.0, catch_up=True)))
    registry = down_for(bench, limits, 2_450.0)
    passed(registry, bench)

    assert len(unfinished(registry)) == 5
    assert ask(registry, Add(bench.task(payload=b"x" * 500))) is None


def test_what_is_larger_than_half_is_caught_up_with_alone(bench: Bench) -> None:
    limits = Limits(max_pending_bytes=1_000)
    registry = bench.registry(limits, journal=bench.journal())
    ask(registry, PutSchedule(heavy("a", 400, every_seconds=100.0, catch_up=True)))
    registry = down_for(bench, limits, 450.0)
    passed(registry, bench)
    [first] = unfinished(registry)
    small = bench.task(payload=b"x")
    ask(registry, Add(small))
    ask(registry, Cancel(first.id))
    passed(registry, bench)
    assert [task.id for task in unfinished(registry)] == [small.id]

    ask(registry, Cancel(small.id))
    passed(registry, bench)
    [second] = unfinished(registry)
    assert second.run_at == first.run_at + 100.0


def test_what_waited_for_room_for_long_leaves_half_of_it_too(bench: Bench) -> None:
    registry = bench.registry(Limits(max_pending=10))
    ask(registry, PutSchedule(make_schedule("a", every_seconds=10.0)))
    tasks = [bench.task() for _ in range(10)]
    for task in tasks:
        ask(registry, Add(task))
    for _ in range(100):
        bench.clock.turn(5.0)
        registry.tick()
    for task in tasks:
        ask(registry, Cancel(task.id))
    passed(registry, bench)

    assert len(unfinished(registry)) == 5


def test_what_is_due_on_time_may_fill_all_of_the_room(bench: Bench) -> None:
    registry = bench.registry(Limits(max_pending=4))
    for name in "abcdef":
        ask(registry, PutSchedule(make_schedule(name, every_seconds=10.0)))
    bench.clock.turn(10.0)
    registry.tick()

    assert len(unfinished(registry)) == 4
