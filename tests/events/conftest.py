"""A worker's events on a registry in this process, and a peer that runs the tasks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import pytest

from afterwards.counts import WorkerCounts
from afterwards.events.hub import EventHub
from afterwards.execution.dispatcher import Dispatcher
from afterwards.execution.executors import Executors
from afterwards.lifecycle import Task
from afterwards.registry.client.client import RegistryClient
from afterwards.registry.client.connection import RegistryConnection
from afterwards.registry.engine.memory import MemoryRegistry, Surroundings
from afterwards.registry.protocol.answers import Answer, Events, Reply
from afterwards.registry.protocol.base import Registry, Worker
from afterwards.registry.protocol.requests import ReadById, Request
from afterwards.service.service import TaskService
from tests.registry.peers import Peer, make_task

WAIT_SECONDS = 60.0
SERVICE = "test"


class NoHttp:
    version = 0

    def counts(self) -> WorkerCounts:
        return WorkerCounts({}, {})


def new_registry() -> MemoryRegistry:
    return MemoryRegistry(SERVICE, surroundings=Surroundings(when_gone=lambda *_: None))


@dataclass
class Line:
    """The way to the registry; may be cut."""

    registry: MemoryRegistry = field(default_factory=new_registry)
    follows: int = 0
    """Calls made."""
    under_way: int = 0
    most_under_way: int = 0
    cut: bool = False
    """True: no connection to follow succeeds; everything else works."""
    failed: bool = False
    """True: no connection succeeds at all."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self.passing = threading.Event()
        """Cleared: what follows is on its way for ever."""
        self.passing.set()

    def connect(self) -> Registry:
        return self

    def exchange(
        self, worker: Worker | None, connection: int, requests: Sequence[Request]
    ) -> Reply:
        if self.failed:
            raise ConnectionResetError
        return self.registry.exchange(worker, connection, requests)

    def read(self, requests: Sequence[ReadById]) -> Sequence[Answer]:
        if self.failed:
            raise ConnectionResetError
        return self.registry.read(requests)

    def watch(self, worker: Worker, connection: int, timeout_seconds: float) -> bool:
        return self.registry.watch(worker, connection, timeout_seconds)

    def follow(self, epoch: str, after: int, timeout_seconds: float) -> Events:
        with self._lock:
            self.follows += 1
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.cut:
                raise ConnectionResetError
            events = self.registry.follow(epoch, after, timeout_seconds)
            assert self.passing.wait(WAIT_SECONDS)
            return events
        finally:
            with self._lock:
                self.under_way -= 1

    def fail(self) -> None:
        """Have nobody get through."""
        self.failed = self.cut = True

    def mend(self) -> None:
        """Have everybody get through again."""
        self.failed = self.cut = False

    def replace(self) -> MemoryRegistry:
        """Another registry, which knows nothing of the first one's tasks, takes its place."""
        old, self.registry = self.registry, new_registry()
        old.close()
        return self.registry


@dataclass
class Stage:
    """One worker's service, and a peer that runs tasks."""

    line: Line
    hub: EventHub
    service: TaskService
    peer: Peer

    def add(self, **fields: Any) -> Task:
        """A task that nobody runs yet."""
        task = make_task(executor="process", **fields)
        self.peer.add(task)
        return task


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    line = Line()
    environment: Any = None
    nothing: Any = MappingProxyType({})
    dispatcher = Dispatcher(Executors({}, {}, ()), nothing, environment, 1.0, lambda _: None)
    client = RegistryClient(dispatcher, NoHttp())
    worker = Worker(SERVICE, 1, 1)
    connection = RegistryConnection(line.connect, worker, client, dispatcher, 8.0)
    client.bind(asyncio.get_running_loop())
    connection.start()
    assert await asyncio.to_thread(connection.wait_joined, WAIT_SECONDS)
    hub = EventHub(line.connect, client.call)
    peer = Peer(line.registry, Worker(SERVICE, 2, 2), {"async": 100_000})
    peer.join()
    try:
        yield Stage(line, hub, TaskService(client, dispatcher, nothing, hub), peer)
    finally:
        hub.close()
        await asyncio.to_thread(connection.close, WAIT_SECONDS)
        client.unbind()
        line.registry.close()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as stage:
        yield stage


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def until(condition: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Wait until it is true; other coroutines go on meanwhile."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what}")
        await asyncio.sleep(0.002)


async def within(awaitable: Any, seconds: float = WAIT_SECONDS) -> Any:
    """Its result; a failure rather than a test that hangs."""
    return await asyncio.wait_for(awaitable, seconds)
