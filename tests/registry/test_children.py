"""Children: tasks that running tasks submit, once whatever happens, and no more than they may."""

from __future__ import annotations

from afterwards.errors import (
    ChildrenRefused,
    IllegalTransition,
    JournalUnavailable,
    StaleReport,
)
from afterwards.lifecycle import MAX_CHILDREN, MAX_CHILDREN_BYTES, MAX_DEPTH, Task, TaskState
from afterwards.registry.protocol.answers import Claim
from afterwards.registry.protocol.filters import Filter
from afterwards.registry.protocol.requests import (
    Cancel,
    Count,
    Find,
    Inspect,
    SubmitChildren,
    Succeeded,
)
from afterwards.registry.state.acceptance import Limits
from tests.registry.bench import Bench
from tests.registry.conftest import MakeReach, Reach
from tests.registry.peers import ask, get, make_task, raised
from tests.registry.test_quotas import limited


def success(claim: Claim, *children: Task) -> Succeeded:
    return Succeeded(claim.task_id, claim.attempt, b'"done"', 0.1, children=children)


def now(claim: Claim, *children: Task) -> SubmitChildren:
    return SubmitChildren(claim.task_id, claim.attempt, children)


def children_of(reach: Reach, parent: Claim) -> list[str]:
    return [task.id for task in reach.ask(Find(Filter(parent=parent.task_id))).tasks]


# -- the contract: every registry ------------------------------------------------------------------


def test_children_are_accepted_with_the_success_of_their_parent(reach: Reach) -> None:
    peer = reach.peer({"async": 1})
    claim = peer.run(make_task(owner="ann"))
    child, other = make_task(owner="eve"), make_task()

    assert peer.report(success(claim, child, other)) is None

    assert reach.state(claim) is TaskState.SUCCESS
    stored = reach.get(child)
    assert (stored.parent, stored.depth, stored.owner) == (claim.task_id, 1, "ann")
    assert children_of(reach, claim) == [other.id, child.id]
    assert reach.ask(Count(Filter(parent=claim.task_id))).number == 2
    assert reach.ask(Inspect(claim.task_id)).children == 2
    assert reach.ask(Inspect(child.id)).children == 0
    # One slot: it was free again in the same transaction.
    assert list(peer.table) == [child.id]


def test_a_report_that_comes_twice_brings_its_children_once(reach: Reach) -> None:
    peer = reach.peer({"async": 1})
    claim = peer.run(make_task())
    peer.report(success(claim, make_task()))

    assert raised(peer.ask(success(claim, make_task()))) is StaleReport

    assert len(children_of(reach, claim)) == 1


def test_children_of_a_failed_attempt_are_never_there(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())

    peer.fail(claim)

    assert children_of(reach, claim) == []


def test_a_child_that_is_submitted_at_once_runs_beside_its_parent(reach: Reach) -> None:
    peer = reach.peer({"async": 2})
    claim = peer.run(make_task())
    child = make_task()

    assert peer.ask(now(claim, child)) is None

    assert (reach.state(claim), reach.state(child)) == (TaskState.PROCESSING,) * 2


def test_a_child_that_another_attempt_submits_again_is_there_once(reach: Reach) -> None:
    peer = reach.peer({"async": 1})
    claim = peer.run(make_task())
    child = make_task(executor="thread")
    peer.ask(now(claim, child))
    peer.lose(claim)
    again = peer.take()[0] if not peer.table else next(iter(peer.table.values()))
    assert (again.task_id, again.attempt) == (claim.task_id, 2)

    assert peer.ask(now(again, child)) is None

    assert children_of(reach, claim) == [child.id]


def test_only_the_running_attempt_submits_children(reach: Reach) -> None:
    peer = reach.peer({"async": 1})
    claim = peer.run(make_task())
    peer.lose(claim)
    [running] = peer.table.values()

    assert raised(peer.ask(now(claim, make_task()))) is StaleReport
    assert raised(peer.ask(SubmitChildren(make_task().id, 1, [make_task()]))) is StaleReport
    peer.succeed(running)
    assert raised(peer.ask(now(running, make_task()))) is StaleReport

    assert children_of(reach, claim) == []


def test_a_task_has_so_many_ancestors_at_most(reach: Reach) -> None:
    peer = reach.peer({"async": 1})
    claim = peer.run(make_task())
    for depth in range(1, MAX_DEPTH + 1):
        child = make_task()
        peer.report(success(claim, child))
        claim = peer.table[child.id]
        assert (claim.depth, reach.get(child).depth) == (depth, depth)

    assert raised(peer.ask(now(claim, make_task()))) is ChildrenRefused
    peer.report(success(claim, make_task()))

    failed = reach.get(claim)
    assert failed.state is TaskState.FAILED
    assert failed.error is not None
    assert "nested 8 deep" in failed.error
    assert children_of(reach, claim) == []


def test_a_task_has_so_many_children_at_most_over_all_its_attempts(reach: Reach) -> None:
    peer = reach.peer({"async": 1})
    claim = peer.run(make_task())
    many = [make_task(executor="thread") for _ in range(MAX_CHILDREN - 1)]
    assert peer.ask(now(claim, *many)) is None

    assert raised(peer.ask(now(claim, make_task(), make_task()))) is ChildrenRefused
    assert peer.ask(now(claim, many[0], make_task(executor="thread"))) is None
    peer.report(success(claim, make_task()))

    failed = reach.get(claim)
    assert failed.error is not None
    assert (failed.state, "may submit 1000" in failed.error) == (TaskState.FAILED, True)
    assert reach.ask(Inspect(claim.task_id)).children == MAX_CHILDREN


def test_payloads_of_children_have_so_many_bytes_at_most(reach: Reach) -> None:
    peer = reach.peer({"async": 1})
    claim = peer.run(make_task())
    large = make_task(executor="thread", payload=b"x" * (MAX_CHILDREN_BYTES - 1))
    assert peer.ask(now(claim, large)) is None

    assert raised(peer.ask(now(claim, make_task(payload=b"xx")))) is ChildrenRefused


def test_children_have_twice_the_room_of_others(make_reach: MakeReach) -> None:
    reach = make_reach(Limits(max_pending=3))
    peer = reach.peer({"async": 2})
    first, second = peer.run(make_task()), peer.run(make_task())
    others = [make_task(executor="thread") for _ in range(4)]

    assert peer.ask(now(first, *others)) is None
    assert raised(peer.ask(now(second, make_task()))) is ChildrenRefused
    peer.report(success(second, make_task()))

    failed = reach.get(second)
    assert failed.state is TaskState.FAILED
    assert failed.error == (
        "The tasks that it submits are refused: more than 6 tasks would be unfinished, twice "
        "AFTERWARDS_MAX_PENDING"
    )


def test_children_count_in_the_limits_of_their_owner(reach: Reach) -> None:
    reach.ask(limited(pending_tasks=2))
    peer = reach.peer({"async": 1})
    claim = peer.run(make_task(owner="ann"))

    assert raised(peer.ask(now(claim, make_task(), make_task()))) is ChildrenRefused
    assert peer.ask(now(claim, make_task())) is None


def test_nothing_is_accepted_of_children_that_are_refused(reach: Reach) -> None:
    reach.ask(limited(pending_tasks=2))
    peer = reach.peer({"async": 1})
    claim = peer.run(make_task(owner="ann"))

    peer.report(success(claim, make_task(), make_task()))

    assert reach.state(claim) is TaskState.FAILED
    assert children_of(reach, claim) == []


def test_a_cancelled_parent_brings_no_more_children(reach: Reach) -> None:
    peer = reach.peer({"async": 2})
    claim = peer.run(make_task())
    reach.ask(Cancel(claim.task_id))

    refused = peer.ask(now(claim, make_task()))
    peer.report(success(claim, make_task()))

    assert raised(refused) is IllegalTransition
    assert str(refused).endswith("submit tasks any more: its cancellation was asked for")
    assert reach.state(claim) is TaskState.CANCELLED
    assert children_of(reach, claim) == []


# -- over crashes, failed commits and time ---------------------------------------------------------


def test_children_of_a_transaction_that_failed_come_with_the_next(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal)
    peer = bench.peer(registry, {"async": 1})
    claim, child = peer.run(make_task()), make_task()
    journal.failures = 1

    assert raised(peer.ask(success(claim, child))) is JournalUnavailable
    assert get(registry, claim.task_id).state is TaskState.PROCESSING
    assert ask(registry, Find(Filter(parent=claim.task_id))).tasks == []
    assert peer.ask(success(claim, child)) is None

    assert get(registry, child.id).parent == claim.task_id


def test_a_success_with_children_waits_for_room_on_the_disk(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal)
    peer = bench.peer(registry, {"async": 2})
    parent, other = peer.run(make_task()), peer.run(make_task())
    journal.failures = 1

    reply = peer.exchange(success(parent, make_task()), success(other))

    assert [raised(answer) for answer in reply.answers] == [JournalUnavailable, None]
    assert get(registry, parent.task_id).state is TaskState.PROCESSING


def test_children_are_as_they_were_after_a_crash(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry, {"async": 1})
    claim = peer.run(make_task())
    child = make_task(executor="thread", payload=b"x" * (MAX_CHILDREN_BYTES - 1))
    peer.ask(now(claim, child))

    peer.registry = registry = bench.registry(journal=bench.crash())
    peer.join()

    assert get(registry, child.id).depth == 1
    # What it has submitted before counts.
    assert raised(peer.ask(now(claim, make_task(payload=b"xx")))) is ChildrenRefused
    assert peer.ask(now(claim, child)) is None
    assert peer.ask(now(claim, make_task(payload=b"x"))) is None


def test_a_child_that_was_deleted_is_not_submitted_again(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal(), retention_seconds=100.0)
    peer = bench.peer(registry, {"async": 2})
    claim, child = peer.run(make_task()), make_task()
    peer.ask(now(claim, child))
    peer.succeed(peer.table[child.id])
    for _ in range(3):
        bench.clock.turn(200.0)
        peer.say_alive()
        peer.beat()
        registry.tick()

    peer.ask(now(peer.table[claim.task_id], child))

    assert ask(registry, Find(Filter(parent=claim.task_id))).tasks == []


def test_what_is_remembered_of_a_parent_goes_with_its_end(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry, {"async": 1})
    claim = peer.run(make_task())
    peer.ask(now(claim, make_task(executor="thread")))
    children = registry.rules.store.children
    assert len(children) == 1

    peer.succeed(claim)

    assert len(children) == 0
