"""Concurrency keys: what waits for others of its key is parked, and has its turn (rule 28)."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, ClassVar

import pytest

from afterwards.lifecycle import Kind, Task, TaskState
from afterwards.registry.protocol.base import SUSPECTED
from afterwards.registry.protocol.requests import Amend, Cancel, Pause, Resume, Retry, TypeLimits
from tests.registry.bench import Bench, FailingNull, FailingSqlite
from tests.registry.conftest import Reach
from tests.registry.peers import Peer, ask, get, make_task

ALL_REFUSED = 2
TWO_PER_KEY = {"note": TypeLimits(concurrency_per_key=2)}


@pytest.fixture(params=["memory", "journal"])
def journal(request: pytest.FixtureRequest, bench: Bench) -> FailingNull | FailingSqlite:
    return bench.journal() if request.param == "journal" else FailingNull()


def of_key(bench: Bench, key: str = "acme", **fields: Any) -> Task:
    return bench.task(concurrency_key=key, **fields)


# -- the contract ---------------------------------------------------------------------------------


def test_one_attempt_at_a_time_runs_for_a_key_whoever_runs_it(reach: Reach) -> None:
    one, two = reach.peer({"async": 9}), reach.peer({"async": 9})
    tasks = [make_task(concurrency_key="acme") for _ in range(3)]
    free = make_task(concurrency_key="other")
    first = one.run(tasks[0])

    assert [claim.task_id for claim in two.add(*tasks[1:], free).claims] == [free.id]
    assert not two.watch(0.05)
    assert one.succeed(first) is None
    # The report's own answer brings the next one, to the one that has sent it.
    assert list(one.table) == [tasks[1].id]
    assert two.take() == []
    reach.kill(one)

    # What was lost has waited longer than the third.
    assert two.watch()
    assert [claim.task_id for claim in two.take()] == [tasks[1].id]
    assert two.succeed(two.table[tasks[1].id]) is None
    assert tasks[2].id in two.table


def test_a_type_says_how_many_attempts_each_of_its_keys_allows(reach: Reach) -> None:
    peer = reach.peer({"async": 9}, limits=TWO_PER_KEY)
    keys = ["a", "a", "a", "b", "b", "b"]

    peer.add(*[make_task(concurrency_key=key) for key in keys])
    peer.add(*[make_task(concurrency_key="a", type="other") for _ in range(3)])

    running = [(reach.get(claim).type, reach.get(claim).concurrency_key)
               for claim in peer.table.values()]  # fmt: skip
    assert sorted(running, key=str) == [
        ("note", "a"), ("note", "a"), ("note", "b"), ("note", "b"), ("other", "a"),
    ]  # fmt: skip


def test_the_next_of_a_key_is_the_one_of_the_highest_priority_that_waits_longest(
    reach: Reach,
) -> None:
    peer = reach.peer({"async": 9})
    running = peer.run(make_task(concurrency_key="acme"))
    priorities = [2, 7, 7, 9, 0]
    tasks = [make_task(concurrency_key="acme", priority=priority) for priority in priorities]
    peer.add(*tasks)

    started = []
    for _ in tasks:
        peer.succeed(running)
        [running] = peer.table.values()
        started.append(running.task_id)

    assert started == [tasks[place].id for place in (3, 1, 2, 0, 4)]


def test_what_waits_for_its_key_can_be_cancelled_and_keeps_no_other_waiting(reach: Reach) -> None:
    peer = reach.peer({"async": 9})
    running = peer.run(make_task(concurrency_key="acme"))
    cancelled, later = (make_task(concurrency_key="acme") for _ in range(2))
    peer.add(cancelled, later)

    assert reach.ask(Cancel(cancelled.id)).state is TaskState.CANCELLED
    peer.succeed(running)

    assert list(peer.table) == [later.id]


# -- with everything else that makes tasks wait ---------------------------------------------------


def test_tasks_of_a_key_and_others_take_turns_by_priority_and_age(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry, {"async": 0})
    tasks = [bench.task(), of_key(bench), of_key(bench, "other", priority=9), bench.task()]
    peer.add(*tasks)
    peer.slots = {"async": 9}

    assert [claim.task_id for claim in peer.beat().claims] == [
        tasks[place].id for place in (2, 0, 1, 3)
    ]


def test_a_higher_priority_that_comes_later_goes_before_what_stands_in_the_lane(
    bench: Bench,
) -> None:
    registry = bench.registry()
    peer = bench.peer(registry, {"async": 0})
    low, high = of_key(bench, priority=1), of_key(bench, priority=8)
    peer.add(low, high)
    peer.slots = {"async": 9}

    assert [claim.task_id for claim in peer.beat().claims] == [high.id]


def test_a_key_s_limit_a_pause_and_the_type_s_limit_hold_together(bench: Bench) -> None:
    registry = bench.registry()
    limits = {"note": TypeLimits(max_concurrency=3, concurrency_per_key=2)}
    peer = bench.peer(registry, {"async": 99}, limits)
    ask(registry, Pause("note"))
    peer.add(*[of_key(bench, key) for key in "aaabbb"])
    assert not peer.table

    ask(registry, Resume("note"))
    peer.take()

    keys = [get(registry, task_id).concurrency_key for task_id in peer.table]
    assert keys == ["a", "a", "b"]


def test_a_suspect_counts_for_its_key_and_waits_for_it(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry, {"async": 9, SUSPECTED: 1})
    suspect = peer.run(of_key(bench))
    other = of_key(bench)
    peer.add(other)

    peer.suspect(suspect, crowd=1)
    assert list(peer.table) == [other.id], "its line is of another kind of slot"

    peer.succeed(peer.table[other.id])
    assert [claim.crowd for claim in peer.table.values()] == [1]
    assert peer.add(of_key(bench)).claims == []


def test_a_key_is_not_held_up_by_its_first_if_that_finds_no_slot(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry, {"async": 9})
    thread = of_key(bench, executor="thread", priority=9)
    coroutine = of_key(bench)

    peer.add(thread, coroutine)

    assert list(peer.table) == [coroutine.id]


def test_a_task_that_is_moved_takes_the_limit_of_its_new_type(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry, {"async": 9}, TWO_PER_KEY)
    peer.add(*[of_key(bench, type="other") for _ in range(2)])
    [running] = peer.table
    moved = of_key(bench, type="other", due_in=60.0)
    peer.add(moved)

    ask(registry, Amend(moved.id, kind=Kind("note", "async", 3), run_at=bench.clock.wall()))
    peer.take()

    assert list(peer.table) == [running, moved.id]
    assert get(registry, moved.id).concurrency_key == "acme"


def test_a_retry_by_hand_waits_for_its_key(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry, {"async": 9})
    failed = peer.run(of_key(bench))
    peer.fail(failed)
    running = peer.run(of_key(bench))

    ask(registry, Retry(failed.task_id))
    assert peer.take() == []
    peer.succeed(running)

    assert list(peer.table) == [failed.task_id]


def test_a_higher_limit_lets_in_what_waits_and_a_lower_one_ends_nothing(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry, {"async": 9})
    peer.add(*[of_key(bench) for _ in range(4)])
    assert len(peer.table) == 1

    peer.limits = {"note": TypeLimits(concurrency_per_key=3)}
    peer.join()
    assert len(peer.table) == 3

    peer.limits = {}
    peer.join()
    first, second, third = peer.table.values()
    peer.succeed(first)
    peer.succeed(second)
    assert list(peer.table) == [third.task_id], "one still runs"
    peer.succeed(third)
    assert len(peer.table) == 1


# -- restarts and failures ------------------------------------------------------------------------


def test_a_key_is_held_across_a_crash_by_what_still_runs(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry, {"async": 9})
    claim = peer.run(of_key(bench))
    waiting = of_key(bench)
    peer.add(waiting)

    peer.registry = bench.registry(journal=bench.crash())
    peer.join()

    assert list(peer.table) == [claim.task_id]
    peer.succeed(claim)
    assert list(peer.table) == [waiting.id]


def test_a_group_that_is_taken_back_has_neither_run_nor_moved_anything(
    bench: Bench, journal: FailingNull | FailingSqlite
) -> None:
    registry = bench.registry(journal=journal)
    peer = bench.peer(registry, {"async": 0})
    tasks = [of_key(bench) for _ in range(3)]
    peer.add(*tasks)
    peer.slots = {"async": 9}
    journal.failures = ALL_REFUSED

    assert peer.beat().claims == []
    journal.failures = ALL_REFUSED
    ask(registry, Cancel(tasks[0].id))

    assert [claim.task_id for claim in peer.take()] == [tasks[0].id]
    assert peer.take() == []


class Crowd:
    """Two workers and what people, disks and crashes do to tasks with keys."""

    allowed: ClassVar = {"note": 2, "other": 1}

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.chance = random.Random(seed)
        self.journal = bench.journal()
        self.registry = bench.registry(journal=self.journal)
        slots = {"async": 4, "thread": 2}
        self.peers = [bench.peer(self.registry, slots, TWO_PER_KEY) for _ in range(2)]
        self.tasks: dict[str, Task] = {}

    def act(self, peer: Peer) -> None:
        match self.chance.randrange(4):
            case 0 | 1:
                self.add(peer)
            case 2:
                self.end(peer)
            case _:
                self.interfere()

    def add(self, peer: Peer) -> None:
        chance = self.chance
        task = of_key(
            self.bench,
            chance.choice("abc"),
            type=chance.choice(list(self.allowed)),
            executor=chance.choice(["async", "thread"]),
            priority=chance.randrange(10),
        )
        if peer.add(task).answers == [None]:
            self.tasks[task.id] = task

    def end(self, peer: Peer) -> None:
        if not peer.table:
            return
        claim = self.chance.choice(list(peer.table.values()))
        match self.chance.randrange(4):
            case 0:
                peer.release(claim)
            case 1:
                peer.fail(claim, self.chance.choice([None, 1.0]))
            case _:
                peer.succeed(claim)

    def interfere(self) -> None:
        match self.chance.randrange(3):
            case 0 if self.tasks:
                ask(self.registry, Cancel(self.chance.choice(list(self.tasks))))
            case 1:
                self.journal.failures = self.chance.randrange(3)
            case _:
                self.bench.clock.turn(0.5)

    def crash(self) -> None:
        self.journal = self.bench.crash()
        self.registry = self.bench.registry(journal=self.journal)
        for peer in self.peers:
            peer.registry = self.registry
            peer.join()

    def check(self) -> None:
        running = [self.tasks[task_id] for peer in self.peers for task_id in peer.table]
        at_once = Counter((task.type, task.concurrency_key) for task in running)
        assert all(number <= self.allowed[name] for (name, _), number in at_once.items())

    def is_done(self) -> bool:
        return all(get(self.registry, task_id).state.is_final for task_id in self.tasks)


@pytest.mark.parametrize("seed", range(2))
def test_never_more_run_than_a_key_allows_and_every_task_runs_in_the_end(
    bench: Bench, seed: int
) -> None:
    crowd = Crowd(bench, seed)
    for step in range(150):
        peer = crowd.peers[step % 2]
        crowd.act(peer)
        for each in crowd.peers:
            each.beat()
        crowd.check()
        if step % 50 == 49:
            crowd.crash()

    crowd.journal.failures = 0
    assert len(crowd.tasks) > 20
    while not crowd.is_done():
        bench.clock.turn(1.0)
        for peer in crowd.peers:
            for claim in [*peer.table.values()]:
                peer.succeed(claim)
            peer.beat()
            crowd.check()
    assert len(crowd.registry.rules.store.key_lines) == 0, "nothing is left of keys of no task"
