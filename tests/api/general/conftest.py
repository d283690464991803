"""The general API on a real registry in this process; its tasks are run by the test's own hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from afterwards.api import install
from afterwards.api.http_metrics import HttpMetrics
from afterwards.events.hub import EventHub
from afterwards.execution.dispatcher import Dispatcher
from afterwards.execution.executors import Executors
from afterwards.registry.client.client import RegistryClient
from afterwards.registry.client.connection import RegistryConnection
from afterwards.registry.client.ring import Ring
from afterwards.registry.engine.memory import MemoryRegistry, Surroundings
from afterwards.registry.protocol.answers import Claim
from afterwards.registry.protocol.base import Worker
from afterwards.registry.protocol.incarnation import this_process
from afterwards.registry.state.acceptance import Limits
from afterwards.service.service import TaskService
from afterwards.settings import Settings
from afterwards.task_types.base import TaskType
from afterwards.task_types.description import Catalogue, in_process
from tests.registry.peers import SERVICE, Peer, eventually

MAX_PENDING = 2_000


class Note(BaseModel):
    """Has a member by another name, and one with a default."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "Hello"}]})

    text: str = Field(alias="body")
    colour: str = "blue"


class Nothing(BaseModel):
    """Anything, or nothing."""


async def write(payload: BaseModel, context: object) -> dict[str, str]:
    return {}


def write_slowly(payload: BaseModel, context: object) -> dict[str, str]:
    return {}


CATALOGUE = in_process(
    {
        "note": TaskType("note", Note, write),
        "nothing": TaskType("nothing", Nothing, write, timeout=5.0),
        "slow": TaskType("slow", Nothing, write_slowly, executor="thread"),
    }
)
NOTE = {"type": "note", "payload": {"body": "Hello"}}


@pytest.fixture
def registry() -> Iterator[MemoryRegistry]:
    surroundings = Surroundings(when_gone=lambda *_: None, end=lambda _: None)
    limits = Limits(max_pending=MAX_PENDING)
    registry = MemoryRegistry(SERVICE, limits, surroundings=surroundings)
    yield registry
    registry.close()


@pytest.fixture
def catalogue() -> Catalogue:
    return CATALOGUE


@pytest.fixture
def ring() -> Ring | None:
    """The keys of the worker; None: a test gives its gate the ring itself."""
    return None


@pytest.fixture
async def service(
    registry: MemoryRegistry, catalogue: Catalogue, ring: Ring | None
) -> AsyncIterator[TaskService]:
    """A service that accepts tasks and runs none."""
    environment: Any = None
    dispatcher = Dispatcher(Executors({}, {}, ()), catalogue, environment, 1.0, lambda _: None)
    client = RegistryClient(dispatcher, HttpMetrics(), ring=ring)
    connection = RegistryConnection(
        lambda: registry, this_process(SERVICE), client, dispatcher, 8.0
    )
    client.bind(asyncio.get_running_loop())
    connection.start()
    assert await asyncio.to_thread(connection.wait_joined, 5)
    events = EventHub(lambda: registry, client.call)
    yield TaskService(client, dispatcher, catalogue, events)
    events.close()
    await asyncio.to_thread(connection.close, 5)
    client.unbind()


@pytest.fixture
def app(service: TaskService, catalogue: Catalogue) -> FastAPI:
    app = FastAPI(title="Afterwards", version="1.2.3", docs_url=None, redoc_url=None)
    app.state.service = service
    settings = Settings(_env_file=None, allowed_hosts=("service", "x"))
    install(app, settings, HttpMetrics(), catalogue)
    return app


@pytest.fixture
async def api(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


class Hand(Peer):
    """The worker that runs the tasks, one step at a time."""

    def claim(self, task_id: str) -> Claim:
        """Start this task, and whatever else waits."""

        def claimed() -> Claim | None:
            self.beat()
            return self.table.get(task_id)

        found: Claim = eventually(claimed, f"{task_id} claimed")
        return found


@pytest.fixture
def hand(registry: MemoryRegistry, service: TaskService) -> Hand:
    hand = Hand(registry, Worker(SERVICE, 1, 1), {"async": 10, "thread": 10})
    hand.join()
    return hand


async def submitted(api: httpx.AsyncClient, **members: Any) -> Any:
    """The document of a new task."""
    answer = await api.post("/tasks", json={**NOTE, **members})
    assert answer.status_code == 202, answer.text
    return answer.json()


async def shown(api: httpx.AsyncClient, task_id: str) -> Any:
    """A task's whole document."""
    answer = await api.get(f"/tasks/{task_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()
