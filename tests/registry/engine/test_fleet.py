"""`ListWorkers`: workers, what they hold, and what they say of themselves."""

from __future__ import annotations

import os

from afterwards.registry.protocol.answers import WorkerList
from afterwards.registry.protocol.requests import (
    Beat,
    HostReport,
    ListWorkers,
    WorkerReport,
)
from afterwards.registry.state import fleet
from tests.registry.bench import Bench
from tests.registry.conftest import Reach
from tests.registry.peers import make_task

HOST = HostReport(7, "async", 2, 1.5, 2**20, 3, 1, "running")
REPORT = WorkerReport(1.0, 2**21, [HOST], {"some task": 7})


def test_every_registry_tells_of_workers_and_of_itself(reach: Reach) -> None:
    peer = reach.peer({"async": 3})
    claims = [peer.run(make_task()) for _ in range(2)]
    peer.exchange(Beat(peer.slots, {"async": 1}, peer.held(), report=REPORT))
    # One that says nothing new.
    peer.exchange(Beat(peer.slots, {"async": 1}, peer.held()))

    found: WorkerList = reach.ask(ListWorkers())

    [worker] = found.workers
    assert (worker.id, worker.pid) == (str(peer.worker), peer.worker.pid)
    assert worker.report == REPORT
    assert worker.lease_seconds_left is not None
    assert 5 < worker.lease_seconds_left <= 10
    assert dict(worker.slots) == {
        ("async", "busy"): 1,
        ("async", "free"): 1,
        ("async", "stuck"): 1,
    }
    assert [attempt.task_id for attempt in worker.running] == [c.task_id for c in claims]
    assert worker.running_total == 2
    assert not worker.draining
    assert (found.registry.pid == os.getpid()) == (reach.name != "manager")
    assert found.registry.memory_bytes is not None
    assert found.registry.uptime_seconds >= 0


def test_of_many_attempts_the_oldest_are_told(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry, {"async": 500})
    claims = [peer.run(make_task()) for _ in range(fleet.MAX_ATTEMPTS + 50)]
    for claim in claims[:20]:
        peer.succeed(claim)
    [worker] = peer.ask(ListWorkers()).workers
    expected = [claim.task_id for claim in claims[20 : 20 + fleet.MAX_ATTEMPTS]]
    assert [attempt.task_id for attempt in worker.running] == expected
    assert worker.running_total == fleet.MAX_ATTEMPTS + 30


def test_a_worker_whose_process_has_ended_is_none(bench: Bench) -> None:
    registry = bench.registry()
    peer, other = bench.peer(registry), bench.peer(registry)
    bench.machine.kill(peer.worker)
    registry.tick()
    assert [worker.pid for worker in other.ask(ListWorkers()).workers] == [other.worker.pid]
