"""Submissions, to a registry in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import BaseModel

from afterwards.counts import WorkerCounts
from afterwards.errors import IdempotencyMismatch, UnknownTaskType
from afterwards.events.hub import EventHub
from afterwards.execution.dispatcher import Dispatcher
from afterwards.execution.executors import Executors
from afterwards.registry.client.client import RegistryClient
from afterwards.registry.client.connection import RegistryConnection
from afterwards.registry.engine.memory import MemoryRegistry, Surroundings
from afterwards.registry.protocol.incarnation import this_process
from afterwards.service.service import TaskService
from afterwards.task_types.base import TaskType
from afterwards.task_types.description import in_process


class Note(BaseModel):
    text: str
    colour: str = "blue"


class RepaintedNote(BaseModel):
    """A later version of it."""

    text: str
    colour: str = "red"
    size: int = 1


async def write(payload: BaseModel, context: object) -> dict[str, str]:
    return {}


CATALOGUE = in_process({name: TaskType(name, Note, write) for name in ("note", "memo")})


class NoHttp:
    version = 0

    def counts(self) -> WorkerCounts:
        return WorkerCounts({}, {})


@asynccontextmanager
async def serving() -> AsyncIterator[TaskService]:
    """A service whose tasks nobody runs."""
    registry = MemoryRegistry("test", surroundings=Surroundings(when_gone=lambda *_: None))
    environment: Any = None
    dispatcher = Dispatcher(Executors({}, {}, ()), CATALOGUE, environment, 1.0, lambda _: None)
    client = RegistryClient(dispatcher, NoHttp())
    worker = this_process("test")
    connection = RegistryConnection(lambda: registry, worker, client, dispatcher, 8.0)
    client.bind(asyncio.get_running_loop())
    connection.start()
    assert await asyncio.to_thread(connection.wait_joined, 5)
    try:
        yield TaskService(client, dispatcher, CATALOGUE, EventHub(lambda: registry, client.call))
    finally:
        await asyncio.to_thread(connection.close, 5)
        client.unbind()
        registry.close()


def run(story: Callable[[TaskService], Coroutine[Any, Any, None]]) -> None:
    async def told() -> None:
        async with serving() as service:
            await story(service)

    asyncio.run(told())


def test_a_submitted_task_is_of_its_type_and_has_its_payload() -> None:
    async def story(service: TaskService) -> None:
        task = await service.get((await service.submissions.submit("memo", Note(text="a"))).task_id)
        assert (task.type, task.executor, task.max_attempts) == ("memo", "async", 3)
        assert task.payload == b'{"text":"a","colour":"blue"}'
        assert task.created_at == task.run_at

    run(story)


def test_there_is_no_task_of_an_unknown_type() -> None:
    async def story(service: TaskService) -> None:
        with pytest.raises(UnknownTaskType, match="letter"):
            await service.submissions.submit("letter", Note(text="a"))

    run(story)


@pytest.mark.parametrize("again", [Note(text="a"), RepaintedNote(text="a")])
def test_what_was_sent_decides_whether_a_key_is_repeated(again: BaseModel) -> None:
    async def story(service: TaskService) -> None:
        first = await service.submissions.submit("note", Note(text="a"), "k")
        repeated = await service.submissions.submit("note", again, "k")
        assert (repeated.task_id, repeated.replayed) == (first.task_id, True)

    run(story)


@pytest.mark.parametrize(
    ("type_name", "payload"),
    [
        ("note", Note(text="b")),
        ("note", Note(text="a", colour="blue")),
        ("memo", Note(text="a")),
    ],
)
def test_a_key_with_something_else_is_refused(type_name: str, payload: BaseModel) -> None:
    async def story(service: TaskService) -> None:
        await service.submissions.submit("note", Note(text="a"), "k")
        with pytest.raises(IdempotencyMismatch):
            await service.submissions.submit(type_name, payload, "k")

    run(story)
