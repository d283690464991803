from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("path", ["/api/notifications/notify", "/api/notifications/notify/"])
async def test_no_body_is_needed(client: httpx.AsyncClient, service: Any, path: str) -> None:
    answer = await client.post(path)
    task = service.only_task
    assert answer.status_code == 200
    assert answer.json() == {"ok": True, "message": "Notification scheduled in background"}
    assert answer.url.join(answer.headers["location"]).path == f"/status/{task.id}"
    assert task.type == "notification"
    assert json.loads(task.payload)["email"] == "success@simulator.example"
    assert service.started == [task.id]


@pytest.mark.parametrize("body", [b"{}", b"no JSON", b"\xff"])
async def test_a_body_is_ignored(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/api/notifications/notify", content=body)
    assert answer.status_code == 200
