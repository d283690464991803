"""`/workers`."""

from __future__ import annotations

import httpx
import pytest

from afterwards.api.schemas.workers import WorkersDocument
from afterwards.registry.protocol.requests import Beat, HostReport, WorkerReport
from tests.api.general.conftest import Hand, submitted

pytestmark = pytest.mark.anyio


async def test_workers_are_told_with_their_hosts_and_what_runs_there(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    one, other = [(await submitted(api))["id"] for _ in range(2)]
    for task_id in (one, other):
        hand.claim(task_id)
    host = HostReport(77, "async", 3, 1_750_000_000.0, None, 2, 0, "leaving")
    report = WorkerReport(1_750_000_000.0, 2**20, [host], {one: 77})
    hand.exchange(Beat(hand.slots, {}, hand.held(), report=report))

    answer = await api.get("/workers")

    WorkersDocument.model_validate_json(answer.content)
    assert answer.headers["cache-control"] == "no-store"
    [worker] = [worker for worker in answer.json()["workers"] if worker["pid"] == 1]
    assert worker["started_at"] == "2025-06-15T15:06:40.000000+00:00"
    assert (worker["memory_bytes"], worker["running_total"]) == (2**20, 2)
    assert worker["slots"]["async"] == {"busy": 2, "free": 8, "stuck": 0}
    [shown] = worker["hosts"]
    assert (shown["pid"], shown["state"], shown["memory_bytes"]) == (77, "leaving", None)
    running = {attempt["task_id"]: attempt["host_pid"] for attempt in worker["running"]}
    assert running == {one: 77, other: None}


async def test_a_worker_that_has_said_nothing_of_itself_is_told_all_the_same(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    document = (await api.get("/workers")).json()
    [worker] = [worker for worker in document["workers"] if worker["pid"] == 1]
    assert (worker["hosts"], worker["started_at"], worker["memory_bytes"]) == ([], None, None)
    assert document["registry"]["pid"] > 1
