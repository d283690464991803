"""The limits of unfinished tasks by owner: exact over workers, restarts and retries."""

from __future__ import annotations

from typing import Any

import pytest

from afterwards.access.key import Limits
from afterwards.errors import JournalUnavailable, LimitReached
from afterwards.lifecycle import Task, TaskState
from afterwards.registry.protocol.key_requests import CreateKey, KeysOff, RevokeKey, RotateKey
from afterwards.registry.protocol.requests import Add, AddAll, Amend, Cancel, Retry
from afterwards.registry.state.quotas import OwnedTasks
from tests.registry.bench import Bench, FailingNull
from tests.registry.conftest import Reach
from tests.registry.peers import ask, make_task, raised
from tests.registry.test_keys import a_key


def anns(**fields: Any) -> Task:
    return make_task(**{"owner": "ann", **fields})


def limited(name: str = "ann", principal: str = "ann", **limits: int) -> CreateKey:
    return CreateKey(a_key(name, principal=principal, limits=Limits(**limits)))


# -- the contract: every registry ------------------------------------------------------------------


def test_an_owner_has_as_many_unfinished_tasks_as_its_limit_over_all_workers(reach: Reach) -> None:
    reach.ask(limited(pending_tasks=2))
    one, other = reach.peer(), reach.peer()
    claim = one.run(anns())
    assert other.add(anns()).answers == [None]

    [refusal] = one.add(anns()).answers

    assert isinstance(refusal, LimitReached)
    assert (refusal.name, refusal.limit, refusal.used) == ("pending_tasks", 2, 2)
    assert raised(reach.ask(Add(anns()))) is LimitReached
    one.succeed(claim)
    assert other.add(anns()).answers == [None]


def test_payloads_of_an_owner_count_until_their_tasks_are_finished(reach: Reach) -> None:
    reach.ask(limited(pending_bytes=100))
    peer = reach.peer()
    claim = peer.run(anns(payload=b"x" * 60))

    [refusal] = peer.add(anns(payload=b"x" * 41)).answers

    assert isinstance(refusal, LimitReached)
    assert (refusal.name, refusal.limit, refusal.used) == ("pending_bytes", 100, 60)
    assert peer.add(anns(payload=b"x" * 40)).answers == [None]
    peer.succeed(claim)
    assert peer.add(anns(payload=b"x" * 60)).answers == [None]


def test_the_limit_of_one_owner_is_nobody_elses(reach: Reach) -> None:
    reach.ask(limited(pending_tasks=1))
    reach.ask(limited("ben", "ben", pending_tasks=1))
    assert reach.ask(Add(anns())) is None
    assert raised(reach.ask(Add(anns()))) is LimitReached

    assert reach.ask(Add(make_task(owner="ben"))) is None
    assert reach.ask(Add(make_task(owner="eve"))) is None
    assert reach.ask(Add(make_task())) is None


def test_a_batch_beyond_the_limit_is_refused_whole(reach: Reach) -> None:
    reach.ask(limited(pending_tasks=3))
    assert reach.ask(AddAll([anns(), anns()])) is None

    assert raised(reach.ask(AddAll([anns(), anns()]))) is LimitReached

    assert reach.ask(AddAll([anns()])) is None


def test_a_repetition_is_answered_however_full_the_quota_is(reach: Reach) -> None:
    reach.ask(limited(pending_tasks=3))
    first = anns(idempotency_key="k", fingerprint=b"f")
    batch = [anns(idempotency_key="b", fingerprint=b"f"), anns()]
    reach.ask(Add(first))
    reach.ask(AddAll(batch))
    assert raised(reach.ask(Add(anns()))) is LimitReached

    assert reach.ask(Add(first)) is None
    assert reach.ask(Add(anns(idempotency_key="k", fingerprint=b"f"))).id == first.id
    again = reach.ask(AddAll([anns(idempotency_key="b", fingerprint=b"f"), anns()]))
    assert [task.id for task in again] == [task.id for task in batch]


def test_a_retry_and_a_larger_payload_need_room_in_the_quota_of_the_owner(reach: Reach) -> None:
    reach.ask(limited(pending_tasks=1, pending_bytes=50))
    first, waiting = anns(), anns(payload=b"x" * 40, run_at=4e9, state=TaskState.SCHEDULED)
    reach.ask(Add(first))
    reach.ask(Cancel(first.id))
    assert reach.ask(Add(waiting)) is None

    assert raised(reach.ask(Retry(first.id))) is LimitReached
    assert raised(reach.ask(Amend(waiting.id, b"x" * 51))) is LimitReached
    assert isinstance(reach.ask(Amend(waiting.id, b"x" * 50)), Task)
    reach.ask(Cancel(waiting.id))
    assert isinstance(reach.ask(Retry(first.id)), Task)


def test_the_strictest_limit_of_the_valid_keys_of_a_principal_holds(reach: Reach) -> None:
    strict = limited("strict", pending_tasks=1)
    reach.ask(limited("loose", pending_tasks=2))
    reach.ask(strict)
    reach.ask(CreateKey(a_key("none", principal="ann")))
    reach.ask(Add(anns()))
    assert raised(reach.ask(Add(anns()))) is LimitReached

    reach.ask(RevokeKey(strict.key.id))

    assert reach.ask(Add(anns())) is None
    assert raised(reach.ask(Add(anns()))) is LimitReached
    reach.ask(KeysOff())
    assert reach.ask(Add(anns())) is None


def test_a_rotated_key_has_the_same_quota(reach: Reach) -> None:
    old, new = limited(pending_tasks=1), a_key()
    reach.ask(old)
    reach.ask(Add(anns()))

    reach.ask(RotateKey(old.key.id, new.id, new.digest, overlap_seconds=0))

    assert raised(reach.ask(Add(anns()))) is LimitReached


# -- committed by hand -----------------------------------------------------------------------------


def test_a_restart_counts_what_the_journal_has(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    ask(registry, limited(pending_tasks=3, pending_bytes=100))
    done = bench.task(owner="ann")
    for task in (done, bench.task(owner="ann", payload=b"x" * 90), bench.task(owner="ann")):
        ask(registry, Add(task))
    ask(registry, Cancel(done.id))

    registry = bench.registry(journal=bench.crash())

    assert raised(ask(registry, Add(bench.task(owner="ann", payload=b"x" * 90)))) is LimitReached
    assert ask(registry, Add(bench.task(owner="ann", payload=b"x"))) is None
    assert raised(ask(registry, Add(bench.task(owner="ann")))) is LimitReached


def test_what_could_not_be_written_is_not_counted(bench: Bench) -> None:
    journal = FailingNull()
    registry = bench.registry(journal=journal)
    ask(registry, limited(pending_tasks=1))
    journal.failures = 2  # the group, and its request alone
    assert raised(ask(registry, Add(bench.task(owner="ann")))) is JournalUnavailable
    journal.failures = 0

    assert ask(registry, Add(bench.task(owner="ann"))) is None
    assert raised(ask(registry, Add(bench.task(owner="ann")))) is LimitReached


def test_an_expired_key_bounds_nobody(bench: Bench) -> None:
    registry = bench.registry()
    ends = bench.clock.wall() + 10
    ask(registry, CreateKey(a_key("ann", limits=Limits(pending_tasks=0), expires_at=ends)))
    assert raised(ask(registry, Add(bench.task(owner="ann")))) is LimitReached

    bench.clock.turn(11)

    assert ask(registry, Add(bench.task(owner="ann"))) is None


@pytest.mark.parametrize("payload", [b"", b"x"])
def test_owners_without_unfinished_tasks_take_no_memory(payload: bytes) -> None:
    owned = OwnedTasks()
    tasks = [make_task(owner=f"owner {n}", payload=payload) for n in range(100)]
    for task in tasks:
        owned.count(task, 1)
    assert (len(owned), owned.of("owner 7")) == (100, (1, len(payload)))

    for task in tasks:
        owned.count(task, -1)

    assert (len(owned), owned.of("owner 7")) == (0, (0, 0))
