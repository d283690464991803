"""The API on a service that is a dictionary."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from afterwards.api import install
from afterwards.api.http_metrics import HttpMetrics
from afterwards.errors import (
    IdempotencyMismatch,
    TaskDeleted,
    TaskNotFound,
    Unavailable,
)
from afterwards.events.window import Position
from afterwards.lifecycle import Task, TaskState
from afterwards.registry.protocol.activity import By
from afterwards.service.submissions import Submission
from afterwards.settings import Settings
from afterwards.traces.base import Headers


class FakeStream:
    """A stream that gives these items and is over."""

    position = Position("ab", 1)
    is_waiting = False

    def __init__(self, items: Sequence[Any], made: dict[Hashable, Any]) -> None:
        self._items = list(items)
        self._made = made

    @property
    def is_over(self) -> bool:
        return not self._items

    @property
    def has_ended(self) -> bool:
        return not self._items

    async def next(self, seconds: float) -> Any:
        return self._items.pop(0)

    def shared(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


class FakeOperations:
    """Operations of which some are refused."""

    def __init__(self) -> None:
        self.refused: list[tuple[str, ...]] = []

    async def note_refusal(self, by: By, *words: str) -> None:
        assert by.key_id is not None
        self.refused.append(words)


class FakeService:
    """`TaskService`'s interface over a dictionary; its tasks stand wherever a test puts them."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.started: list[str] = []
        self.streamed: list[Any] = [None]
        """The items of a stream; None: it is quiet for a while."""
        self.made: dict[Hashable, Any] = {}
        self.asked_from: list[Position | None] = []
        self.unavailable: Unavailable | None = None
        self.broken: Exception | None = None
        self.waiting: list[str] = []
        self.operations = FakeOperations()
        self.submissions = self

    def waiting_executors(self) -> list[str]:
        return self.waiting

    def seen_by(self, principal: object, *, own_only: bool) -> FakeService:
        return self

    async def submit(
        self,
        type_name: str,
        payload: BaseModel,
        idempotency_key: str | None = None,
        labels: str | None = None,
        headers: Headers = (),
    ) -> Submission:
        self._answer()
        for first in self.tasks.values():
            if idempotency_key is not None and first.idempotency_key == idempotency_key:
                if first.type != type_name:
                    raise IdempotencyMismatch(idempotency_key, first.id)
                return Submission(first.id, replayed=True)
        now = time.time()
        task = Task(
            id=str(uuid.uuid4()),
            type=type_name,
            payload=payload.model_dump_json().encode(),
            executor="async",
            created_at=now,
            run_at=now,
            idempotency_key=idempotency_key,
        )
        self.tasks[task.id] = task
        return Submission(task.id)

    async def start(self, task_id: str) -> None:
        self.started.append(task_id)

    async def get(self, task_id: str) -> Task:
        self._answer()
        if task_id == "deleted":
            raise TaskDeleted(task_id)
        if task_id not in self.tasks:
            raise TaskNotFound(task_id)
        return self.tasks[task_id]

    async def retry(self, task_id: str, *, by: By) -> Task:
        assert by.request_id is not None
        self.tasks[task_id] = (await self.get(task_id)).retry(time.time())
        return self.tasks[task_id]

    @asynccontextmanager
    async def task_stream(
        self, task_id: str, position: Position | None
    ) -> AsyncIterator[FakeStream]:
        with suppress(Unavailable):  # it would wait
            await self.get(task_id)
        self.asked_from.append(position)
        yield FakeStream(self.streamed if position is None else [], self.made)

    @asynccontextmanager
    async def all_streams(self, position: Position | None) -> AsyncIterator[FakeStream]:
        with suppress(Unavailable):
            self._answer()
        self.asked_from.append(position)
        yield FakeStream(self.streamed, self.made)

    async def probe(self) -> None:
        self._answer()

    async def scrape(self) -> bytes:
        self._answer()
        return b"afterwards_workers 1.0\n"

    def _answer(self) -> None:
        for error in (self.unavailable, self.broken):
            if error is not None:
                raise error

    # -- for tests -----------------------------------------------------------------------------

    @property
    def only_task(self) -> Task:
        [task] = self.tasks.values()
        return task

    def put(self, state: TaskState, **changes: Any) -> Task:
        """Have a report in this state."""
        task = Task(
            id=str(uuid.uuid4()),
            type="report",
            payload=b"{}",
            executor="process",
            created_at=1_750_932_000.25,
            run_at=1_750_932_000.25,
            state=state,
            **changes,
        )
        self.tasks[task.id] = task
        return task


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def http_metrics() -> HttpMetrics:
    return HttpMetrics()


@pytest.fixture
def settings() -> Settings:
    return Settings(
        _env_file=None, max_body_bytes=10_000, cors_origins=(), allowed_hosts=("service", "x")
    )


@pytest.fixture
def app(service: FakeService, http_metrics: HttpMetrics, settings: Settings) -> FastAPI:
    app = FastAPI(title="Afterwards", version="1.2.3", docs_url=None, redoc_url=None)
    app.state.service = service
    install(app, settings, http_metrics)
    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client
