"""What the HTTP layer, or anything else in front, asks of the service."""

from __future__ import annotations

import hashlib
import json
import re
import time
import uuid
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Final, NamedTuple

from pydantic import BaseModel

from app.dispatcher import Dispatcher
from app.errors import Draining, TaskNotFound, Unavailable, UnknownTaskType
from app.events.hub import EventHub
from app.events.listeners import TaskListener
from app.events.streams import AllStream, TaskStream, of_all, of_task
from app.events.window import Position
from app.lifecycle import Task
from app.registry.base import Add, Cancel, Find, Get, Page, Probe, Retry
from app.registry.client import RegistryClient
from app.task_types.base import TaskType

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

LOOK_AGAIN_SECONDS: Final = 1.0
"""How often a task that is waited for is looked at while its events cannot be followed."""


class Submission(NamedTuple):
    """What has become of a submission."""

    task_id: str
    replayed: bool = False
    """Whether the task was accepted before, under the same idempotency key."""


class TaskService:
    """Tasks, by the verbs their users know. Belongs to one event loop, which it never blocks.

    Every method may raise `app.errors.Unavailable`: nothing was done, or (for a call that was not
    answered in time) nobody knows.
    """

    def __init__(
        self,
        client: RegistryClient,
        dispatcher: Dispatcher,
        catalogue: Mapping[str, TaskType],
        events: EventHub,
    ) -> None:
        self._client = client
        self.events = events
        self._dispatcher = dispatcher
        self._patterns = {name: _pattern(task_type) for name, task_type in catalogue.items()}
        self.draining = False
        """Set when this process is about to stop."""

    async def submit(
        self, type_name: str, payload: BaseModel, idempotency_key: str | None = None
    ) -> Submission:
        """Accept a task. When this returns, the task is on disk.

        Args:
            idempotency_key: the submitter's name for this submission; the same again gives the
                task of the first one, as long as that is kept.

        Returns:
            Its id. `start` with it, once the answer is sent, starts the task if it can be.

        Raises:
            UnknownTaskType: there is no such type.
            IdempotencyMismatch: the key came before with another type or payload.
        """
        pattern = self._patterns.get(type_name)
        if pattern is None:
            raise UnknownTaskType(type_name)
        task = pattern.submitted(str(uuid.uuid4()), payload.model_dump_json().encode(), time.time())
        if idempotency_key is not None:
            fingerprint = _fingerprint(type_name, payload)
            task = replace(task, idempotency_key=idempotency_key, fingerprint=fingerprint)
        first: Task | None = await self._client.call(Add(task))
        if first is not None:
            return Submission(first.id, replayed=True)
        return Submission(task.id)

    async def start(self, task_id: str) -> None:
        """Start a task that was accepted or retried here, if a slot was free. Never raises.

        It is what `BackgroundTasks` carry, and they stop at the first one that does.
        """
        await self._dispatcher.start(task_id)

    async def get(self, task_id: str) -> Task:
        """The task as it stands.

        Raises:
            TaskNotFound: there is none; also for ids that are no UUIDs.
        """
        task: Task = await self._client.call(Get(_checked(task_id)))
        return task

    async def wait(self, task_id: str, seconds: float) -> Task:
        """The task as soon as it is finished, or as it stands after `seconds`.

        A process that is about to stop does not wait. Where the registry goes away meanwhile, it
        is waited for as well.

        Raises:
            TaskNotFound: there is none.
        """
        until = time.monotonic() + seconds
        # Listening comes first: whatever ends the task after it was looked at is heard.
        with self.events.of_task(_checked(task_id)) as listener:
            while True:
                left = until - time.monotonic()
                live = self.events.is_live
                try:
                    task = await self.get(task_id)
                    if task.state.is_final or left <= 0 or self.events.closed:
                        return task
                except Unavailable:
                    if left <= 0 or self.events.closed:
                        raise
                    live = False
                longest = left if live else min(left, LOOK_AGAIN_SECONDS)
                await self._sleep_until_final(listener, longest, live=live)

    async def _sleep_until_final(
        self, listener: TaskListener, seconds: float, *, live: bool
    ) -> None:
        """Until there is a reason to look at the task: it has ended, or it may have."""
        until = time.monotonic() + seconds
        while await listener.sleep(until - time.monotonic()):
            heard = listener.take()
            if heard is None or any(event.state.is_final for event in heard):
                return
            if self.events.closed or self.events.is_live != live:
                return

    def task_stream(
        self, task_id: str, position: Position | None
    ) -> AbstractAsyncContextManager[TaskStream]:
        """The events of a task; see `app.events.streams.of_task`."""
        return of_task(self.events, self._client.call, _checked(task_id), position)

    def all_streams(self, position: Position | None) -> AbstractAsyncContextManager[AllStream]:
        """The events of all tasks; see `app.events.streams.of_all`."""
        return of_all(self.events, position)

    async def retry(self, task_id: str) -> Task:
        """Try a failed or cancelled task again.

        Raises:
            TaskNotFound: there is none.
            IllegalTransition: it is in another state, or somebody else has just retried it.
        """
        task: Task = await self._client.call(Retry(_checked(task_id)))
        return task

    async def cancel(self, task_id: str) -> Task:
        """Cancel a task, or ask the worker that runs it to stop.

        Raises:
            TaskNotFound: there is none.
            IllegalTransition: it is finished.
        """
        task: Task = await self._client.call(Cancel(_checked(task_id)))
        return task

    async def find(self, query: Find) -> Page:
        """Tasks, newest first."""
        page: Page = await self._client.call(query)
        return page

    async def probe(self) -> None:
        """Whether tasks would be accepted now: writes to the journal.

        Raises:
            Draining, RegistryUnavailable, JournalUnavailable: they would not be, or not for long.
        """
        if self.draining:
            raise Draining
        await self._client.call(Probe())

    async def scrape(self) -> bytes:
        """The metrics of the whole service in Prometheus' text format."""
        return await self._client.scrape()


def _checked(task_id: str) -> str:
    if _UUID.fullmatch(task_id) is None:
        raise TaskNotFound(task_id)
    return task_id.lower()


def _pattern(task_type: TaskType) -> Task:
    return Task(
        id="",
        type=task_type.name,
        payload=b"",
        executor=task_type.executor,
        created_at=0.0,
        run_at=0.0,
        max_attempts=task_type.retry.max_attempts,
    )


def _fingerprint(type_name: str, payload: BaseModel) -> bytes:
    """What tells two submissions apart: the type, and what was sent, as canonical JSON."""
    # Not the defaults: a later version may have others, and the key has to hold all the same.
    sent = json.loads(payload.model_dump_json(exclude_unset=True))
    canonical = json.dumps(sent, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{type_name}\n{canonical}".encode()).digest()
