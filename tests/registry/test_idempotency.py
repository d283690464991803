"""Idempotency keys: the same submission again gets the task of the first, whoever repeats it."""

from __future__ import annotations

import threading
from typing import Any

from afterwards.errors import IdempotencyMismatch, JournalUnavailable
from afterwards.lifecycle import Task, TaskState
from afterwards.registry.protocol.base import Registry
from afterwards.registry.protocol.requests import Add, AddAll, Get, Retry, Succeeded
from afterwards.registry.state.store import FINISHED_CACHE_TASKS
from tests.registry.bench import Bench
from tests.registry.conftest import Reach
from tests.registry.peers import ask, counts, make_task, raised

KEPT_SECONDS = 1_000.0


def keyed(key: str = "k", fingerprint: bytes = b"f", **fields: Any) -> Task:
    return make_task(idempotency_key=key, fingerprint=fingerprint, **fields)


def stored(registry: Registry) -> int:
    return sum(counts(registry).values())


def test_a_repeated_key_gets_the_first_task_as_it_stands_now(reach: Reach) -> None:
    peer = reach.peer()
    first = keyed()
    claim = peer.run(first)
    assert peer.ask(Add(keyed())) == reach.get(first)
    peer.succeed(claim)

    again = peer.ask(Add(keyed()))

    assert (again.id, again.state, again.result) == (first.id, TaskState.SUCCESS, b'"done"')
    assert stored(reach.registry) == 1
    assert peer.take() == []


def test_a_repeated_key_with_another_submission_is_refused(reach: Reach) -> None:
    first = keyed()
    reach.ask(Add(first))

    refused = reach.ask(Add(keyed(fingerprint=b"g")))

    assert isinstance(refused, IdempotencyMismatch)
    assert refused.task_id == first.id
    assert stored(reach.registry) == 1


def test_a_key_belongs_to_the_owner_who_has_sent_it(reach: Reach) -> None:
    mine, theirs, nobodys = keyed(owner="ann"), keyed(owner="bob"), keyed()
    for task in (mine, theirs, nobodys):
        assert reach.ask(Add(task)) is None
    assert reach.ask(Add(keyed(owner="bob"))).id == theirs.id
    assert reach.ask(Add(keyed())).id == nobodys.id
    assert {reach.get(task).sent_key for task in (mine, theirs, nobodys)} == {"k"}


def test_a_refusal_names_the_key_as_it_was_sent_and_no_task_of_others(reach: Reach) -> None:
    mine = keyed(owner="ann")
    reach.ask(Add(keyed(owner="bob")))
    reach.ask(Add(mine))
    refused = reach.ask(Add(keyed(fingerprint=b"g", owner="ann")))
    assert isinstance(refused, IdempotencyMismatch)
    assert (refused.key, refused.task_id) == ("k", mine.id)


def test_a_batch_under_the_key_of_an_owner_is_found_again(reach: Reach) -> None:
    batch = [keyed(owner="ann"), make_task(owner="ann"), make_task(owner="ann")]
    assert reach.ask(AddAll(batch)) is None
    assert reach.ask(AddAll([keyed(owner="bob"), make_task(owner="bob")])) is None

    again = reach.ask(AddAll([keyed(owner="ann"), *(make_task(owner="ann") for _ in range(2))]))

    assert [task.id for task in again] == [task.id for task in batch]
    assert [task.sent_key for task in again] == ["k", None, None]


def test_keys_are_told_apart(reach: Reach) -> None:
    for task in (keyed("a"), keyed("b"), make_task(), make_task()):
        assert reach.ask(Add(task)) is None
    assert stored(reach.registry) == 4


def test_of_many_at_the_same_moment_one_is_accepted(reach: Reach) -> None:
    tasks = [keyed() for _ in range(8)]
    answers: list[Any] = []
    together = threading.Barrier(len(tasks))

    def submit(task: Task) -> None:
        registry = reach.open()
        together.wait()
        answers.append(ask(registry, Add(task)))

    threads = [threading.Thread(target=submit, args=[task]) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers.count(None) == 1
    assert len({answer.id for answer in answers if answer is not None}) == 1
    assert stored(reach.registry) == 1


def test_one_group_accepts_a_key_once(reach: Reach) -> None:
    first, second = keyed(), keyed()

    answer, repeated = reach.registry.exchange(None, 0, [Add(first), Add(second)]).answers

    assert answer is None
    assert isinstance(repeated, Task)
    assert repeated.id == first.id
    assert stored(reach.registry) == 1


def test_a_task_that_is_sent_again_after_a_broken_connection_is_not_taken_for_a_repetition(
    reach: Reach,
) -> None:
    task = keyed()
    reach.ask(Add(task))

    assert reach.ask(Add(task, again=True)) is None


def test_a_key_outlives_the_end_of_its_task_and_a_retry_by_hand(reach: Reach) -> None:
    peer = reach.peer()
    first = keyed()
    peer.fail(peer.run(first))
    assert isinstance(peer.ask(Retry(first.id)), Task)

    assert reach.ask(Add(keyed())).id == first.id


# -- in the journal --------------------------------------------------------------------------------


def test_a_key_holds_across_a_crash(bench: Bench) -> None:
    first = keyed()
    ask(bench.registry(journal=bench.journal()), Add(first))

    registry = bench.registry(journal=bench.crash())

    assert ask(registry, Add(keyed())).id == first.id
    assert raised(ask(registry, Add(keyed(fingerprint=b"g")))) is IdempotencyMismatch
    assert stored(registry) == 1


def test_a_key_holds_when_its_task_is_only_in_the_journal_any_more(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry, {"async": FINISHED_CACHE_TASKS + 1})
    first = keyed()
    others = [make_task() for _ in range(FINISHED_CACHE_TASKS)]
    ask(registry, Add(first))
    # Together: one by one each would be synced alone.
    ask(registry, AddAll(others))
    peer.exchange(*(Succeeded(claim.task_id, claim.attempt, b"{}", 0.25) for claim in peer.take()))
    registry.tick()
    assert registry.rules.store.get(first.id) is None
    assert registry.rules.store._by_key == {}

    assert ask(registry, Add(keyed())).id == first.id


def test_a_key_is_free_again_once_retention_has_deleted_its_task(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal(), retention_seconds=KEPT_SECONDS)
    peer = bench.peer(registry)
    peer.succeed(peer.run(bench.task(idempotency_key="k", fingerprint=b"f")))
    bench.clock.turn(KEPT_SECONDS + 100.0)
    registry.tick()
    bench.clock.turn(100.0)
    registry.tick()
    assert stored(registry) == 0

    assert ask(registry, Add(keyed(fingerprint=b"g"))) is None


def test_a_key_whose_task_could_not_be_written_is_free(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal)
    journal.failures = 1
    refused = keyed()
    assert raised(ask(registry, Add(refused))) is JournalUnavailable

    second = keyed(fingerprint=b"g")
    assert ask(registry, Add(second)) is None
    assert ask(registry, Get(second.id)).id == second.id
    assert ask(registry, Add(keyed(fingerprint=b"g"))).id == second.id
