"""Submissions: what was ordered becomes tasks on disk."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from afterwards.lifecycle import Task
from afterwards.registry.protocol.answers import Existing
from afterwards.registry.protocol.requests import EXISTING, Add, AddAll
from afterwards.service.intake import (
    AcceptedBatch,
    AcceptedTask,
    Intake,
    TaskRequest,
    Then,
    fingerprint_of_json,
)
from afterwards.service.narrowed import Asks
from afterwards.service.sight import Sight
from afterwards.system.large_bodies import aside
from afterwards.traces.base import Headers, Traces


class Submission(NamedTuple):
    """The outcome of a submission."""

    task_id: str
    replayed: bool = False
    """True if the task was accepted before, under the same idempotency key."""


class Submissions:
    """The ways to submit tasks. Every method may raise `errors.Unavailable`.

    Args:
        traces: makes spans of submissions; None: there are none.
        owner: the owner of what is submitted; None: not known.
        sight: what the sender may see of a task; None: all.
    """

    def __init__(
        self,
        client: Asks,
        intake: Intake,
        traces: Traces | None = None,
        owner: str | None = None,
        sight: Sight | None = None,
    ) -> None:
        self._client = client
        self._intake = intake
        self._traces = traces
        self._owner = owner
        self._sight = sight

    async def submit(
        self,
        type_name: str,
        payload: BaseModel,
        idempotency_key: str | None = None,
        labels: str | None = None,
        headers: Headers = (),
    ) -> Submission:
        """Accept a task. When this returns, the task is on disk.

        Args:
            idempotency_key: the submitter's name for this submission; the same again gives the
                task of the first one, as long as that is kept.
            labels: as `Task.labels`.
            headers: of the request; they may name the trace that it belongs to.

        Returns:
            Its id. `start` with it, once the answer is sent, starts the task if it can be.

        Raises:
            UnknownTaskType: there is no such type.
            IdempotencyMismatch: the key came before with another type, payload or labels.
        """
        stored = payload.model_dump_json().encode()
        task = self._intake.task(type_name, stored, time.time(), self._owner)
        if labels is not None:
            task = task.wanting(labels=labels)
        if idempotency_key is not None:
            kind = type_name if labels is None else f"{type_name} {labels}"
            print_of_body = await aside(len(stored), _fingerprint, payload, kind)
            task = _under_key(task, idempotency_key, print_of_body)
        if self._traces is None:
            first: Task | None = await self._client.call(Add(task))
        else:
            first = await self._add_traced(self._traces, Add(task), headers)
        if first is not None:
            return Submission(first.id, replayed=True)
        return Submission(task.id)

    async def submit_one(
        self,
        wanted: TaskRequest,
        idempotency_key: str | None = None,
        print_of_body: bytes | None = None,
        headers: Headers = (),
    ) -> AcceptedTask:
        """Accept a task that says when and how it is done. When this returns, it is on disk.

        Args:
            print_of_body: the fingerprint of what was sent, which the key stands for.
            headers: as in `submit`.

        Raises:
            UniqueKeyTaken: an unfinished task has its unique key.
            As `submit`.
        """
        task = self._intake.requested(wanted, time.time(), self._owner)
        if idempotency_key is not None:
            task = _under_key(task, idempotency_key, print_of_body)
        add = Add(task, on_conflict=wanted.on_conflict or EXISTING)
        if self._traces is None:
            first: Task | Existing | None = await self._client.call(add)
        else:
            first = await self._add_traced(self._traces, add, headers)
        if isinstance(first, Existing):
            return AcceptedTask(first.task, existing=True)
        if first is not None:
            return AcceptedTask(first, replayed=True)
        return AcceptedTask(self._shown(task))

    async def submit_batch(
        self,
        wanted: Sequence[TaskRequest],
        idempotency_key: str | None = None,
        print_of_body: bytes | None = None,
        headers: Headers = (),
        *,
        then: Then | None = None,
    ) -> AcceptedBatch:
        """Accept several tasks, all or none. When this returns, they are on disk.

        Args:
            then: follows them: it is accepted with them, and starts when they have ended.

        Raises:
            As `submit_one`; no task may have the unique key of one of these.
        """
        tasks = self._intake.batch(wanted, then, time.time(), self._owner)
        if idempotency_key is not None:
            tasks[0] = _under_key(tasks[0], idempotency_key, print_of_body)
        if self._traces is None:
            first: Sequence[Task] | None = await self._client.call(AddAll(tasks))
        else:
            with self._traces.submission(tasks, headers) as span:
                traced = [task.wanting(trace=span.trace) for task in tasks]
                first = await self._client.call(AddAll(traced))
                if first is not None:
                    span.replayed(first)
        if first is not None:
            return _batch(first, replayed=True)
        return _batch([self._shown(task) for task in tasks], replayed=False)

    def _shown(self, task: Task) -> Task:
        """A task as its submitter may see it: what the registry answers has been looked at."""
        shown: Task = task if self._sight is None else self._sight.shown(task)
        return shown

    async def _add_traced(self, traces: Traces, add: Add, headers: Headers) -> Any:
        with traces.submission([add.task], headers) as span:
            traced = add.task.wanting(trace=span.trace)
            first: Task | Existing | None = await self._client.call(add._replace(task=traced))
            if first is not None:
                span.replayed([first.task if isinstance(first, Existing) else first])
            return first


def _batch(tasks: Sequence[Task], *, replayed: bool) -> AcceptedBatch:
    members = [task for task in tasks if task.follows is None]
    then = next((task for task in tasks if task.follows is not None), None)
    return AcceptedBatch(members, replayed, then)


def _fingerprint(payload: BaseModel, kind: str) -> bytes:
    # Not the defaults: a later version may have others, and the key has to hold all the same.
    text = payload.model_dump_json(exclude_unset=True).encode()
    return fingerprint_of_json(text, kind)


def _under_key(task: Task, key: str, print_of_submission: bytes | None) -> Task:
    return task.wanting(idempotency_key=key, fingerprint=print_of_submission)
