"""Batches: several tasks accepted as one, all or none, under one idempotency key."""

from __future__ import annotations

import threading
from typing import Any

from afterwards.errors import IdempotencyMismatch, JournalUnavailable, TooManyUnfinished
from afterwards.lifecycle import Task, TaskState
from afterwards.registry.protocol.base import Registry
from afterwards.registry.protocol.requests import Add, AddAll, Get
from afterwards.registry.state.acceptance import Limits
from tests.registry.bench import Bench
from tests.registry.conftest import MakeReach, Reach
from tests.registry.peers import ask, counts, make_task, raised

KEPT_SECONDS = 1_000.0


def batch(size: int = 3, key: str | None = "k", fingerprint: bytes = b"f") -> list[Task]:
    named = {} if key is None else {"idempotency_key": key, "fingerprint": fingerprint}
    return [make_task(**named if n == 0 else {}) for n in range(size)]


def ids(tasks: Any) -> list[str]:
    return [task.id for task in tasks]


def stored(registry: Registry) -> int:
    return sum(counts(registry).values())


def test_a_batch_is_accepted_in_its_order_and_its_claims_come_with_the_answer(
    reach: Reach,
) -> None:
    peer = reach.peer({"async": 2})
    tasks = batch(4, key=None)

    reply = peer.exchange(AddAll(tasks))

    assert reply.answers == [None]
    assert [claim.task_id for claim in reply.claims] == ids(tasks)[:2]
    assert reach.ids() == ids(tasks)[::-1]


def test_a_batch_without_tasks_changes_nothing(reach: Reach) -> None:
    assert reach.ask(AddAll([])) is None
    assert stored(reach.registry) == 0


def test_a_batch_that_has_not_enough_room_is_refused_whole(make_reach: MakeReach) -> None:
    reach = make_reach(Limits(max_pending=5))
    assert reach.ask(AddAll(batch(3, key=None))) is None

    assert raised(reach.ask(AddAll(batch(3)))) is TooManyUnfinished

    assert stored(reach.registry) == 3
    assert reach.ask(AddAll(batch(2))) is None
    assert stored(reach.registry) == 5


def test_the_payloads_of_a_batch_count_together(make_reach: MakeReach) -> None:
    reach = make_reach(Limits(max_pending_bytes=100))
    tasks = [make_task(payload=b"x" * 40) for _ in range(3)]

    assert raised(reach.ask(AddAll(tasks))) is TooManyUnfinished
    assert stored(reach.registry) == 0
    assert reach.ask(AddAll(tasks[:2])) is None


def test_a_batch_sent_again_after_a_broken_connection_is_accepted_once(reach: Reach) -> None:
    tasks = batch()
    assert reach.ask(AddAll(tasks)) is None

    for again in (False, True):
        assert reach.ask(AddAll(tasks, again=again)) is None

    assert stored(reach.registry) == 3


def test_a_repeated_batch_gets_the_tasks_of_the_first_as_they_stand_now(reach: Reach) -> None:
    peer = reach.peer({"async": 1})
    first = batch()
    peer.exchange(AddAll(first))
    peer.succeed(peer.table[first[0].id])

    again = reach.ask(AddAll(batch()))

    assert ids(again) == ids(first)
    assert again[0].result == b'"done"'
    assert again == [reach.get(task) for task in first]
    assert stored(reach.registry) == 3


def test_a_repeated_key_with_another_batch_is_refused(reach: Reach) -> None:
    first = batch()
    reach.ask(AddAll(first))

    refused = reach.ask(AddAll(batch(fingerprint=b"g")))

    assert isinstance(refused, IdempotencyMismatch)
    assert (refused.key, refused.task_id) == ("k", first[0].id)
    assert stored(reach.registry) == 3


def test_a_batch_and_a_single_task_never_pass_for_each_other(reach: Reach) -> None:
    for key, first, second in (
        ("a", AddAll(batch(1, "a")), Add(batch(1, "a")[0])),
        ("b", Add(batch(1, "b")[0]), AddAll(batch(1, "b"))),
    ):
        assert reach.ask(first) is None
        refused = reach.ask(second)
        assert isinstance(refused, IdempotencyMismatch), key


def test_one_group_accepts_a_batch_once(reach: Reach) -> None:
    first, second = batch(), batch()

    answers = reach.registry.exchange(None, 0, [AddAll(first), AddAll(second)]).answers

    assert answers[0] is None
    assert ids(answers[1]) == ids(first)
    assert stored(reach.registry) == 3


def test_of_many_at_the_same_moment_one_is_accepted(reach: Reach) -> None:
    batches = [batch() for _ in range(6)]
    answers: list[Any] = []
    together = threading.Barrier(len(batches))

    def submit(tasks: list[Task]) -> None:
        registry = reach.open()
        together.wait()
        answers.append(ask(registry, AddAll(tasks)))

    threads = [threading.Thread(target=submit, args=[tasks]) for tasks in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers.count(None) == 1
    assert len({tuple(ids(answer)) for answer in answers if answer is not None}) == 1
    assert stored(reach.registry) == 3


# -- in the journal --------------------------------------------------------------------------------


def test_a_batch_is_written_whole_or_not_at_all(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal)
    journal.failures = 1
    tasks = batch()
    assert raised(ask(registry, AddAll(tasks))) is JournalUnavailable
    assert stored(registry) == 0

    assert ask(registry, AddAll(tasks)) is None

    registry = bench.registry(journal=bench.crash())
    assert list(registry) == ids(tasks)[::-1]
    assert ids(ask(registry, AddAll(batch()))) == ids(tasks)


def test_a_repetition_leaves_out_what_retention_has_deleted(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal(), retention_seconds=KEPT_SECONDS)
    peer = bench.peer(registry, {"async": 2})
    tasks = batch(4)
    peer.exchange(AddAll(tasks))
    peer.succeed(peer.table[tasks[1].id])
    _let_retention_delete(bench, registry)

    assert ids(ask(registry, AddAll(batch(4)))) == [tasks[n].id for n in (0, 2, 3)]


def test_a_batch_keeps_its_key_as_long_as_any_of_its_tasks_is_kept(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal(), retention_seconds=KEPT_SECONDS)
    peer = bench.peer(registry, {"async": 3})
    tasks = batch()
    peer.exchange(AddAll(tasks))
    peer.succeed(peer.table[tasks[0].id])
    peer.succeed(peer.table[tasks[1].id])
    _let_retention_delete(bench, registry)
    assert ids(ask(registry, AddAll(batch()))) == [tasks[n].id for n in (0, 2)]

    peer = bench.peer(registry, {"async": 3})
    peer.succeed(peer.table[tasks[2].id])
    _let_retention_delete(bench, registry)

    assert stored(registry) == 0
    assert ask(registry, AddAll(tasks, again=True)) is None
    assert stored(registry) == 0
    second = batch()
    assert ask(registry, AddAll(second)) is None
    assert ids(ask(registry, AddAll(batch()))) == ids(second)


def test_results_that_are_too_large_together_are_left_out_of_a_repetition(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry, {"async": 10})
    tasks = batch(10)
    peer.exchange(AddAll(tasks))
    for task in tasks:
        peer.succeed(peer.table[task.id], b"x" * 2**20)

    again = ask(registry, AddAll(batch(10)))

    assert [task.state for task in again] == [TaskState.SUCCESS] * 10
    assert [task.result is None for task in again] == [False] * 9 + [True]
    assert ask(registry, Get(tasks[9].id)).result == b"x" * 2**20


def _let_retention_delete(bench: Bench, registry: Any) -> None:
    for _ in range(3):
        bench.clock.turn(KEPT_SECONDS)
        registry.tick()
