"""Leases, deaths and restarts, on a clock that is turned by hand."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from afterwards.errors import NotJoined
from afterwards.lifecycle import TaskState
from afterwards.registry.engine.memory import MemoryRegistry
from afterwards.registry.journal.base import Group
from afterwards.registry.journal.nowhere import NullJournal
from afterwards.registry.protocol import incarnation
from afterwards.registry.protocol.base import LEASE_SECONDS, Worker
from afterwards.registry.protocol.clock import SystemClock
from afterwards.registry.protocol.incarnation import boot_id, is_alive, this_process
from afterwards.registry.protocol.requests import Add, Alive, Beat, Cancel, Held, Join
from afterwards.registry.state.acceptance import Limits
from tests.registry.bench import Bench
from tests.registry.peers import SERVICE, Peer, Processes, ask, counts, get, make_task, raised

PENDING, PROCESSING = TaskState.PENDING, TaskState.PROCESSING


EACH_KIND = pytest.mark.parametrize("kind", ["async", "thread", "process"])


@EACH_KIND
def test_a_silent_worker_is_ended_and_its_tasks_are_lost_when_its_lease_ends(
    bench: Bench, kind: str
) -> None:
    registry = bench.registry()
    peer = bench.peer(registry, {kind: 1})
    claim = peer.run(bench.task(executor=kind))

    bench.clock.turn(LEASE_SECONDS - 0.1)
    registry.tick()
    assert bench.machine.is_alive(peer.worker)
    bench.clock.turn(0.1)
    registry.tick()

    assert not bench.machine.is_alive(peer.worker)
    task = get(registry, claim.task_id)
    assert (task.state, task.lost_attempts) == (PENDING, 1)
    assert task.reason == f"attempt 1 lost: worker {peer.worker.pid} fell silent"
    assert raised(peer.succeed(claim)) is NotJoined
    registry.tick()
    assert list(registry.rules.ledger) == []


@EACH_KIND
def test_nothing_of_a_silent_worker_is_given_away_before_its_process_is_gone(
    bench: Bench, kind: str
) -> None:
    registry = bench.registry()
    peer = bench.peer(registry, {kind: 1})
    claim = peer.run(bench.task(executor=kind))
    bench.machine.unkillable.add(peer.worker)
    bench.clock.turn(LEASE_SECONDS)

    for _ in range(3):
        registry.tick()
        assert get(registry, claim.task_id).state is PROCESSING
        assert [raised(answer) for answer in peer.join().answers] == [NotJoined]
    bench.machine.unkillable.clear()
    registry.tick()

    assert get(registry, claim.task_id).state is PENDING


def test_a_silent_worker_that_holds_nothing_is_ended_too(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry)
    bench.clock.turn(LEASE_SECONDS)

    registry.tick()

    assert not bench.machine.is_alive(peer.worker)


def test_a_worker_whose_join_or_beat_waits_is_not_silent(bench: Bench) -> None:
    registry = bench.registry()
    beating, joining = bench.peer(registry), bench.peer(registry)
    claims = [peer.run(bench.task()) for peer in (beating, joining)]
    bench.clock.turn(2 * LEASE_SECONDS)
    joining.connection += 1

    registry.together(
        (beating, [Beat(beating.slots, {}, beating.held())]),
        (joining, [Join(joining.slots, joining.held())]),
    )

    assert [get(registry, claim.task_id).state for claim in claims] == [PROCESSING] * 2
    assert bench.machine.is_alive(beating.worker)
    assert bench.machine.is_alive(joining.worker)


def test_a_worker_that_left_and_does_not_end_is_ended(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry)
    claim = peer.run(bench.task())
    peer.leave()
    assert registry.has_workers()
    bench.clock.turn(LEASE_SECONDS)

    registry.tick()

    assert not bench.machine.is_alive(peer.worker)
    task = get(registry, claim.task_id)
    assert (task.state, task.lost_attempts) == (PENDING, 0)
    assert not registry.has_workers()


def test_beats_renew_a_lease_and_other_requests_do_not(bench: Bench) -> None:
    registry = bench.registry()
    beating, busy = bench.peer(registry), bench.peer(registry, {"async": 1})
    kept, lost = beating.run(bench.task()), busy.run(bench.task())

    for _ in range(3):
        bench.clock.turn(LEASE_SECONDS / 2)
        beating.beat()
        busy.exchange(Add(bench.task(executor="thread")))

    assert get(registry, kept.task_id).state is PROCESSING
    assert get(registry, lost.task_id).worker != busy.name


def test_a_worker_that_says_it_is_alive_keeps_its_lease_for_30_seconds_after_its_last_beat(
    bench: Bench,
) -> None:
    registry = bench.registry()
    peer = bench.peer(registry)
    peer.beat()
    claim = peer.run(bench.task())

    for _ in range(14):
        bench.clock.turn(2.0)
        assert peer.say_alive() is None
        registry.tick()
    assert get(registry, claim.task_id).state is PROCESSING
    bench.clock.turn(1.9)
    assert peer.say_alive() is None
    registry.tick()
    assert bench.machine.is_alive(peer.worker)
    bench.clock.turn(0.1)
    assert peer.say_alive() is None
    registry.tick()

    assert not bench.machine.is_alive(peer.worker)


def test_a_longer_lease_is_not_shortened_by_saying_to_be_alive(bench: Bench) -> None:
    registry = bench.registry(Limits(lease_seconds=100.0))
    peer = bench.peer(registry)

    bench.clock.turn(50.0)
    peer.say_alive()
    bench.clock.turn(49.0)
    registry.tick()

    assert bench.machine.is_alive(peer.worker)


def test_who_is_not_joined_is_told_so_when_saying_to_be_alive(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry)

    peer.connection += 1
    assert raised(peer.say_alive()) is NotJoined
    peer.connection -= 1
    peer.leave()
    assert raised(peer.say_alive()) is NotJoined
    assert raised(ask(registry, Alive())) is NotJoined


def test_to_say_alive_waits_for_no_group(tmp_path: Path, processes: Processes) -> None:
    go_on, writing = threading.Event(), threading.Event()

    class Slow(NullJournal):
        def write(self, group: Group) -> None:
            super().write(group)
            writing.set()
            assert go_on.wait(10)

    registry = MemoryRegistry(SERVICE, journal=Slow())
    peer = Peer(registry, processes.start())
    peer.join()
    other = threading.Thread(target=peer.add, args=[make_task()])
    other.start()
    try:
        assert writing.wait(10)

        assert peer.say_alive() is None
    finally:
        go_on.set()
        other.join()
        registry.close()


def test_a_dead_worker_cannot_join(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry, {"thread": 1})
    peer.run(bench.task(executor="thread"))
    bench.machine.kill(peer.worker)
    bench.clock.turn(1.0)

    assert [raised(answer) for answer in peer.join().answers] == [NotJoined]


def test_setting_the_wall_clock_ends_no_lease_and_stalls_no_backoff(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry)
    backing_off, kept = peer.run(bench.task()), peer.run(bench.task())
    peer.fail(backing_off, retry_in=5.0)

    bench.clock.set_wall(+3600.0)
    registry.tick()
    assert get(registry, kept.task_id).state is PROCESSING
    assert get(registry, backing_off.task_id).state is TaskState.SCHEDULED
    bench.clock.set_wall(-7200.0)
    bench.clock.turn(5.0)
    peer.beat()

    assert get(registry, backing_off.task_id).attempt == 2


def test_an_absolute_time_follows_the_wall_clock(bench: Bench) -> None:
    registry = bench.registry()
    task = bench.task(due_in=3600.0)
    bench.peer(registry, {}).add(task)

    bench.clock.set_wall(+3600.0)
    registry.tick()

    assert get(registry, task.id).state is PENDING


@pytest.mark.parametrize(("set_wall_by", "waits"), [(0.0, 30.0), (-3600.0, 40.0), (3600.0, 0.0)])
def test_after_a_restart_a_backoff_waits_its_rest_and_at_most_its_delay(
    bench: Bench, set_wall_by: float, waits: float
) -> None:
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry)
    claim = peer.run(bench.task())
    peer.fail(claim, retry_in=40.0)
    bench.clock.turn(10.0)
    bench.clock.set_wall(set_wall_by)

    registry = bench.registry(journal=bench.crash())

    assert max(0.0, registry.rules.store.backing_off.next_due() or 0.0) == pytest.approx(
        bench.clock.elapsed() + waits, abs=3600.0 if waits == 0.0 else 0.001
    )
    bench.clock.turn(waits)
    registry.tick()
    assert get(registry, claim.task_id).state is PENDING


def test_after_a_restart_the_claims_of_dead_and_foreign_workers_are_lost_at_once(
    bench: Bench,
) -> None:
    registry = bench.registry(journal=bench.journal())
    dead, alive = bench.peer(registry), bench.peer(registry)
    lost, kept = dead.run(bench.task()), alive.run(bench.task())
    journal = bench.crash()
    bench.machine.kill(dead.worker)

    registry = bench.registry(journal=journal)

    assert get(registry, lost.task_id).lost_attempts == 1
    assert get(registry, kept.task_id).state is PROCESSING
    another = bench.registry(journal=bench.crash(), service="another")
    assert get(another, kept.task_id).state is PENDING
    # It would run what now runs elsewhere, and could report to nobody.
    assert not bench.machine.is_alive(alive.worker)


def test_claims_lost_in_a_restart_are_lost_even_if_that_cannot_be_written_at_first(
    bench: Bench,
) -> None:
    registry = bench.registry(journal=bench.journal())
    dead = bench.peer(registry)
    claim = dead.run(bench.task())
    journal = bench.crash()
    bench.machine.kill(dead.worker)
    journal.failures = 2

    registry = bench.registry(journal=journal)

    assert get(registry, claim.task_id).state is PROCESSING
    assert get(registry, claim.task_id).state is PENDING
    assert get(registry, claim.task_id).lost_attempts == 1


def test_after_a_restart_a_living_worker_has_a_lease_to_present_its_claims(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    prompt, silent = bench.peer(registry), bench.peer(registry)
    presented, lost = prompt.run(bench.task()), silent.run(bench.task())

    registry = bench.registry(journal=bench.crash())
    for peer in (prompt, silent):
        peer.registry = registry
    assert raised(prompt.succeed(presented)) is NotJoined
    prompt.table = {presented.task_id: presented}
    bench.clock.turn(LEASE_SECONDS - 1)
    prompt.slots = {"async": 1}
    prompt.join()
    bench.clock.turn(1.0)
    registry.tick()

    assert prompt.succeed(presented) is None
    assert get(registry, lost.task_id).lost_attempts == 1


def test_after_a_restart_the_death_of_a_living_holder_is_seen_at_once(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry)
    claim = peer.run(bench.task())

    registry = bench.registry(journal=bench.crash())
    bench.machine.kill(peer.worker)
    registry.tick()

    assert get(registry, claim.task_id).state is PENDING


def test_after_a_restart_a_holder_is_told_of_its_cancellations(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry)
    claim = peer.run(bench.task())
    registry.exchange(None, 0, [Cancel(claim.task_id)])

    peer.registry = bench.registry(journal=bench.crash())
    peer.join()

    assert peer.told == [Held(claim.task_id, 1)]
    assert peer.stop(claim) is None


def test_a_released_task_keeps_its_place_before_those_that_came_later(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry, {"async": 1})
    first, second = bench.task(), bench.task()
    claim = peer.run(first)
    peer.add(second)

    peer.release(claim)

    assert list(peer.table) == [first.id]


def test_due_tasks_come_in_groups_so_that_nobody_waits_long(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterwards.registry.state.rules.DUE_AT_ONCE", 2)
    registry = bench.registry()
    bench.peer(registry, {}).add(*[bench.task(due_in=1.0) for _ in range(5)])
    bench.clock.turn(2.0)
    pending = []
    for _ in range(3):
        registry.tick()
        pending.append(registry.views._counts["tasks", "note", PENDING])

    assert pending == [2, 4, 5]


def test_the_running_clock_leaves_out_the_time_this_process_was_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [50.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    clock = SystemClock()
    now[0] += 0.5
    assert clock.running() == 0.5
    now[0] += 3600.0
    assert clock.running() == 1.5
    assert clock.elapsed() == 3650.5


def test_an_incarnation_survives_being_written_down() -> None:
    worker = this_process("service")

    assert Worker.parse(str(worker)) == worker
    assert is_alive(worker)


def test_a_process_of_another_boot_is_another_process() -> None:
    worker = this_process("service")
    assert worker.boot

    assert not is_alive(worker._replace(boot="another"))


def test_a_process_without_a_boot_as_it_was_written_before_is_known_by_its_birth() -> None:
    worker = this_process("service")

    written = Worker.parse(f"service:{worker.pid}:{worker.born}")

    assert written.boot == ""
    assert is_alive(written)


def test_where_no_boot_can_be_read_a_process_is_known_by_its_birth(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = this_process("service")
    monkeypatch.setattr(incarnation, "_BOOT_ID", tmp_path / "hidden")
    boot_id.cache_clear()
    try:
        assert this_process("service").boot == ""
        assert is_alive(worker)
    finally:
        boot_id.cache_clear()


def test_counts_are_the_same_after_a_restart(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    peer = bench.peer(registry, {"async": 10})
    peer.succeed(peer.run(bench.task()))
    peer.fail(peer.run(bench.task()))
    peer.run(bench.task())
    before = counts(registry)

    registry = bench.registry(journal=bench.crash())

    assert counts(registry) == before
    assert len(registry) == 3
