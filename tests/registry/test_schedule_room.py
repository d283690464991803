"""What schedules may hold: pages of them, their payloads."""

from __future__ import annotations

from typing import Any

from afterwards.errors import JournalUnavailable, TooManyUnfinished
from afterwards.registry.protocol.answers import SchedulePage
from afterwards.registry.protocol.requests import (
    Add,
    DeleteSchedule,
    PutSchedule,
    Schedules,
)
from afterwards.registry.state.acceptance import Limits
from afterwards.schedules.schedule import Schedule
from tests.registry.bench import Bench
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

    assert registry.rules.schedules._schedules.payload_bytes == 100
    assert ask(registry, Add(bench.task(payload=b"x" * 900))) is None
