"""Reads by id under load: they see what any worker has answered, and a task never goes back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from tests.integration.conftest import Service

CLIENTS = 6
TASKS = 40
"""The number of tasks of each client."""
FINISHED = 2
STAGES = {"pending": 0, "processing": 1, "success": FINISHED, "completed": FINISHED}


@pytest.fixture
def connections(service: Service) -> Iterator[list[list[httpx.Client]]]:
    """For each client, a connection to each of the two workers."""
    with ExitStack() as stack:
        yield [_one_to_each_worker(service, stack) for _ in range(CLIENTS)]


def _one_to_each_worker(service: Service, stack: ExitStack) -> list[httpx.Client]:
    found: dict[str, httpx.Client] = {}
    while len(found) < 2:
        client = httpx.Client(base_url=service.url, timeout=30)
        stack.callback(client.close)
        answer = client.get("/")
        found.setdefault(answer.headers["x-request-id"].rpartition("-")[0], client)
    return list(found.values())


def test_a_read_at_any_worker_sees_what_another_has_answered_and_no_task_goes_back(
    connections: list[list[httpx.Client]],
) -> None:
    together = threading.Barrier(CLIENTS)

    def follow_tasks(workers: list[httpx.Client]) -> None:
        together.wait()
        for n in range(TASKS):
            here, there = workers[n % 2], workers[1 - n % 2]
            answer = here.post("/notify/", json={"email": "a@example.com", "message": "m"})
            assert answer.status_code == 202, answer.text
            task_id, stage, looks = answer.json()["task_id"], 0, 0
            # The one is answered from the registry's memory, the other from the journal.
            paths = (f"/task/{task_id}/status", f"/tasks/{task_id}")
            while stage < FINISHED:
                path = paths[looks // 2 % 2]
                seen = (there, here)[looks % 2].get(path)
                assert seen.status_code == 200, f"look {looks} of {path}: {seen.text}"
                now = STAGES[seen.json()["status"]]
                assert now >= stage, f"look {looks}: {seen.json()}"
                stage, looks = now, looks + 1

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(follow_tasks, connections))
