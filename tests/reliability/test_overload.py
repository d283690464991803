"""More work than the service can do, and clients that are slow on purpose."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from afterwards.errors import TooManyUnfinished
from afterwards.registry.state.acceptance import Limits
from afterwards.server.http_protocol import BoundedHttpProtocol
from afterwards.server.worker import REQUEST_DRAIN_SECONDS
from tests.registry.bench import Bench
from tests.registry.conftest import bench, processes
from tests.reliability.conftest import FaultyService, NewService
from tests.reliability.flood import BODY, REQUEST, flood

__all__ = ["bench", "processes"]

NOTIFICATION = {"email": "johndoe@example.com", "message": "x"}
SUBMISSIONS = int(os.environ.get("SUBMISSIONS", "8000"))
"""`make flood` throws a million."""

LIMIT = 500
CACHES_BYTES = 320 * 2**20
"""At most, for good: the latest finished tasks (64 MiB), SQLite's cache (64 MiB), the unfinished
tasks, and what Python and malloc do not give back."""

GROWTH_BYTES = min(CACHES_BYTES, 0.8 * SUBMISSIONS * len(BODY))
"""Less than the submissions would add if they were kept: 128 MB in the suite, 16 GB in a flood."""

SLOW_CLIENTS = 100
GRACE_SECONDS = 1.0


def test_a_refusal_s_retry_after_follows_from_how_fast_tasks_are_done(bench: Bench) -> None:
    registry = bench.registry(Limits(max_pending=400))
    peer = bench.peer(registry, slots={"async": 400})
    peer.add(*[bench.task() for _ in range(400)])
    # Two tasks a second for a while; then a hundredth of the limit is free after two seconds.
    for claim in list(peer.table.values())[:40]:
        bench.clock.turn(0.5)
        peer.beat()
        peer.succeed(claim)
        peer.add(bench.task())
    refusal = peer.add(bench.task()).answers[0]
    assert isinstance(refusal, TooManyUnfinished)
    assert refusal.retry_after_seconds == pytest.approx(2.0, rel=0.3)


def test_at_the_limit_tasks_are_refused_until_there_is_room(new_service: NewService) -> None:
    service = new_service(max_pending="20")
    service.start()
    waiting = [service.add("wait") for _ in range(20)]
    refused = service.post("/notify/", NOTIFICATION)
    assert refused.status_code == 503
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert service.metric("afterwards_tasks_submitted_total") == 20
    service.open_gate()
    service.all_ended(waiting)
    assert service.post("/notify/", NOTIFICATION).status_code == 202
    assert service.stop() == 0


@pytest.mark.timeout(1800)
def test_memory_is_bounded_however_much_is_thrown_at_a_slow_service(
    new_service: NewService,
) -> None:
    # 500 unfinished tasks at most, of which 40 a second are done.
    service = new_service(
        max_pending=str(LIMIT),
        notification_delay_seconds="1",
        async_slots="20",
        log_level="warning",
        # Otherwise a host for validation would start beside the flood.
        task_modules="",
    )
    service.start()
    before = memory_bytes(service)
    answers = flood(service.address, SUBMISSIONS)
    after = memory_bytes(service)
    sys.stdout.write(f"{SUBMISSIONS} submissions, {dict(answers)}; ")
    sys.stdout.write(f"private memory: {before >> 20}, then {after >> 20} MiB\n")

    assert set(answers) == {202, 503}
    assert answers.total() == SUBMISSIONS
    assert answers[503] > 0.5 * SUBMISSIONS
    assert after - before < GROWTH_BYTES
    assert service.metric("afterwards_tasks_submitted_total") == answers[202]
    assert service.metric("afterwards_tasks") == answers[202]
    assert service.stop() == 0


def memory_bytes(service: FaultyService) -> int:
    """The memory of all its processes together that they share with no other."""
    return sum(
        int(kilobytes) * 1024
        for pid in service.processes()
        for kilobytes in re.findall(
            r"^Private_\w+: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE
        )
    )


def test_slow_and_half_open_clients_hold_only_their_own_connection(
    new_service: NewService,
) -> None:
    service = new_service(grace_seconds=str(GRACE_SECONDS))
    service.start()
    with half_open(service.address, REQUEST[:40]), half_open(service.address, REQUEST[:-10]):
        began = time.monotonic()
        task_ids = [service.submit("/notify/", NOTIFICATION) for _ in range(100)]
        assert {task.state for task in service.all_ended(task_ids)} == {"success"}
        # Sooner than the slow ones are given up.
        assert time.monotonic() - began < BoundedHttpProtocol.head_seconds
        assert service.get("/readyz").status_code == 200
        assert service.metric("afterwards_tasks_submitted_total") == len(task_ids)
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < GRACE_SECONDS + REQUEST_DRAIN_SECONDS
    assert not service.processes()


@contextmanager
def half_open(address: str, beginning: bytes) -> Iterator[None]:
    """Clients that have sent the beginning of a request and do not go on."""
    host, _, port = address.rpartition(":")
    with ExitStack() as connections:
        for _ in range(SLOW_CLIENTS):
            connection = connections.enter_context(socket.create_connection((host, int(port))))
            connection.sendall(beginning)
        yield
