"""Unique keys: at most one unfinished task of an owner has it, whoever asks when (rule 31)."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from afterwards.errors import (
    JournalUnavailable,
    LimitReached,
    TooManyUnfinished,
    UniqueKeyTaken,
)
from afterwards.lifecycle import Task, TaskState
from afterwards.registry.protocol.answers import Existing
from afterwards.registry.protocol.filters import Filter
from afterwards.registry.protocol.requests import (
    REJECT,
    REPLACE,
    Add,
    AddAll,
    Cancel,
    OnConflict,
    Retry,
)
from afterwards.registry.state.acceptance import Limits
from tests.registry.bench import Bench, FailingNull, FailingSqlite
from tests.registry.conftest import MakeReach, Reach
from tests.registry.peers import ask, counts, get, make_task, raised
from tests.registry.test_quotas import limited


def unique(key: str = "sync-7", **fields: Any) -> Task:
    return make_task(unique_key=key, **fields)


# -- the contract ---------------------------------------------------------------------------------


def test_a_further_task_is_answered_with_the_unfinished_one_as_it_stands(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(unique())

    met = peer.ask(Add(unique(payload=b'{"other":1}')))

    assert met == Existing(reach.get(claim))
    assert met.task.state is TaskState.PROCESSING
    assert sum(counts(reach.registry).values()) == 1
    peer.succeed(claim)
    assert peer.ask(Add(unique())) is None, "a finished task has it no more"


def test_a_further_task_is_refused_if_that_is_asked_for(reach: Reach) -> None:
    first = unique()
    reach.ask(Add(first))

    refused = reach.ask(Add(unique(), on_conflict=REJECT))

    assert isinstance(refused, UniqueKeyTaken)
    assert (refused.key, refused.task_id) == ("sync-7", first.id)
    assert counts(reach.registry) == {TaskState.PENDING: 1}


@pytest.mark.parametrize("state", [TaskState.PENDING, TaskState.SCHEDULED])
def test_a_further_task_takes_the_place_of_one_that_waits(reach: Reach, state: TaskState) -> None:
    first, second = unique(state=state, run_at=4e9), unique()
    reach.ask(Add(first))

    assert reach.ask(Add(second, on_conflict=REPLACE)) is None

    replaced = reach.get(first)
    assert (replaced.state, replaced.reason) == (
        TaskState.CANCELLED, f"replaced by task {second.id}",
    )  # fmt: skip
    assert replaced.error == f"Replaced by task {second.id}, which has the same unique key"
    assert reach.ask(Add(unique())).task.id == second.id


def test_what_runs_is_never_replaced(reach: Reach) -> None:
    peer = reach.peer()
    running = peer.run(unique())

    refused = peer.ask(Add(unique(), on_conflict=REPLACE))

    assert (raised(refused), refused.task_id) == (UniqueKeyTaken, running.task_id)
    assert peer.succeed(running) is None


def test_what_waits_for_a_further_attempt_is_replaced(reach: Reach) -> None:
    peer = reach.peer()
    failed = peer.run(unique())
    peer.fail(failed, retry_in=600.0)

    assert peer.ask(Add(unique(), on_conflict=REPLACE)) is None
    assert reach.state(failed) is TaskState.CANCELLED


def test_a_unique_key_belongs_to_its_owner(reach: Reach) -> None:
    for owner in (None, "ann", "bob"):
        assert reach.ask(Add(unique(owner=owner), on_conflict=REJECT)) is None
    assert raised(reach.ask(Add(unique(owner="ann"), on_conflict=REJECT))) is UniqueKeyTaken


def test_an_idempotency_key_is_looked_at_first(reach: Reach) -> None:
    first = unique(idempotency_key="i", fingerprint=b"f")
    reach.ask(Add(first))

    for on_conflict in (REJECT, REPLACE):
        again = unique(idempotency_key="i", fingerprint=b"f")
        assert reach.ask(Add(again, on_conflict=on_conflict)) == reach.get(first)
    # One that was answered with another task has left nothing behind.
    assert isinstance(reach.ask(Add(unique(idempotency_key="j", fingerprint=b"f"))), Existing)
    reach.ask(Cancel(first.id))
    assert reach.ask(Add(unique(idempotency_key="j", fingerprint=b"g"))) is None


def test_a_conflict_in_a_batch_refuses_the_batch(reach: Reach) -> None:
    first = unique()
    reach.ask(Add(first))

    refused = reach.ask(AddAll([make_task(), unique()]))

    assert (raised(refused), refused.task_id) == (UniqueKeyTaken, first.id)
    twice = reach.ask(AddAll([unique("new"), make_task(), unique("new")]))
    assert (raised(twice), twice.task_id) == (UniqueKeyTaken, None)
    assert reach.ask(AddAll([unique("new"), unique("newer")])) is None
    assert sum(counts(reach.registry).values()) == 3


def test_a_retry_by_hand_is_refused_while_another_task_has_the_key(reach: Reach) -> None:
    peer = reach.peer()
    failed = peer.run(unique())
    peer.fail(failed)
    second = peer.run(unique())

    refused = reach.ask(Retry(failed.task_id))

    assert (raised(refused), refused.task_id) == (UniqueKeyTaken, second.task_id)
    assert reach.state(failed) is TaskState.FAILED
    peer.succeed(second)
    assert reach.ask(Retry(failed.task_id)).state is TaskState.PENDING
    assert reach.ask(Add(unique())).task.id == failed.task_id


def test_of_many_at_once_one_is_accepted_and_all_others_meet_it(reach: Reach) -> None:
    answers: list[tuple[str, Any]] = []

    def submit() -> None:
        registry = reach.open()
        for _ in range(5):
            task = unique()
            answers.append((task.id, ask(registry, Add(task))))

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    [accepted] = [task_id for task_id, answer in answers if answer is None]
    assert {answer.task.id for _, answer in answers if answer is not None} == {accepted}


# -- room, failures and restarts ------------------------------------------------------------------


def test_a_replacement_needs_no_more_room_than_there_was(make_reach: MakeReach) -> None:
    reach = make_reach(Limits(max_pending=1, max_pending_bytes=10))
    reach.ask(Add(unique(payload=b"{}")))

    assert reach.ask(Add(unique(payload=b'{"a":1}'), on_conflict=REPLACE)) is None
    large = unique(payload=b'{"a":"12345"}')
    assert raised(reach.ask(Add(large, on_conflict=REPLACE))) is TooManyUnfinished
    assert reach.ask(Add(large)).task.state is TaskState.PENDING, "nothing was replaced"


def test_a_replacement_keeps_to_its_owner_s_quota(bench: Bench) -> None:
    registry = bench.registry()
    ask(registry, limited(pending_tasks=1, pending_bytes=10))
    assert ask(registry, Add(unique(owner="ann"))) is None

    assert ask(registry, Add(unique(owner="ann", payload=b"{ }"), on_conflict=REPLACE)) is None
    large = unique(owner="ann", payload=b'{"a":"12345"}')
    assert raised(ask(registry, Add(large, on_conflict=REPLACE))) is LimitReached


@pytest.mark.parametrize("on_conflict", ["existing", "replace"])
def test_a_task_beyond_the_sender_s_reach_is_neither_told_of_nor_replaced(
    bench: Bench, on_conflict: OnConflict
) -> None:
    registry = bench.registry()
    first = unique(labels='{"tenant":"acme"}')
    ask(registry, Add(first))
    reach = Filter(labels=("tenant=other",))

    refused = ask(registry, Add(unique(), on_conflict=on_conflict, reach=reach))

    assert raised(refused) is UniqueKeyTaken
    assert get(registry, first.id).state is TaskState.PENDING
    within = Filter(labels=("tenant=acme",))
    assert raised(ask(registry, Add(unique(), on_conflict=on_conflict, reach=within))) is None


@pytest.mark.parametrize("kind", ["memory", "journal"])
def test_a_replacement_that_could_not_be_written_has_replaced_nothing(
    bench: Bench, kind: str
) -> None:
    journal: FailingNull | FailingSqlite = bench.journal() if kind == "journal" else FailingNull()
    registry = bench.registry(journal=journal)
    first, second = unique(), unique()
    ask(registry, Add(first))
    journal.failures = 1

    assert raised(ask(registry, Add(second, on_conflict=REPLACE))) is JournalUnavailable

    assert get(registry, first.id).state is TaskState.PENDING
    assert ask(registry, Add(unique())).task.id == first.id
    assert ask(registry, Add(second, on_conflict=REPLACE)) is None
    assert ask(registry, Add(unique())).task.id == second.id


def test_a_unique_key_is_held_across_a_crash(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    first = unique(owner="ann")
    ask(registry, Add(first))

    registry = bench.registry(journal=bench.crash())

    assert ask(registry, Add(unique(owner="ann"))).task == get(registry, first.id)
    ask(registry, Cancel(first.id))
    assert len(registry.rules.store.unique_keys) == 0
