"""A revocation reaches what goes on over real sockets, whichever worker serves it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.integration.conftest import Service, wait_for
from tests.integration.test_keys import keys

IN_FORCE_SECONDS = 2.0
"""The promise, from the answer to the revocation to the end of the stream."""
STREAMS = 8
"""So many connections reach both workers."""


class Reader(threading.Thread):
    """A client that reads an answer to its end."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self._url, self._headers = url, headers
        self.status = 0
        self.text = ""
        self.ended_at = 0.0

    def run(self) -> None:
        with (
            httpx.Client(timeout=90) as client,
            client.stream("GET", self._url, headers=self._headers) as answer,
        ):
            self.status = answer.status_code
            for text in answer.iter_text():
                self.text += text
        self.ended_at = time.monotonic()


def knows(service: Service, key: dict[str, str]) -> bool:
    return all(service.client.get("/tasks", headers=key).is_success for _ in range(STREAMS))


def test_streams_and_waits_of_all_workers_end_with_their_key_and_a_key_has_its_own_tasks(
    new_service: Callable[..., Service],
) -> None:
    service = new_service()
    service.start()
    token = keys(service, "create", "root", "--role", "admin", "--payloads")
    root = {"Authorization": f"Bearer {token}"}
    wait_for(lambda: service.client.get("/stats").status_code == 401, "a key is required")

    def made(**members: Any) -> tuple[str, dict[str, str]]:
        answer = service.client.post("/keys", json=members, headers=root)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"], {"Authorization": f"Bearer {answer.json()['token']}"}

    key_id, shop = made(name="shop", role="submitter", labels={"tenant": "a"}, payloads=True)
    viewer_id, eyes = made(name="eyes", role="viewer")
    task = {"type": "report", "payload": {"name": "x", "details": {}}, "delay_seconds": 900}
    ours = {**task, "labels": {"tenant": "a"}}
    for key in (eyes, shop):
        wait_for(lambda: knows(service, key), "all workers know the key")  # noqa: B023 - at once
    accepted = service.client.post("/tasks", json=ours, headers=shop)
    assert accepted.status_code == 202, accepted.text
    path = f"{service.url}/tasks/{accepted.json()['id']}"
    foreign = service.client.post("/tasks", json=task, headers=root).json()["id"]
    assert service.client.get(f"/tasks/{foreign}", headers=shop).status_code == 404
    assert len(service.client.get("/tasks", headers=shop).json()["tasks"]) == 1
    assert service.client.get(f"/tasks/{foreign}", headers=eyes).json()["redacted"] is True

    readers = [Reader(f"{service.url}/events", eyes) for _ in range(STREAMS)]
    waits = [Reader(f"{path}?wait=60", shop), Reader(f"{path}/events", shop)]
    for reader in (*readers, *waits):
        reader.start()
    wait_for(lambda: all(reader.text for reader in (*readers, waits[1])), "the streams are open")
    for one in (key_id, viewer_id):
        assert service.client.delete(f"/keys/{one}", headers=root).status_code == 204
    revoked_at = time.monotonic()
    for reader in (*readers, *waits):
        reader.join(20)
        assert reader.ended_at - revoked_at < IN_FORCE_SECONDS
    assert all(reader.text.split("event: ")[-1].startswith("end\n") for reader in readers)
    assert (waits[0].status, waits[1].status) == (401, 200)
