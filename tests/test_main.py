"""The application as it is composed: routes, service, registry, dispatcher and executors."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from afterwards.errors import TooManyUnfinished
from afterwards.main import create_app
from afterwards.registry.process.access import Access, RegistryConfig, in_memory
from afterwards.settings import Settings

NOTIFICATION = {"email": "johndoe@example.com", "message": "x"}
BOUNCE = {"email": "bounce@simulator.example", "message": "x"}


def settings(directory: Path, **changes: Any) -> Settings:
    options: dict[str, Any] = {
        "registry": "memory",
        "workers": 1,
        "data_dir": directory / "data",
        "output_dir": directory / "outputs",
        "notification_delay_seconds": 0,
        "report_delay_seconds": 0,
        "file_delay_seconds": 0,
        "email_delay_seconds": 0,
        **changes,
    }
    return Settings(**options)


@asynccontextmanager
async def running(chosen: Settings) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """The application within its lifespan, and a client of it."""
    app = create_app(chosen)
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
    ):
        yield app, client


async def finished(client: httpx.AsyncClient, task_id: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            document: dict[str, Any] = (await client.get(f"/status/{task_id}")).json()
            if document["status"] != "pending":
                return document
            await asyncio.sleep(0.01)


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story())


@pytest.mark.parametrize("registry", ["memory", "manager"])
def test_a_submitted_task_is_done(tmp_path: Path, registry: str) -> None:
    async def story() -> None:
        async with running(settings(tmp_path, registry=registry)) as (_, client):
            answer = await client.post("/notify/", json=NOTIFICATION)
            assert answer.status_code == 202
            document = await finished(client, answer.json()["task_id"])
            assert document["result"] == {"message": "Notification sent"}

    run(story)


def test_an_uncontended_task_is_started_by_its_background_task(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(settings(tmp_path)) as (_, client):
            with capture_logs() as lines:
                answer = await client.post("/notify/", json=NOTIFICATION)
                task_id = answer.json()["task_id"]
                await finished(client, task_id)
            starts = [line for line in lines if line["event"] == "attempt starts"]
            assert [(line["task_id"], line["by"]) for line in starts] == [
                (task_id, "background task")
            ]

    run(story)


@pytest.mark.parametrize("registry", ["memory", "manager"])
def test_a_repeated_idempotency_key_gives_the_first_task(tmp_path: Path, registry: str) -> None:
    async def story() -> None:
        async with running(settings(tmp_path, registry=registry)) as (_, client):

            async def send(path: str, **body: Any) -> httpx.Response:
                return await client.post(path, json=body, headers={"Idempotency-Key": "k"})

            first = await send("/file/", content={"a": 1, "b": {"c": 2, "d": 3}})
            task_id = first.json()["task_id"]
            assert (await finished(client, task_id))["status"] == "success"
            # The same as canonical JSON.
            again = await send("/file", content={"b": {"d": 3, "c": 2}, "a": 1})
            assert (again.status_code, again.json()) == (202, first.json())
            assert again.headers["idempotent-replayed"] == "true"
            for other in (
                await send("/file/", content={"a": 2, "b": {"c": 2, "d": 3}}),
                await send("/notify/", **NOTIFICATION),
            ):
                assert other.status_code == 422
                assert task_id in other.json()["detail"]

    run(story)


def test_a_registry_without_a_master_is_looked_after_apart_from_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[threading.Thread] = []

    def watched(config: RegistryConfig) -> Access:
        return replace(in_memory(config), guard=lambda: looked.append(threading.current_thread()))

    monkeypatch.setattr("afterwards.main.REGISTRIES", {"memory": watched})
    monkeypatch.setattr("afterwards.registry.process.guard.GUARD_SECONDS", 0.01)

    async def story() -> None:
        async with running(settings(tmp_path)), asyncio.timeout(20):
            while len(looked) < 3:  # noqa: ASYNC110 - another thread does it
                await asyncio.sleep(0.01)
        assert set(looked) & {threading.current_thread()} == set()
        # One that lasts: the kernel would end the registry with the thread that has started it.
        assert len(set(looked)) == 1
        assert not looked[0].is_alive()

    run(story)


def test_a_task_retried_by_hand_is_started_by_its_background_task(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(settings(tmp_path)) as (_, client):
            answer = await client.post("/notify/", json=BOUNCE)
            task_id = answer.json()["task_id"]
            assert (await finished(client, task_id))["status"] == "failed"
            with capture_logs() as lines:
                assert (await client.post(f"/retry-task/{task_id}")).status_code == 200
                assert (await finished(client, task_id))["retries"] == 1
            starts = [line for line in lines if line["event"] == "attempt starts"]
            assert [line["by"] for line in starts] == ["background task"]

    run(story)


def test_tasks_beyond_the_slots_wait_and_are_done(tmp_path: Path) -> None:
    async def story() -> None:
        chosen = settings(tmp_path, async_slots=2, notification_delay_seconds=0.05)
        async with running(chosen) as (_, client):
            answers = await asyncio.gather(
                *(client.post("/notify/", json=NOTIFICATION) for _ in range(10))
            )
            for answer in answers:
                document = await finished(client, answer.json()["task_id"])
                assert document["status"] == "success"

    run(story)


def test_beyond_the_limit_tasks_are_refused_with_advice_and_nothing_is_stored(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        chosen = settings(tmp_path, max_pending=2, notification_delay_seconds=30, grace_seconds=0)
        async with running(chosen) as (_, client):
            answers = [await client.post("/notify/", json=NOTIFICATION) for _ in range(3)]
            assert [answer.status_code for answer in answers] == [202, 202, 503]
            assert int(answers[-1].headers["retry-after"]) >= 1
            assert "limit of 2 unfinished tasks" in answers[-1].json()["detail"]
            metrics = (await client.get("/metrics")).text
            assert 'afterwards_tasks_submitted_total{type="notification"} 2.0' in metrics

    run(story)


def test_a_refused_submission_leaves_nothing_for_the_collector(tmp_path: Path) -> None:
    async def story() -> None:
        chosen = settings(tmp_path, max_pending=1, notification_delay_seconds=30, grace_seconds=0)
        async with running(chosen) as (_, client):
            assert (await client.post("/notify/", json=NOTIFICATION)).status_code == 202
            gc.collect()
            gc.set_debug(gc.DEBUG_SAVEALL)
            try:
                for _ in range(3):
                    answer = await client.post("/notify/", json=NOTIFICATION)
                    assert answer.status_code == 503
                gc.collect()
                # With it would come every frame of its traceback, and the body they hold.
                assert TooManyUnfinished not in map(type, gc.garbage)
            finally:
                gc.set_debug(0)
                gc.garbage.clear()

    run(story)


def test_a_task_that_is_done_leaves_nothing_for_the_collector(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(settings(tmp_path)) as (_, client):
            gc.collect()
            gc.set_debug(gc.DEBUG_SAVEALL)
            try:
                # The last one's claim may not have ended yet; those of the others have.
                for _ in range(5):
                    answer = await client.post("/notify/", json=NOTIFICATION)
                    await finished(client, answer.json()["task_id"])
                # The answer to the last report ends the claim.
                await asyncio.sleep(0.1)
                gc.collect()
                left = {type(each) for each in gc.garbage}
                assert not {
                    cls
                    for cls in left
                    if cls.__module__.startswith(("afterwards.", "afterwards_executors."))
                }
            finally:
                gc.set_debug(0)
                gc.garbage.clear()

    run(story)


def test_a_draining_worker_is_not_ready_and_still_answers(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(settings(tmp_path)) as (app, client):
            assert (await client.get("/readyz")).status_code == 200
            app.state.begin_drain()
            assert (await client.get("/readyz")).status_code == 503
            assert (await client.get("/healthz")).status_code == 200
            # Accepted and kept for whoever comes next: this worker takes no more claims.
            answer = await client.post("/notify/", json=NOTIFICATION)
            assert answer.status_code == 202
            document = (await client.get(f"/status/{answer.json()['task_id']}")).json()
            assert document["status"] == "pending"

    run(story)


def test_a_cancelled_task_shows_as_failed_and_can_be_retried(tmp_path: Path) -> None:
    async def story() -> None:
        chosen = settings(tmp_path, notification_delay_seconds=30, grace_seconds=0)
        async with running(chosen) as (app, client):
            answer = await client.post("/notify/", json=NOTIFICATION)
            task_id = answer.json()["task_id"]
            await app.state.service.cancel(task_id)
            document = await finished(client, task_id)
            assert (document["status"], document["error"]) == (
                "failed",
                "Cancelled while running",
            )
            assert (await client.post(f"/retry-task/{task_id}")).status_code == 200

    run(story)


@pytest.mark.processes
def test_a_second_worker_joins_the_registry_of_the_first(tmp_path: Path) -> None:
    async def story() -> None:
        chosen = settings(tmp_path, registry="manager")
        async with running(chosen) as (_, first), running(chosen) as (_, second):
            answer = await first.post("/notify/", json=NOTIFICATION)
            document = await finished(second, answer.json()["task_id"])
            assert document["status"] == "success"

    run(story)


@pytest.mark.processes
def test_tasks_outlive_the_application(tmp_path: Path) -> None:
    async def story() -> None:
        chosen = settings(
            tmp_path, registry="manager", notification_delay_seconds=30, grace_seconds=0
        )
        async with running(chosen) as (_, client):
            task_id = (await client.post("/notify/", json=NOTIFICATION)).json()["task_id"]
        async with running(settings(tmp_path, registry="manager")) as (_, client):
            assert (await finished(client, task_id))["status"] == "success"

    run(story)


def test_a_worker_that_is_stopped_while_it_starts_takes_no_task(tmp_path: Path) -> None:
    async def story() -> None:
        app = create_app(settings(tmp_path))
        app.state.begin_drain()
        transport = httpx.ASGITransport(app=app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
        ):
            assert (await client.get("/readyz")).status_code == 503
            answer = await client.post("/notify/", json=NOTIFICATION)
            document = (await client.get(f"/task/{answer.json()['task_id']}/status")).json()
            assert document["status"] == "pending"

    run(story)
