from __future__ import annotations

from typing import Any

import httpx
import pytest

from afterwards.errors import JournalUnavailable

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("slash", ["", "/"])
async def test_health_and_readiness_are_answered(client: httpx.AsyncClient, slash: str) -> None:
    assert (await client.get("/healthz" + slash)).json() == {"status": "ok"}
    assert (await client.get("/readyz" + slash)).json() == {"status": "ready"}


async def test_a_process_that_cannot_accept_tasks_is_alive_but_not_ready(
    client: httpx.AsyncClient, service: Any
) -> None:
    service.unavailable = JournalUnavailable("no space left on device")
    ready = await client.get("/readyz")
    assert ready.status_code == 503
    assert "no space left" in ready.json()["detail"]
    assert (await client.get("/healthz")).status_code == 200


async def test_metrics_are_prometheus_text(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.content == b"afterwards_workers 1.0\n"
