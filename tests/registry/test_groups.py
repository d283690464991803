"""Groups: batches with a task that follows them, settled once, by the end of their members."""

from __future__ import annotations

from typing import Any

import pytest

from afterwards.errors import JournalUnavailable
from afterwards.lifecycle import WITHOUT_TIME, Follows, Task, TaskState
from afterwards.registry.protocol.filters import Filter
from afterwards.registry.protocol.requests import (
    AddAll,
    Amend,
    Cancel,
    Count,
    Delete,
    Find,
    Get,
    Members,
    Retry,
    RunNow,
)
from tests.registry.bench import Bench
from tests.registry.conftest import Reach
from tests.registry.peers import Peer, ask, get, make_task, raised

PENDING, SCHEDULED = TaskState.PENDING, TaskState.SCHEDULED
SUCCESS, FAILED, CANCELLED = TaskState.SUCCESS, TaskState.FAILED, TaskState.CANCELLED


def group(size: int = 2, on: Follows = Follows.SUCCESS, **fields: Any) -> AddAll:
    """A batch and the task that follows it, which is the last."""
    then = make_task(executor="thread", **fields).following(on, size)
    return AddAll([*(make_task(group=then.id) for _ in range(size)), then])


def run_group(
    reach: Reach, size: int = 2, on: Follows = Follows.SUCCESS
) -> tuple[Peer, list[Task], Task]:
    """A group whose members run, and the task that follows it."""
    peer = reach.peer({"async": size})
    *members, then = group(size, on).tasks
    assert peer.ask(AddAll([*members, then])) is None
    return peer, members, then


# -- the contract: every registry ------------------------------------------------------------------


def test_a_follower_waits_without_a_time(reach: Reach) -> None:
    _, members, then = run_group(reach)

    waiting = reach.get(then)

    assert (waiting.state, waiting.run_at) == (SCHEDULED, WITHOUT_TIME)
    assert waiting.waits_for_group
    assert (waiting.follows, waiting.members, waiting.group) == ("success", 2, None)
    assert {reach.get(member).group for member in members} == {then.id}


@pytest.mark.parametrize("on", Follows)
def test_the_end_of_the_last_member_makes_the_follower_due(reach: Reach, on: Follows) -> None:
    peer, members, then = run_group(reach, 2, on)

    peer.succeed(peer.table[members[1].id])
    assert reach.state(then) is SCHEDULED
    peer.succeed(peer.table[members[0].id])

    due = reach.get(then)
    assert (due.state, due.reason) == (PENDING, "its group is finished")
    assert due.run_at < WITHOUT_TIME


def test_the_first_member_that_fails_cancels_who_follows_success(reach: Reach) -> None:
    peer, members, then = run_group(reach)

    peer.fail(peer.table[members[0].id])

    cancelled = reach.get(then)
    assert (cancelled.state, cancelled.error) == (
        CANCELLED,
        f"Task {members[0].id} of its group is failed",
    )
    peer.succeed(peer.table[members[1].id])
    assert reach.get(then) == cancelled


def test_a_member_that_is_cancelled_has_not_succeeded(reach: Reach) -> None:
    peer = reach.peer({"async": 0})
    *members, then = group().tasks
    peer.ask(AddAll([*members, then]))

    reach.ask(Cancel(members[0].id))

    assert reach.state(then) is CANCELLED


def test_whatever_becomes_of_members_starts_who_follows_their_end(reach: Reach) -> None:
    peer, members, then = run_group(reach, 3, Follows.FINISHED)

    peer.fail(peer.table[members[0].id])
    reach.ask(Cancel(members[1].id))
    peer.stop(peer.table[members[1].id])
    assert reach.state(then) is SCHEDULED
    peer.succeed(peer.table[members[2].id])

    assert reach.state(then) is PENDING


def test_a_member_that_is_retried_counts_once(reach: Reach) -> None:
    peer, members, then = run_group(reach, 2, Follows.FINISHED)
    peer.fail(peer.table[members[0].id])
    reach.ask(Retry(members[0].id))
    peer.take()
    peer.fail(peer.table[members[0].id])

    assert reach.state(then) is SCHEDULED
    peer.succeed(peer.table[members[1].id])
    assert reach.state(then) is PENDING


def test_a_follower_starts_once(reach: Reach) -> None:
    peer, members, then = run_group(reach, 1, Follows.FINISHED)
    peer.fail(peer.table[members[0].id])
    reach.ask(Cancel(then.id))
    reach.ask(Retry(members[0].id))
    peer.take()

    peer.succeed(peer.table[members[0].id])

    assert reach.state(then) is CANCELLED


def test_a_follower_can_be_run_by_hand_and_is_not_started_again(reach: Reach) -> None:
    peer, members, then = run_group(reach)
    running = reach.peer({"thread": 1})
    reach.ask(RunNow(then.id))
    [claim] = running.take()
    running.succeed(claim)

    for member in members:
        peer.succeed(peer.table[member.id])

    assert (reach.state(then), reach.get(then).attempt) == (SUCCESS, 1)


def test_a_follower_with_a_time_of_its_own_waits_for_no_group(reach: Reach) -> None:
    peer, members, then = run_group(reach, 1)
    later = make_task().run_at + 3600.0

    amended = reach.ask(Amend(then.id, run_at=later))
    peer.succeed(peer.table[members[0].id])

    assert not amended.waits_for_group
    assert (reach.state(then), reach.get(then).run_at) == (SCHEDULED, later)


def test_members_are_read_in_the_order_of_the_batch(reach: Reach) -> None:
    peer, members, then = run_group(reach, 3)
    peer.succeed(peer.table[members[2].id], b'{"n":2}')

    first = reach.ask(Members(then.id, limit=2))
    rest = reach.ask(Members(then.id, first.next, limit=2))

    assert [task.id for task in (*first.tasks, *rest.tasks)] == [task.id for task in members]
    assert (rest.tasks[0].result, rest.next) == (b'{"n":2}', None)
    assert reach.ask(Members(members[0].id)).tasks == []


def test_members_are_listed_and_counted_by_their_group(reach: Reach) -> None:
    peer, members, then = run_group(reach, 3)
    reach.ask(AddAll(group(2).tasks))
    peer.succeed(peer.table[members[0].id])

    of_group, done = Filter(group=then.id), Filter(frozenset({SUCCESS}), group=then.id)

    listed = reach.ask(Find(of_group)).tasks
    assert [task.id for task in listed] == [task.id for task in members[::-1]]
    assert reach.ask(Count(of_group)).number == 3
    assert [task.id for task in reach.ask(Find(done)).tasks] == [members[0].id]
    assert reach.ask(Count(done)).number == 1


def test_a_batch_that_comes_again_is_answered_with_its_follower(reach: Reach) -> None:
    sent = group(2).tasks
    keyed = [make_task(group=sent[-1].id, idempotency_key="k", fingerprint=b"f"), *sent[1:]]
    assert reach.ask(AddAll(keyed)) is None
    again = [make_task(idempotency_key="k", fingerprint=b"f"), *group(2).tasks[1:]]

    answered = reach.ask(AddAll(again))

    assert [task.id for task in answered] == [task.id for task in keyed]


# -- over crashes, failed commits and time ---------------------------------------------------------


def test_a_follower_waits_on_after_a_crash_and_is_started_by_the_last(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry, {"async": 2})
    *members, then = group().tasks
    peer.ask(AddAll([*members, then]))
    peer.succeed(peer.table[members[0].id])

    peer.registry = registry = bench.registry(journal=bench.crash())
    peer.join()
    assert get(registry, then.id).waits_for_group
    peer.succeed(peer.table[members[1].id])

    assert get(registry, then.id).state is PENDING


@pytest.mark.parametrize("on", Follows)
def test_an_end_that_is_not_written_settles_nothing(bench: Bench, on: Follows) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal)
    peer = bench.peer(registry, {"async": 1})
    member, then = group(1, on).tasks
    peer.ask(AddAll([member, then]))
    claim = peer.table[member.id]
    journal.failures = 2

    assert raised(peer.succeed(claim)) is JournalUnavailable
    assert get(registry, then.id).waits_for_group
    assert registry.rules.store.members.of(then.id) == 1
    peer.succeed(claim)

    assert get(registry, then.id).state is PENDING
    assert len(registry.rules.store.members) == 0


def test_a_deadline_that_passes_ends_a_member_and_a_follower(bench: Bench) -> None:
    registry = bench.registry()
    late = bench.clock.wall() + 10.0
    then = bench.task(deadline=late + 10.0).following(Follows.FINISHED, 1)
    member = bench.task(group=then.id, deadline=late)
    other = bench.task(deadline=late).following(Follows.FINISHED, 1)
    ask(registry, AddAll([member, then]))
    ask(registry, AddAll([bench.task(group=other.id), other]))

    bench.clock.turn(11.0)
    registry.tick()

    assert [get(registry, task.id).state for task in (member, then, other)] == [
        FAILED,
        PENDING,
        FAILED,
    ]


def test_one_deadline_for_a_whole_batch_ends_its_members_first(bench: Bench) -> None:
    registry = bench.registry()
    late = bench.clock.wall() + 10.0
    followers = []
    for _ in range(8):  # their ids are in any order
        then = bench.task(deadline=late).following(Follows.SUCCESS, 1)
        ask(registry, AddAll([bench.task(group=then.id, deadline=late), then]))
        followers.append(then)

    bench.clock.turn(11.0)
    registry.tick()

    assert {get(registry, then.id).state for then in followers} == {CANCELLED}


def test_members_are_kept_until_their_follower_is_finished(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal(), retention_seconds=100.0)
    peer = bench.peer(registry, {"async": 1})
    member, then = group(1).tasks
    alone = make_task()
    peer.ask(AddAll([member, then]))
    peer.succeed(peer.table[member.id])
    peer.succeed(peer.run(alone))

    def kept_after_a_while() -> list[bool]:
        for _ in range(5):
            bench.clock.turn(70.0)
            registry.tick()
        return [isinstance(ask(registry, Get(task.id)), Task) for task in (member, alone)]

    assert kept_after_a_while() == [True, False]
    ask(registry, Cancel(then.id))
    assert kept_after_a_while() == [False, False]


def test_a_member_can_be_deleted_by_hand(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry, {"async": 2})
    *members, then = group().tasks
    peer.ask(AddAll([*members, then]))
    peer.succeed(peer.table[members[0].id])

    assert ask(registry, Delete(members[0].id)) is None
    peer.succeed(peer.table[members[1].id])

    assert get(registry, then.id).state is PENDING
