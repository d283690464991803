"""Another process holds the journal's write lock, as somebody does who looks at it with sqlite3."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.reliability.conftest import FaultyService, NewService

HELD_SECONDS = 14.0
"""Longer than two leases, and than the master waits for signs of life."""
QUICK_SECONDS = HELD_SECONDS / 2
"""Far from what waits for the lock, on a machine that is busy with other tests."""
NOTIFICATION = {"email": "johndoe@example.com", "message": "x"}
READS = ("/healthz", "/metrics", "/tasks", "/tasks?status=processing", "/stats", "/schedules")


def test_a_foreign_lock_on_the_journal_delays_writers_only_and_stops_no_attempt(
    new_service: NewService,
) -> None:
    service = new_service(lease_seconds="5", thread_slots="1")
    service.start()
    running = [service.add(kind) for kind in ("wait", "wait-thread", "wait-process")]
    for task_id in running:
        service.begun(task_id, 1)
    registry = service.registry_pid()
    done = service.submit("/notify/", NOTIFICATION)
    service.finished(done)
    paths = [*READS, *(f"/tasks/{task_id}" for task_id in (done, running[0]))]
    with (
        ThreadPoolExecutor(1) as client,
        contextlib.closing(sqlite3.connect(service.data_dir / "journal.sqlite3")) as foreign,
    ):
        foreign.execute("BEGIN IMMEDIATE")
        locked_at = time.monotonic()
        submitted = client.submit(submit_until_accepted, service)
        slowest = dict.fromkeys(paths, 0.0)
        while time.monotonic() < locked_at + HELD_SECONDS:
            for path in paths:
                began = time.monotonic()
                assert service.get(path).status_code == 200, path
                slowest[path] = max(slowest[path], time.monotonic() - began)
            assert "locked by another process" in readiness(service)
            time.sleep(0.2)
        assert not submitted.done()
        foreign.execute("ROLLBACK")
        task_id, refusal = submitted.result(10)

    assert max(slowest.values()) < QUICK_SECONDS, slowest
    assert "locked by another process" in refusal
    assert service.registry_pid() == registry
    service.open_gate()
    tasks = service.all_ended([*running, task_id])
    assert {(task.state, task.attempt) for task in tasks} == {("success", 1)}
    assert [service.beginnings(task_id) for task_id in running] == [1, 1, 1]
    assert service.stop() == 0


def readiness(service: FaultyService) -> str:
    began = time.monotonic()
    answer = service.get("/readyz")
    assert time.monotonic() - began < QUICK_SECONDS
    assert answer.status_code == 503
    return answer.text


def submit_until_accepted(service: FaultyService) -> tuple[str, str]:
    """The accepted task's id, and what the last refusal said."""
    refusal = ""
    with httpx.Client(base_url=service.url, timeout=30) as client:
        while True:
            answer = client.post("/notify/", json=NOTIFICATION)
            if answer.status_code == 202:
                return answer.json()["task_id"], refusal
            assert answer.status_code == 503, answer.text
            refusal = answer.json()["detail"]
