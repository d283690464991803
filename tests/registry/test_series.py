"""Series: what happened in the past, by spans of time, and what outlives the registry."""

from __future__ import annotations

import json
import sqlite3
import time
from typing import Any

import pytest

from afterwards.buckets import STEPS
from afterwards.registry.engine import series
from afterwards.registry.journal.base import Group
from afterwards.registry.protocol.base import Registry
from afterwards.registry.protocol.requests import Add, Failed, Series, Stats
from afterwards.service.series_columns import columns
from tests.registry.bench import Bench, FailingNull, FailingSqlite, SteppedRegistry
from tests.registry.conftest import Hosted, Reach
from tests.registry.peers import ask, make_task


def read(registry: Registry, span: str = "1h", type_name: str | None = None) -> dict[str, Any]:
    found = ask(registry, Series(span, type_name))
    document: dict[str, Any] = json.loads(columns(span, type_name, found))
    return document


def lately(column: list[Any], number: int) -> list[Any]:
    return column[-number:]


def total(column: list[Any]) -> int:
    return sum(number or 0 for number in column)


@pytest.fixture(params=["memory", "journal"])
def registry(request: pytest.FixtureRequest, bench: Bench) -> SteppedRegistry:
    bench.clock.turn(-(bench.clock.wall() % 3_600))  # an hour begins
    journal = bench.journal() if request.param == "journal" else FailingNull()
    return bench.registry(journal=journal)


def pass_by(bench: Bench, registry: SteppedRegistry, seconds: int) -> None:
    """As it is for a registry whose turns come four times a second, but quicker."""
    for _ in range(seconds // 5):
        bench.clock.turn(5.0)
        registry.tick()


def run_one(bench: Bench, registry: SteppedRegistry) -> None:
    """By a worker of its own: nobody beats for it as time passes."""
    peer = bench.peer(registry)
    peer.succeed(peer.run(make_task()))


def test_every_registry_tells_what_has_happened(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())
    peer.succeed(claim)
    for span, step in STEPS.items():
        found = read(reach.registry, span)
        assert len(found["times"]) == step.buckets
        assert found["times"][-1] <= time.time() < found["times"][-1] + 2 * step.seconds
        assert (total(found["submitted"]), total(found["succeeded"])) == (1, 1)
        assert found["tasks"]["success"][-1] == 1
        assert found["submitted"][0] is None
    assert read(reach.registry, "1h", "another")["submitted"][-1] == 0


def test_what_happens_is_counted_where_it_happens(bench: Bench, registry: SteppedRegistry) -> None:
    run_one(bench, registry)
    pass_by(bench, registry, 10)
    peer = bench.peer(registry)
    claim = peer.run(make_task())
    bench.clock.turn(1.0)
    peer.exchange(Failed(claim.task_id, claim.attempt, "no", 0.7, retry_in_seconds=600.0))
    peer.table.clear()
    pass_by(bench, registry, 20)

    found = read(registry)

    assert lately(found["submitted"], 4) == [1, 1, 0, 0]
    assert lately(found["succeeded"], 4) == [1, 0, 0, 0]
    assert lately(found["retried"], 4) == [0, 1, 0, 0]
    assert lately(found["tasks"]["success"], 4) == [1, 1, 1, 1]
    assert lately(found["tasks"]["retrying"], 4) == [0, 1, 1, 1]
    assert lately(found["tasks"]["scheduled"], 4) == [0, 1, 1, 1]
    assert found["wait_p50"][-4] < 0.001
    assert 0.5 < found["run_p99"][-3] < 1
    assert found["run_p99"][-2:] == [None, None]


def test_minutes_and_hours_are_the_sums_of_their_buckets(
    bench: Bench, registry: SteppedRegistry
) -> None:
    for _ in range(14):
        run_one(bench, registry)
        pass_by(bench, registry, 600)
    for span, each in (("24h", 1), ("30d", 6)):
        found = read(registry, span, "note")
        assert total(found["submitted"]) == 14
        assert {n for n in found["submitted"] if n} <= {each, 2}
        assert found == {**read(registry, span), "type": "note"}
    assert total(read(registry, "1h")["submitted"]) == 5


def test_a_service_that_rests_writes_nothing(bench: Bench) -> None:
    registry, journal = noted_groups(bench)
    run_one(bench, registry)
    pass_by(bench, registry, 120)
    assert [group for group in journal if group.series]
    journal.clear()

    pass_by(bench, registry, 3_600)

    assert not journal
    assert read(registry, "24h")["submitted"][-30:] == [0] * 30
    assert read(registry, "24h")["tasks"]["success"][-30:] == [1] * 30


def noted_groups(bench: Bench) -> tuple[SteppedRegistry, list[Group]]:
    groups: list[Group] = []

    class Noting(FailingNull):
        def write(self, group: Group) -> None:
            groups.append(group)
            super().write(group)

    return bench.registry(journal=Noting(), retention_seconds=1e9), groups


def test_a_crash_costs_the_last_minute_and_shows_a_gap(bench: Bench) -> None:
    bench.clock.turn(-(bench.clock.wall() % 3_600))
    registry = bench.registry(journal=bench.journal())
    run_one(bench, registry)
    pass_by(bench, registry, 180)
    run_one(bench, registry)
    pass_by(bench, registry, 60)
    run_one(bench, registry)

    registry = bench.registry(journal=bench.crash())
    bench.clock.turn(300.0)
    registry.tick()
    registry.tick()

    found = read(registry, "24h")
    assert lately(found["submitted"], 10) == [1, 0, 0, 1, None, None, None, None, None, 0]
    assert found["tasks"]["success"][-1] == 3
    assert read(registry, "30d")["submitted"][-1] == 2
    assert found["submitted"][0] is None


def test_the_quiet_before_a_crash_is_not_taken_for_a_gap(bench: Bench) -> None:
    bench.clock.turn(-(bench.clock.wall() % 3_600))
    began_at = bench.clock.wall()
    registry = bench.registry(journal=bench.journal())
    run_one(bench, registry)
    pass_by(bench, registry, 1_830)
    died_at = bench.clock.wall()
    bench.clock.turn(120.0)

    registry = bench.registry(journal=bench.crash(), ran=(began_at, died_at))
    pass_by(bench, registry, 150)

    for span, lost in (("24h", 3), ("1h", 16)):
        found = read(registry, span)
        begun = found["submitted"].index(1)
        down = found["submitted"].index(None, begun)
        assert set(found["submitted"][begun + 1 : down]) == {0}
        assert set(found["tasks"]["success"][begun:down]) == {1}
        assert found["times"][down] == died_at - 30
        assert found["submitted"].count(None) - begun == lost


@pytest.mark.parametrize("ran", [(1.75e9, 1.75e9 + 10), (1.75e9 + 100, 1.75e9)])
def test_a_registry_that_ran_for_a_moment_has_no_quiet(
    bench: Bench, ran: tuple[float, float]
) -> None:
    registry = bench.registry(journal=bench.journal(), ran=ran)
    pass_by(bench, registry, 120)
    assert set(read(registry, "30d")["submitted"][:-1]) == {None}


def test_a_registry_that_ends_in_order_loses_nothing(hosted: Hosted) -> None:
    process = hosted.start()
    registry = hosted.reopen(process)
    for _ in range(3):
        ask(registry, Add(make_task()))
    process.stop(10.0)

    again = hosted.reopen(hosted.start())

    for span in STEPS:
        found = read(again, span)
        assert total(found["submitted"]) == 3
        assert found["tasks"]["pending"][-1] == 3


def test_what_could_not_be_written_is_written_later(bench: Bench) -> None:
    bench.clock.turn(-(bench.clock.wall() % 3_600))
    journal: FailingSqlite = bench.journal()
    registry = bench.registry(journal=journal)
    run_one(bench, registry)
    journal.failures = 10**6
    pass_by(bench, registry, 120)
    journal.failures = 0
    registry.together((None, [Add(make_task())]))
    pass_by(bench, registry, 60)

    registry = bench.registry(journal=bench.crash())

    assert [n for n in read(registry, "24h")["submitted"] if n] == [1, 1]


def test_a_machine_that_slept_leaves_a_gap_and_no_quiet_before_it(
    bench: Bench, registry: SteppedRegistry
) -> None:
    run_one(bench, registry)
    pass_by(bench, registry, 300)
    bench.clock.sleep(600.0)
    pass_by(bench, registry, 120)

    found = lately(read(registry, "24h")["submitted"], 20)

    first = found.index(1)
    assert found[first + 1 : first + 5] == [0, 0, 0, 0]
    assert found.count(None) - first == 9
    assert found[-2:] == [0, 0]


def test_a_clock_that_is_set_back_makes_nothing_negative(
    bench: Bench, registry: SteppedRegistry
) -> None:
    for by in (0.0, -7_000.0, 3_000.0, -10.0):
        bench.clock.set_wall(by)
        run_one(bench, registry)
        pass_by(bench, registry, 120)
    for span in STEPS:
        found = read(registry, span)
        numbers = [n for name in ("submitted", "succeeded") for n in found[name]]
        numbers += [n for column in found["tasks"].values() for n in column]
        assert min(n for n in numbers if n is not None) == 0
        assert found["submitted"][-1] == 0


def test_types_beyond_the_bound_are_in_the_total_only(
    bench: Bench, registry: SteppedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "MAX_TYPES", 2)
    peer = bench.peer(registry)
    for name in "abc":
        peer.add(make_task(type=name))
        read(registry)
    assert total(read(registry)["submitted"]) == 3
    assert [total(read(registry, "1h", name)["submitted"]) for name in "abc"] == [1, 1, 0]
    assert set(read(registry, "1h", "c")["submitted"]) == {None}


def test_buckets_out_of_range_are_deleted(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    for _ in range(3):
        run_one(bench, registry)
        pass_by(bench, registry, 120)
        bench.clock.turn(31 * 86_400.0)
        registry.tick()
    run_one(bench, registry)
    pass_by(bench, registry, 120)
    with sqlite3.connect(bench.directory / "journal.sqlite3") as db:
        oldest = db.execute("SELECT step, min(at) FROM series GROUP BY step").fetchall()
    for step, at in oldest:
        assert at > bench.clock.wall() - 31 * 86_400.0, step


def test_rates_are_averages_of_the_last_ten_whole_seconds(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry)
    for _ in range(4):
        peer.add(make_task())
        peer.beat()
        bench.clock.turn(1.0)
    for seconds, rate in ((0.0, 0.4), (8.0, 0.2), (60.0, 0.0)):
        bench.clock.turn(seconds)
        assert ask(registry, Stats()).per_second["submitted"] == rate
