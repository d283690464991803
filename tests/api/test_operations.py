from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from afterwards.access.roles import Role
from afterwards.errors import JournalUnavailable
from tests.access.holders import holder, ring_of

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


async def test_an_executor_that_takes_no_attempts_is_named(
    client: httpx.AsyncClient, service: Any
) -> None:
    service.waiting = ["dask"]

    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "waiting": ["dask"]})


@pytest.fixture
def probes(app: FastAPI, service: Any, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The probes of a service that requires keys."""
    app.state.gate.renew(ring_of(holder(Role.VIEWER)))
    probe, made = service.probe, list[float]()

    async def counted() -> None:
        made.append(time.monotonic())
        await probe()

    monkeypatch.setattr(service, "probe", counted)
    return made


async def test_where_keys_are_required_clients_without_one_make_one_probe_a_second(
    client: httpx.AsyncClient, app: FastAPI, probes: list[float]
) -> None:
    for _ in range(20):
        assert (await client.get("/readyz")).json() == {"status": "ready"}
    assert len(probes) == 1
    app.state.readiness._fresh_until = 0.0
    answers = await asyncio.gather(*(client.get("/readyz") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(probes) == 2


@pytest.mark.usefixtures("probes")
async def test_where_keys_are_required_clients_without_one_are_told_no_reasons(
    client: httpx.AsyncClient, service: Any
) -> None:
    service.unavailable = JournalUnavailable("no space left on device")
    ready = await client.get("/readyz")
    assert ready.status_code == 503
    assert ready.headers["Retry-After"] == "1"
    assert "space" not in ready.text
