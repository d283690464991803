"""Blame (rule 22): who ends its host is found, and nobody else is ever failed for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import pytest

from afterwards.lifecycle import (
    CROWD_SHARE,
    MAX_LOST_ATTEMPTS,
    MAX_LOST_WITH_WORKERS,
    Task,
    TaskState,
)
from afterwards.registry.protocol.answers import Claim
from afterwards.registry.protocol.base import SUSPECTED, Registry
from afterwards.registry.protocol.requests import (
    Add,
    Cancel,
    Inspect,
    Lost,
    Report,
    Retry,
    Stats,
    Succeeded,
    Suspected,
)
from afterwards.registry.protocol.webhook_requests import PutWebhook
from afterwards.webhooks.delivery import DELAYS_SECONDS
from afterwards.webhooks.webhook import DELIVERY
from tests.registry.bench import Bench, SteppedRegistry
from tests.registry.peers import Peer, ask, get
from tests.registry.test_webhooks import a_webhook

PENDING, PROCESSING, FAILED = TaskState.PENDING, TaskState.PROCESSING, TaskState.FAILED
T = TypeVar("T")
SLOTS = {"async": 100, "thread": 100, SUSPECTED: 2}


def outcomes(registry: Registry, task_id: str) -> list[str | None]:
    return [attempt.outcome for attempt in ask(registry, Inspect(task_id)).attempts]


def suspects(bench: Bench, registry: SteppedRegistry, *crowds: int, **fields: Any) -> list[Task]:
    """Tasks that wait, each in the crowd of the same place."""
    tasks = [bench.task(**fields) for _ in crowds]
    peer = bench.peer(registry, {"async": len(tasks), "thread": len(tasks)})
    peer.add(*tasks)
    for task, crowd in zip(tasks, crowds, strict=True):
        assert peer.suspect(peer.table[task.id], crowd) is None
    peer.leave()
    return tasks


def parts(whole: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (whole[first : first + size] for first in range(0, len(whole), size))


def crowds_of(claims: Iterable[Claim]) -> list[int]:
    return sorted(claim.crowd for claim in claims)


# -- one task -------------------------------------------------------------------------------------


def test_a_suspect_waits_again_uncounted_and_says_why(bench: Bench) -> None:
    registry = bench.registry()
    [task] = suspects(bench, registry, 12)

    waiting = get(registry, task.id)
    assert (waiting.state, waiting.crowd, waiting.lost_attempts) == (PENDING, 12, 0)
    assert waiting.attempts_used == 0
    assert (
        waiting.reason == "attempt 1 was in a host that died; tried again in a crowd of at most 12"
    )
    [attempt] = ask(registry, Inspect(task.id)).attempts
    assert (attempt.outcome, attempt.error, attempt.crowd) == (
        "suspected",
        "its host was killed",
        0,
    )
    counts = ask(registry, Stats()).snapshot.counts
    assert counts["attempts", "note", "suspected"] == 1


def test_a_suspect_is_claimed_by_its_crowd_and_others_are_not(bench: Bench) -> None:
    registry = bench.registry()
    [suspect] = suspects(bench, registry, 12)
    peer = bench.peer(registry, {"async": 2, SUSPECTED: 2})
    peer.add(bench.task())

    assert {claim.task_id: claim.crowd for claim in peer.table.values()}.pop(suspect.id) == 12
    assert crowds_of(peer.table.values()) == [0, 12]


def test_a_worker_without_hosts_for_suspects_gets_none(bench: Bench) -> None:
    registry = bench.registry()
    suspects(bench, registry, 12)

    assert bench.peer(registry, {"async": 2}).table == {}
    assert bench.peer(registry, {"thread": 2, SUSPECTED: 2}).table == {}
    assert len(bench.peer(registry, {"async": 2, SUSPECTED: 2}).table) == 1


def test_a_crowd_never_grows_by_a_report(bench: Bench) -> None:
    registry = bench.registry()
    [task] = suspects(bench, registry, 80)
    peer = bench.peer(registry, SLOTS)

    peer.suspect(peer.table[task.id], 500)
    assert get(registry, task.id).crowd == 80 // CROWD_SHARE
    peer.take()
    peer.suspect(peer.table[task.id], 500)

    assert get(registry, task.id).crowd == 1


def test_a_suspect_that_was_alone_is_lost_and_failed_at_the_third_time(bench: Bench) -> None:
    registry = bench.registry()
    [task] = suspects(bench, registry, 1)
    peer = bench.peer(registry, SLOTS)

    for number in range(1, MAX_LOST_ATTEMPTS + 1):
        peer.take()
        # However its worker calls it.
        how = (
            peer.suspect(peer.table[task.id], 1) if number == 2 else peer.lose(peer.table[task.id])
        )
        assert how is None
        assert get(registry, task.id).lost_attempts == number

    assert get(registry, task.id).state is FAILED
    assert outcomes(registry, task.id) == ["suspected", "lost", "lost", "lost"]


def test_a_cancelled_suspect_is_cancelled(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry)
    claim = peer.run(bench.task())
    ask(registry, Cancel(claim.task_id))

    peer.suspect(claim, 5)

    assert get(registry, claim.task_id).state is TaskState.CANCELLED


def test_a_retry_by_hand_forgets_suspicion(bench: Bench) -> None:
    registry = bench.registry()
    [task] = suspects(bench, registry, 1)
    ask(registry, Cancel(task.id))

    assert ask(registry, Retry(task.id)).crowd == 0
    assert task.id in bench.peer(registry, {"async": 1}).table


# -- the room of suspects -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("waiting", "claimed"),
    [
        ([1, 1, 1], [1, 1]),
        ([3] * 7, [3] * 6),
        ([3, 1, 1], [1, 3]),
        ([3, 1, 3, 1, 3, 3], [1, 3, 3, 3]),
        ([100, 50] * 2, [50, 50, 100, 100]),
    ],
)
def test_a_worker_holds_no_more_suspects_than_fit_into_its_hosts(
    bench: Bench, waiting: list[int], claimed: list[int]
) -> None:
    registry = bench.registry()
    suspects(bench, registry, *waiting)

    assert crowds_of(bench.peer(registry, SLOTS).table.values()) == claimed


def test_suspects_of_two_executors_share_no_host(bench: Bench) -> None:
    registry = bench.registry()
    suspects(bench, registry, 9, 9)
    suspects(bench, registry, 9, 9, executor="thread")
    suspects(bench, registry, 8)

    peer = bench.peer(registry, SLOTS)

    assert crowds_of(peer.table.values()) == [9, 9, 9, 9]


def test_a_host_is_free_again_when_the_last_of_its_crowd_has_ended(bench: Bench) -> None:
    registry = bench.registry()
    crowds = [2, 2, 2, 1]
    tasks = suspects(bench, registry, *crowds)
    peer = bench.peer(registry, SLOTS)
    assert tasks[3].id not in peer.table

    peer.succeed(peer.table[tasks[0].id])

    # Two are left of three: they fit into one host now.
    assert tasks[3].id in peer.table
    slots = ask(registry, Stats()).snapshot.slots
    assert slots[SUSPECTED, "busy"] == 2


def test_suspects_come_by_priority_and_then_by_age_whatever_their_crowd(bench: Bench) -> None:
    registry = bench.registry()
    old, young = suspects(bench, registry, 1, 5)
    [urgent] = suspects(bench, registry, 7, priority=9)
    peer = bench.peer(registry, {"async": 9, SUSPECTED: 1})

    for task in (urgent, old, young):
        assert list(peer.table) == [task.id]
        peer.succeed(peer.table[task.id])


# -- deaths of workers, and of all ----------------------------------------------------------------


def test_a_task_that_kills_its_workers_has_to_be_alone_to_be_failed(bench: Bench) -> None:
    registry = bench.registry()
    task = bench.task()
    bench.peer(registry, {}).add(task)
    crowds = []

    for _ in range(MAX_LOST_WITH_WORKERS + 1):
        victim = bench.peer(registry, SLOTS)
        crowds.append(victim.table[task.id].crowd)
        bench.machine.kill(victim.worker)
        registry.tick()

    assert crowds == [0, 0, 0, 0, 0, 0, 1]
    assert get(registry, task.id).state is FAILED
    assert "6 attempts were lost" in (get(registry, task.id).error or "")


def test_neighbours_of_a_task_that_kills_its_workers_are_not_failed(bench: Bench) -> None:
    registry = bench.registry()
    tasks = [bench.task() for _ in range(5)]
    guilty = tasks[2].id
    bench.peer(registry, {}).add(*tasks)

    for _ in range(20):
        peer = bench.peer(registry, {"async": 5, SUSPECTED: 1})
        while peer.table and guilty not in peer.table:
            peer.succeed(next(iter(peer.table.values())))
        bench.machine.kill(peer.worker)
        registry.tick()

    states = [get(registry, task.id).state for task in tasks]
    assert states == [FAILED if task.id == guilty else TaskState.SUCCESS for task in tasks]


def die(bench: Bench, registry: SteppedRegistry, service: int) -> SteppedRegistry:
    """All of the service dies, and the next one starts."""
    for record in registry.rules.ledger:
        bench.machine.kill(record.worker)
    return bench.registry(journal=bench.crash(), service=f"service-{service}")


def test_after_deaths_of_the_whole_service_suspects_run_one_at_a_time(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal(), service="service-0")
    tasks = [bench.task() for _ in range(4)]
    guilty = tasks[3].id
    ask_all(registry, [Add(task) for task in tasks])
    together: list[int] = []

    for number in range(1, 6):
        peers = [bench.peer_of(registry, f"service-{number - 1}", SLOTS) for _ in range(2)]
        while held := {claim.task_id: peer for peer in peers for claim in peer.table.values()}:
            together.append(sum(peer.table[task_id].crowd == 1 for task_id, peer in held.items()))
            if guilty in held:
                registry = die(bench, registry, number)
                registry.tick()
                break
            task_id, holder = held.popitem()
            holder.succeed(holder.table[task_id])
            for peer in peers:
                peer.take()

    assert max(together) == 1
    states = {task.id: get(registry, task.id).state for task in tasks}
    assert states.pop(guilty) is FAILED
    assert set(states.values()) == {TaskState.SUCCESS}


def test_suspicion_survives_a_restart(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    [task] = suspects(bench, registry, 12)

    registry = bench.registry(journal=bench.crash())

    assert bench.peer(registry, SLOTS).table[task.id].crowd == 12


# -- blame ends -----------------------------------------------------------------------------------


def ask_all(registry: Registry, requests: Sequence[Report | Add]) -> None:
    for part in parts(requests, 2_000):
        registry.exchange(None, 0, part)


def run_hosts(peer: Peer, guilty: str) -> bool:
    """Run a worker's claims: hosts by their crowd, one of which may die.

    Returns:
        Whether one died.
    """
    by_crowd: dict[int, list[Claim]] = {}
    for claim in peer.table.values():
        by_crowd.setdefault(claim.crowd, []).append(claim)
    reports: list[Report] = []
    died = False
    for crowd, claims in by_crowd.items():
        for host in parts(claims, crowd or len(claims)):
            if all(claim.task_id != guilty for claim in host):
                reports += [Succeeded(c.task_id, c.attempt, b"1", 0.1) for c in host]
                continue
            died = True
            blame = max(1, len(host) // CROWD_SHARE)
            if len(host) == 1:
                reports.append(Lost(host[0].task_id, host[0].attempt, "killed"))
            else:
                reports += [Suspected(c.task_id, c.attempt, "killed", blame) for c in host]
    peer.table.clear()
    for part in parts(reports, 2_000):
        peer.exchange(*part)
    return died


def test_of_5000_attempts_of_which_one_kills_its_host_only_that_one_is_failed(
    bench: Bench, quiet: None
) -> None:
    registry = bench.registry()
    tasks = [bench.task() for _ in range(5_000)]
    guilty = tasks[3_141].id
    bench.peer(registry, {}).exchange(*map(Add, tasks))
    peer = bench.peer(registry, {"async": 5_000, SUSPECTED: 2})

    deaths = 0
    while peer.table:
        deaths += run_hosts(peer, guilty)
        peer.take()

    found = [get(registry, task.id) for task in tasks]
    assert [task.id for task in found if task.state is not TaskState.SUCCESS] == [guilty]
    assert get(registry, guilty).state is FAILED
    assert outcomes(registry, guilty) == ["suspected"] * 4 + ["lost"] * 3
    assert deaths == 7
    assert all(task.lost_attempts == 0 for task in found if task.id != guilty)


# -- deliveries ------------------------------------------------------------------------------------


def a_delivery(bench: Bench, registry: SteppedRegistry) -> str:
    """The id of one that waits."""
    ask(registry, PutWebhook(a_webhook()))
    ended = bench.task()
    ask_all(registry, [Add(ended)])
    ask(registry, Cancel(ended.id))
    bench.clock.turn(1.0)
    registry.tick()
    [found] = [one for one in registry.rules.store.gathered(finished=False) if one.type == DELIVERY]
    return found.id


def test_a_delivery_is_not_failed_by_deaths_of_the_service_but_tried_again_later(
    bench: Bench,
) -> None:
    registry = bench.registry(journal=bench.journal(), service="service-0")
    delivery = a_delivery(bench, registry)

    for number in range(1, MAX_LOST_ATTEMPTS + 3):
        bench.clock.turn(DELAYS_SECONDS[0])
        registry.tick()
        peer = bench.peer_of(registry, f"service-{number - 1}", SLOTS)
        assert delivery in peer.table
        registry = die(bench, registry, number)
        registry.tick()
        lost = get(registry, delivery)
        # The third death shows that it has to be alone; from the fourth on it waits.
        waits = number > MAX_LOST_ATTEMPTS
        assert lost.state is (TaskState.SCHEDULED if waits else PENDING)
        assert lost.attempts_used == max(0, number - MAX_LOST_ATTEMPTS)
        if waits:
            assert lost.delay_seconds == DELAYS_SECONDS[lost.attempts_used - 1]
            bench.clock.turn(DELAYS_SECONDS[lost.attempts_used - 1])
    assert outcomes(registry, delivery) == ["lost"] * (MAX_LOST_ATTEMPTS + 2)

    registry.tick()
    peer = bench.peer_of(registry, f"service-{MAX_LOST_ATTEMPTS + 2}", SLOTS)
    assert peer.succeed(peer.table[delivery]) is None
    assert get(registry, delivery).state is TaskState.SUCCESS


def test_a_delivery_that_ends_its_hosts_alone_is_failed_with_its_last_attempt(
    bench: Bench,
) -> None:
    registry = bench.registry()
    delivery = a_delivery(bench, registry)
    peer = bench.peer(registry, SLOTS)

    def end_its_host() -> Task:
        assert peer.suspect(peer.table[delivery], 1) is None
        return get(registry, delivery)

    # Claimed again at once: in a crowd, and then alone.
    uncounted = [end_its_host() for _ in range(MAX_LOST_ATTEMPTS)]
    assert [(one.state, one.attempts_used) for one in uncounted] == [(PROCESSING, 0)] * 3
    for used, delay in enumerate(DELAYS_SECONDS, 1):
        lost = end_its_host()
        assert (lost.state, lost.attempts_used) == (TaskState.SCHEDULED, used)
        bench.clock.turn(delay)
        peer.beat()
    failed = end_its_host()
    assert failed.state is FAILED
    assert "attempts were lost; the last: its host was killed" in (failed.error or "")
