"""Pauses and limits: what a type may not start now waits, whoever would run it (rule 19)."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import pytest

from afterwards.errors import JournalUnavailable
from afterwards.lifecycle import TaskState
from afterwards.registry.protocol.requests import Cancel, Pause, Resume, Retry, Scrape, TypeLimits
from afterwards.registry.state.acceptance import Limits
from tests.registry.bench import Bench, FailingNull, FailingSqlite
from tests.registry.conftest import MakeReach, Reach
from tests.registry.peers import Peer, ask, get, make_task, raised

PENDING = TaskState.PENDING
ALL_REFUSED = 2
PATIENT = Limits(lease_seconds=1e6)
"""No worker is silent for too long while windows pass."""
ONE_AT_ONCE = {"note": TypeLimits(max_concurrency=1)}
TWO_IN_TEN_SECONDS = {"note": TypeLimits(rate_count=2, rate_seconds=10.0)}


@pytest.fixture(params=["memory", "journal"])
def journal(request: pytest.FixtureRequest, bench: Bench) -> FailingNull | FailingSqlite:
    return bench.journal() if request.param == "journal" else FailingNull()


# -- pauses ---------------------------------------------------------------------------------------


def test_a_paused_type_starts_nothing_until_it_is_resumed(reach: Reach) -> None:
    peer = reach.peer()
    assert reach.ask(Pause("note")) is None
    assert reach.ask(Pause("note")) is None

    assert peer.add(make_task(), make_task(type="other")).answers == [None, None]
    assert [claim.type for claim in peer.table.values()] == ["other"]
    assert not peer.watch(0.05)

    assert reach.ask(Resume("note")) is None
    assert reach.ask(Resume("note")) is None
    assert peer.watch()
    assert [claim.type for claim in peer.take()] == ["note"]


def test_a_pause_leaves_running_attempts_alone(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())

    reach.ask(Pause("note"))

    assert peer.succeed(claim) is None
    assert reach.state(claim) is TaskState.SUCCESS


def test_a_pause_outlasts_a_crash_and_a_resumption_too(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    for name in ("note", "other"):
        ask(registry, Pause(name))
    ask(registry, Resume("other"))

    registry = bench.registry(journal=bench.crash())
    peer = bench.peer(registry)
    peer.add(bench.task(), bench.task(type="other"))

    assert [claim.type for claim in peer.table.values()] == ["other"]
    assert registry.rules.store.throttles.paused() == ["note"]


@pytest.mark.parametrize("verb", [Pause, Resume])
def test_a_pause_that_could_not_be_written_is_none(
    bench: Bench, journal: FailingNull | FailingSqlite, verb: type[Pause | Resume]
) -> None:
    registry = bench.registry(journal=journal)
    if verb is Resume:
        ask(registry, Pause("note"))
    before = registry.rules.store.throttles.paused()
    journal.failures = ALL_REFUSED

    assert raised(ask(registry, verb("note"))) is JournalUnavailable

    assert registry.rules.store.throttles.paused() == before
    assert bool(bench.peer(registry).add(bench.task()).claims) is (verb is Pause)


def test_paused_tasks_can_be_cancelled_and_do_not_count_as_waiting(bench: Bench) -> None:
    registry = bench.registry()
    task = bench.task()
    ask(registry, Pause("note"))
    bench.peer(registry).add(task)
    bench.clock.turn(30.0)

    metrics = ask(registry, Scrape()).decode()
    assert "afterwards_oldest_pending_seconds 0.0" in metrics
    assert 'afterwards_task_type_paused{type="note"} 1.0' in metrics
    assert ask(registry, Cancel(task.id)).state is TaskState.CANCELLED
    ask(registry, Resume("note"))
    assert 'afterwards_task_type_paused{type="note"} 0.0' in ask(registry, Scrape()).decode()


def test_a_priority_does_not_lead_past_a_pause(bench: Bench) -> None:
    registry = bench.registry()
    ask(registry, Pause("note"))
    peer = bench.peer(registry, {"async": 1})

    low = bench.task(type="other", priority=0)
    peer.add(bench.task(priority=9), low)

    assert list(peer.table) == [low.id]


# -- concurrency ----------------------------------------------------------------------------------


def test_no_more_attempts_run_at_once_than_a_type_may_whoever_runs_them(reach: Reach) -> None:
    one, two = reach.peer(limits=ONE_AT_ONCE), reach.peer(limits=ONE_AT_ONCE)
    tasks = [make_task() for _ in range(4)]
    first = one.run(tasks[0])

    assert two.add(*tasks[1:]).claims == []
    assert not two.watch(0.05)
    assert one.succeed(first) is None
    # The report's own answer brings the next one, to whoever has sent it.
    assert list(one.table) == [tasks[1].id]
    assert two.take() == []
    reach.kill(one)

    assert two.watch()
    assert [claim.task_id for claim in two.take()] == [tasks[1].id]


def test_attempts_of_a_silent_worker_count_until_they_are_ended(bench: Bench) -> None:
    registry = bench.registry()
    silent = bench.peer(registry, {"thread": 2}, limits=ONE_AT_ONCE)
    held = silent.run(bench.task(executor="thread"))
    bench.machine.unkillable.add(silent.worker)
    bench.clock.turn(60.0)
    registry.tick()

    other = bench.peer(registry, {"thread": 2}, limits=ONE_AT_ONCE)
    other.add(bench.task(executor="thread"))
    assert other.table == {}

    bench.machine.unkillable.clear()
    registry.tick()
    other.beat()
    assert list(other.table) == [held.task_id]


def test_a_cancelled_attempt_counts_until_its_holder_has_stopped_it(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry, limits=ONE_AT_ONCE)
    claim = peer.run(bench.task())
    later = bench.task()

    ask(registry, Cancel(claim.task_id))
    assert peer.add(later).claims == []
    peer.stop(claim)

    assert list(peer.table) == [later.id]


def test_attempts_at_once_are_counted_across_a_restart(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry, limits=ONE_AT_ONCE)
    claim = peer.run(bench.task())
    peer.add(bench.task())

    peer.registry = bench.registry(journal=bench.crash())
    peer.join()

    assert list(peer.table) == [claim.task_id]
    peer.succeed(claim)
    assert len(peer.table) == 1


def test_a_group_that_is_taken_back_has_run_nothing(
    bench: Bench, journal: FailingNull | FailingSqlite
) -> None:
    registry = bench.registry(journal=journal)
    limits = {"note": TypeLimits(max_concurrency=1, rate_count=1, rate_seconds=1e6)}
    peer = bench.peer(registry, {"async": 0}, limits=limits)
    peer.add(bench.task())
    peer.slots = {"async": 2}
    journal.failures = ALL_REFUSED
    assert peer.beat().claims == []

    assert len(peer.take()) == 1
    assert registry.rules.store.throttles.running == {"note": 1}


def test_the_latest_word_on_limits_holds(bench: Bench) -> None:
    registry = bench.registry()
    one = bench.peer(registry, {"async": 9}, limits=ONE_AT_ONCE)
    one.add(*[bench.task() for _ in range(5)])
    assert len(one.table) == 1

    bench.peer(registry, {}, limits={"note": TypeLimits(max_concurrency=3)})
    assert len(one.take()) == 2
    bench.peer(registry, {}, limits={})
    assert len(one.take()) == 2


def test_limits_of_one_type_are_of_no_other(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry, {"async": 9}, limits=ONE_AT_ONCE)

    peer.add(*[bench.task() for _ in range(2)], *[bench.task(type="other") for _ in range(3)])

    assert sorted(claim.type for claim in peer.table.values()) == [
        "note",
        "other",
        "other",
        "other",
    ]


# -- rates ----------------------------------------------------------------------------------------


def test_no_more_attempts_start_in_a_window_than_a_type_may(make_reach: MakeReach) -> None:
    reach = make_reach(Limits())
    limits = {"note": TypeLimits(rate_count=3, rate_seconds=0.4)}
    peers = [reach.peer({"async": 20}, limits=limits) for _ in range(2)]
    peers[0].add(*[make_task() for _ in range(10)])
    while sum(len(peer.table) for peer in peers) < 10:
        # Whoever is woken has something to get, or the other one was faster.
        assert peers[0].watch()
        for peer in peers:
            peer.take()

    started = sorted(
        reach.get(claim).started_at or 0.0 for peer in peers for claim in peer.table.values()
    )
    # The machine's two clocks may differ by what the wall clock is being put right.
    assert all(later - earlier > 0.39 for earlier, later in zip(started, started[3:], strict=False))
    assert all(peer.table for peer in peers[:1])


def test_a_window_may_begin_anywhere(bench: Bench) -> None:
    registry = bench.registry(PATIENT)
    peer = bench.peer(registry, {"async": 9}, limits=TWO_IN_TEN_SECONDS)
    add = peer.add(bench.task())
    assert len(add.claims) == 1
    bench.clock.turn(9.0)
    peer.add(*[bench.task() for _ in range(4)])
    assert len(peer.table) == 2
    bench.clock.turn(1.0)
    assert len(peer.take()) == 1, "the first start is ten seconds ago"
    bench.clock.turn(8.9)
    assert peer.take() == []
    bench.clock.turn(0.1)
    assert len(peer.take()) == 1


def test_the_registry_wakes_by_itself_when_a_window_opens(bench: Bench) -> None:
    registry = bench.registry(PATIENT)
    peer = bench.peer(registry, {"async": 9}, limits=TWO_IN_TEN_SECONDS)
    peer.add(*[bench.task() for _ in range(3)])
    bench.clock.turn(9.875)
    registry.tick()

    assert not peer.watch(0.0)
    assert registry.committer._until_next_due() == 0.125
    bench.clock.turn(0.125)
    registry.tick()
    assert peer.watch(0.0)


@pytest.mark.parametrize("set_by", [0.0, -86_400.0, 86_400.0])
def test_a_restart_opens_no_fresh_window_whatever_the_wall_clock_says(
    bench: Bench, set_by: float
) -> None:
    registry = bench.registry(PATIENT, journal=bench.journal())
    peer = bench.peer(registry, {"async": 9}, limits=TWO_IN_TEN_SECONDS)
    peer.add(*[bench.task() for _ in range(4)])
    assert len(peer.table) == 2
    bench.clock.turn(4.0)
    bench.clock.set_wall(set_by)

    peer.registry = bench.registry(PATIENT, journal=bench.crash())
    peer.join()
    bench.clock.turn(5.9)
    assert peer.take() == []
    bench.clock.turn(0.1 if set_by >= 0 else 4.1)
    assert len(peer.take()) == 2


def test_after_the_machine_has_been_started_anew_the_wall_clock_has_to_do(bench: Bench) -> None:
    registry = bench.registry(PATIENT, journal=bench.journal())
    peer = bench.peer(registry, {"async": 9}, limits=TWO_IN_TEN_SECONDS)
    peer.add(*[bench.task() for _ in range(4)])
    bench.clock.turn(4.0)
    bench.clock._passed = 1.0

    peer.registry = bench.registry(PATIENT, journal=bench.crash())
    peer.join()
    bench.clock.turn(5.9)
    assert peer.take() == []
    bench.clock.turn(0.1)
    assert len(peer.take()) == 2


def test_only_the_starts_that_count_are_kept(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(PATIENT, journal=journal)
    peer = bench.peer(registry, {"async": 99}, limits=TWO_IN_TEN_SECONDS)
    for _ in range(20):
        peer.add(bench.task(), bench.task(type="other"))
        bench.clock.turn(5.0)

    rows = journal._writer.execute("SELECT type, number FROM starts").fetchall()
    assert rows == [("note", 18), ("note", 19)]
    assert len(registry.rules.store.throttles._throttles["note"].starts) == 2


def test_a_limit_that_comes_back_finds_the_journal_in_order(bench: Bench) -> None:
    registry = bench.registry(PATIENT, journal=bench.journal())
    peer = bench.peer(registry, {"async": 99}, limits=TWO_IN_TEN_SECONDS)
    peer.add(bench.task(), bench.task())
    for limits in ({}, TWO_IN_TEN_SECONDS):
        peer.limits = dict(limits)
        peer.join()
    assert len(peer.add(*[bench.task() for _ in range(3)]).claims) == 2

    peer.registry = bench.registry(PATIENT, journal=bench.crash())
    peer.join()
    assert peer.take() == []
    bench.clock.turn(10.0)
    assert len(peer.take()) == 1


def test_a_stricter_limit_counts_what_has_started(bench: Bench) -> None:
    registry = bench.registry(PATIENT)
    loose = {"note": TypeLimits(rate_count=5, rate_seconds=10.0)}
    peer = bench.peer(registry, {"async": 99}, limits=loose)
    peer.add(*[bench.task() for _ in range(5)])
    bench.peer(registry, {}, limits={"note": TypeLimits(rate_count=2, rate_seconds=20.0)})

    bench.clock.turn(19.9)
    assert peer.add(bench.task()).claims == []
    bench.clock.turn(0.1)
    assert len(peer.take()) == 1


@pytest.mark.parametrize("seed", range(5))
def test_no_window_has_too_many_starts_whatever_happens(bench: Bench, seed: int) -> None:
    """Two workers, failures to write, crashes and a clock that somebody sets."""
    chance = random.Random(seed)
    limits = {"note": TypeLimits(rate_count=4, rate_seconds=3.0)}
    journal = bench.journal()
    registry = bench.registry(PATIENT, journal=journal)
    peers = [bench.peer(registry, {"async": 10_000}, limits=limits) for _ in range(2)]
    starts: list[float] = []

    def note_starts(peer: Peer, exchange: Callable[[], object]) -> None:
        before = len(peer.table)
        exchange()
        starts.extend([bench.clock.elapsed()] * (len(peer.table) - before))

    for _ in range(400):
        peer = chance.choice(peers)
        match chance.randrange(12):
            case 0 | 1 | 2:
                tasks = [bench.task() for _ in range(chance.randrange(4))]
                note_starts(peer, partial(peer.add, *tasks))
            case 3:
                journal.failures = chance.randrange(3)
            case 4:
                bench.clock.set_wall(chance.choice([-100.0, 100.0]))
            case 5 if chance.random() < 0.3:
                journal = bench.crash()
                registry = bench.registry(PATIENT, journal=journal)
                for each in peers:
                    each.registry = registry
                    note_starts(each, each.join)
            case _:
                bench.clock.turn(chance.choice([0.1, 0.5, 1.0]))
                note_starts(peer, peer.take)

    assert len(starts) > 50
    windows = zip(starts, starts[4:], strict=False)
    assert all(later - earlier >= 3.0 - 1e-9 for earlier, later in windows)


def test_a_retry_by_hand_waits_for_its_turn_like_everything_else(bench: Bench) -> None:
    registry = bench.registry(PATIENT)
    peer = bench.peer(registry, {"async": 9}, limits=TWO_IN_TEN_SECONDS)
    failed = peer.run(bench.task())
    peer.fail(failed)
    peer.run(bench.task())

    ask(registry, Retry(failed.task_id))

    assert peer.take() == []
    assert get(registry, failed.task_id).state is PENDING
