"""The limits of a key on a real service of two workers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tests.integration.conftest import Service, wait_for
from tests.integration.test_key_ends import Reader, knows
from tests.integration.test_keys import keys

RATE = 20
FLOOD_SECONDS = 4.0
SHARED_SECONDS = 2.0
"""A beat: so much more than it may each worker lets in at the most."""
LATER = {"type": "report", "payload": {"name": "x", "details": {}}, "delay_seconds": 900}


def test_limits_of_keys_hold_over_all_workers(new_service: Callable[..., Service]) -> None:
    service = new_service()
    service.start()
    root = {"Authorization": f"Bearer {keys(service, 'create', 'root', '--role', 'admin')}"}
    wait_for(lambda: service.client.get("/stats").status_code == 401, "a key is required")

    def made(name: str, role: str, **limits: int) -> tuple[str, dict[str, str]]:
        body = {"name": name, "role": role, "limits": limits}
        answer = service.client.post("/keys", json=body, headers=root)
        assert answer.status_code == 201, answer.text
        key = {"Authorization": f"Bearer {answer.json()['token']}"}
        wait_for(lambda: knows(service, key), "all workers know the key")
        return answer.json()["id"], key

    _pending_tasks_are_exact(service, made("shop", "submitter", pending_tasks=10)[1])
    key_id, eyes = made("eyes", "viewer", streams=2)
    readers = _streams_are_refused_by_whichever_worker(service, eyes)
    assert service.client.delete(f"/keys/{key_id}", headers=root).status_code == 204
    for reader in readers:
        reader.join(20)
    _, noisy = made("noisy", "viewer", requests_per_second=RATE, burst=RATE)
    _a_flood_gets_its_rate(service, noisy)


def _pending_tasks_are_exact(service: Service, key: dict[str, str]) -> None:
    def submit(_: int) -> int:
        return service.post("/tasks", LATER, headers=key).status_code

    with ThreadPoolExecutor(8) as pool:
        assert Counter(pool.map(submit, range(30))) == {202: 10, 429: 20}


def _streams_are_refused_by_whichever_worker(service: Service, key: dict[str, str]) -> list[Reader]:
    def is_refused() -> bool:
        with service.client.stream("GET", "/events", headers=key) as answer:
            return answer.status_code == 429

    readers = [Reader(f"{service.url}/events", key) for _ in range(2)]
    for reader in readers:
        reader.start()
        wait_for(lambda: reader.text, "the stream is open")  # noqa: B023 - at once
    wait_for(lambda: all(is_refused() for _ in range(8)), "both workers know of the streams")
    return readers


def _a_flood_gets_its_rate(service: Service, key: dict[str, str]) -> None:
    statuses: Counter[int] = Counter()
    answers: list[httpx.Response] = []
    ends_at = time.monotonic() + FLOOD_SECONDS

    def flood() -> None:
        while time.monotonic() < ends_at:
            answer: Any = service.client.get("/status/unknown", headers=key)
            statuses[answer.status_code] += 1
            answers.append(answer)

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) > statuses[404]
    assert set(statuses) == {404, 429}
    allowed = RATE + RATE * FLOOD_SECONDS
    assert statuses[404] <= allowed + RATE + 2 * RATE * SHARED_SECONDS
    assert statuses[404] >= RATE
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert all("r=0;" in answer.headers["ratelimit"] for answer in refused)
    policy = f'"requests";q={RATE};w=1'
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {policy}
