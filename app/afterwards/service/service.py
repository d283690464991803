"""The service as the HTTP layer, or anything else in front, uses it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from enum import StrEnum
from functools import partial
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from afterwards.access.principal import Principal
from afterwards.errors import (
    Draining,
    IllegalTransition,
    TaskNotFound,
    Unavailable,
    Unvalidated,
)
from afterwards.events.hub import EventHub
from afterwards.events.listeners import TaskListener
from afterwards.events.statistics import StatisticsStream
from afterwards.events.streams import AllStream, TaskStream, of_all, of_task
from afterwards.events.window import Position
from afterwards.execution.dispatcher import Dispatcher
from afterwards.lifecycle import FINAL_STATES, Kind, Task, TaskState
from afterwards.registry.client.client import RegistryClient
from afterwards.registry.client.list_reader import ListReader
from afterwards.registry.protocol.activity import By
from afterwards.registry.protocol.answers import Counted, Details, ErrorPage, Existing, Page
from afterwards.registry.protocol.filters import Filter, Order, PageEnd
from afterwards.registry.protocol.requests import (
    EXISTING,
    Add,
    AddAll,
    Amend,
    Cancel,
    Count,
    Delete,
    Errors,
    Find,
    Get,
    Inspect,
    Probe,
    Request,
    Retry,
    RunNow,
)
from afterwards.service import bulk, descendants
from afterwards.service.intake import (
    AcceptedBatch,
    AcceptedTask,
    Intake,
    TaskRequest,
    Then,
    fingerprint_of_json,
)
from afterwards.service.keys import KeyVerbs
from afterwards.service.narrowed import Asks, Narrowed, carried_out
from afterwards.service.operations import Operations
from afterwards.service.sight import Ask, Sight
from afterwards.service.validator import Validator
from afterwards.service.webhooks import WebhookVerbs
from afterwards.system.large_bodies import aside
from afterwards.task_types.description import Catalogue
from afterwards.task_types.validating import Check, Refusal
from afterwards.traces.base import Headers, Traces

CANCEL_SECONDS: Final = 5.0
"""The time for which a cancellation waits for the worker."""

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

MOST_VIEWS: Final = 1_000
"""Views for keys that are kept. To make one takes a few microseconds."""

LOOK_AGAIN_SECONDS: Final = 1.0
"""The period in which an awaited task is read while its events cannot be followed."""


class Submission(NamedTuple):
    """The outcome of a submission."""

    task_id: str
    replayed: bool = False
    """True if the task was accepted before, under the same idempotency key."""


class GroupProgress(NamedTuple):
    """The members of a group that have ended, and the task that follows them."""

    then: Task
    """The task that follows them."""
    finished: Mapping[TaskState, int]
    """The numbers of those that have ended, by their state."""


class CancelOutcome(StrEnum):
    """The outcome of a cancellation."""

    PREVENTED = "prevented"
    """It was not running, and will not."""
    STOPPED = "stopped"
    """It ran, and was stopped."""
    FINISHED = "finished"
    """It was finished already, or finished first."""
    UNSTOPPABLE = "unstoppable"
    """It runs in a thread, which cannot be stopped alone: it was asked, and if it does not look,
    its host ends with it after its time limit."""
    REQUESTED = "requested"
    """Its worker has not answered yet."""


class TaskService:
    """Tasks, by the verbs their users know. Belongs to one event loop, which it never blocks.

    Every method may raise `afterwards.errors.Unavailable`: nothing was done, or (for a call that
    was not answered in time) it is not known.

    Args:
        lists: asks for lists and counts; None: they go with everything else.
        traces: makes spans of submissions; None: there are none.
    """

    def __init__(
        self,
        client: RegistryClient,
        dispatcher: Dispatcher,
        catalogue: Catalogue,
        events: EventHub,
        validator: Validator | None = None,
        *,
        lists: ListReader | None = None,
        traces: Traces | None = None,
    ) -> None:
        self._client: Asks = client
        self._list: Ask | None = None if lists is None else lists.call
        self._owner: str | None = None
        self._sight: Sight | None = None
        self._views: dict[tuple[str | None, bool], tuple[Principal, TaskService]] = {}
        self._traces = traces
        self._events = events
        self._dispatcher = dispatcher
        self._intake = Intake(catalogue)
        self.validator = validator
        """The validator of payloads of users' task types; None: there are none."""
        self.operations = Operations(client, self._intake)
        self.bulk = bulk.BulkVerbs(self._ask, self.start, lambda: self.draining)
        self.draining = False
        """Set when this process is about to stop."""

    def seen_by(self, principal: Principal, *, own_only: bool = False) -> TaskService:
        """The same service as a principal sees it, who owns what is submitted.

        Args:
            own_only: what is asked for may be done to its own tasks only.
        """
        known = self._views.get((principal.key_id, own_only))
        if known is not None and known[0].key is principal.key:
            return known[1]
        view = self._view(principal, own_only=own_only)
        if len(self._views) >= MOST_VIEWS:
            self._views.clear()
        self._views[principal.key_id, own_only] = principal, view
        return view

    def _view(self, principal: Principal, *, own_only: bool) -> TaskService:
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view._owner = principal.owner
        sight = Sight(principal, own_only=own_only)
        if not sight.is_all:
            view._sight = sight
            view._client = Narrowed(self._client, sight)
            if self._list is not None:
                view._list = partial(carried_out, sight, self._list)
            view.operations = Operations(view._client, self._intake)
            view.bulk = bulk.BulkVerbs(view._ask, self.start, lambda: self.draining)
        return view

    def renew(self, catalogue: Catalogue, validator: Validator | None) -> Validator | None:
        """Take other task types from now on, with what validates their payloads.

        Returns:
            What has validated until now, and is still at work for some.
        """
        self._intake.renew(catalogue)
        former, self.validator = self.validator, validator
        self._views.clear()
        return former

    # -- accepting -----------------------------------------------------------------------------

    async def refusal_of(self, checks: Sequence[Check]) -> Refusal | None:
        """Why the first of these payloads of users' task types is refused; None: all are taken.

        Raises:
            Unvalidated: that cannot be found out.
        """
        if self.validator is None:
            raise Unvalidated(checks[0].type, "this service has no process that validates")
        return await self.validator.refusal_of(checks)

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
            task = replace(task, labels=labels)
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
                traced = [replace(task, trace=span.trace) for task in tasks]
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
            traced = replace(add.task, trace=span.trace)
            first: Task | Existing | None = await self._client.call(add._replace(task=traced))
            if first is not None:
                span.replayed([first.task if isinstance(first, Existing) else first])
            return first

    async def start(self, *task_ids: str) -> None:
        """Start tasks that were accepted or retried here, if slots were free. Never raises.

        It is what `BackgroundTasks` carry, and they stop at the first one that does.
        """
        for task_id in task_ids:
            await self._dispatcher.start(task_id)

    # -- reading -------------------------------------------------------------------------------

    async def get(self, task_id: str) -> Task:
        """The task as it stands.

        Raises:
            TaskNotFound: there is none; also for ids that are no UUIDs.
        """
        task: Task = await self._client.read(Get(_checked(task_id)))
        return task

    async def inspect(self, task_id: str, *, tracebacks: bool = False) -> Details:
        """Everything that is known of a task. Raises as `get`.

        Args:
            tracebacks: those of its latest failed attempts, too.
        """
        details: Details = await self._client.read(Inspect(_checked(task_id), tracebacks))
        return details

    async def wait(self, task_id: str, seconds: float) -> Task:
        """The task as soon as it is finished, or as it stands after `seconds`.

        A process that is about to stop does not wait. Where the registry goes away meanwhile, it
        is waited for as well.

        Raises:
            TaskNotFound: there is none.
        """
        until = time.monotonic() + seconds
        # Listening comes first: whatever ends the task after it was looked at is heard.
        with self._events.of_task(_checked(task_id)) as listener:
            while True:
                left = until - time.monotonic()
                live = self._events.is_live
                try:
                    task = await self.get(task_id)
                    if task.state.is_final or left <= 0 or self._events.closed:
                        return task
                except Unavailable:
                    if left <= 0 or self._events.closed:
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
            # Nothing: its attempt has been reported here, or events were missed.
            if not heard or any(event.state.is_final for event in heard):
                return
            if self._events.closed or self._events.is_live != live:
                return

    def task_stream(
        self, task_id: str, position: Position | None
    ) -> AbstractAsyncContextManager[TaskStream]:
        """The events of a task; see `afterwards.events.streams.of_task`."""
        ask, sight = self._client.call, self._sight
        return of_task(self._events, ask, _checked(task_id), position, sight=sight)

    def all_streams(self, position: Position | None) -> AbstractAsyncContextManager[AllStream]:
        """The events of all tasks; see `afterwards.events.streams.of_all`."""
        if self._sight is not None:
            self._sight.reach.require_whole_types("Events tell")
        return of_all(self._events, position, self._sight)

    def statistics_stream(self) -> AbstractAsyncContextManager[StatisticsStream]:
        """The service once a second; see `afterwards.events.statistics.StatisticsFeed.stream`."""
        narrow = None
        if self._sight is not None:
            self._sight.reach.require_whole_types("Statistics tell")
            narrow = self._sight.statistics
        return self._events.statistics.stream(narrow)

    async def find(
        self,
        wanted: Filter,
        *,
        order: Order = Order.CREATED,
        limit: int = 100,
        before: PageEnd | None = None,
        summary: bool = False,
    ) -> Page:
        """A page of the tasks that meet all conditions.

        Args:
            limit: at most so many; a page of large tasks has fewer.
            before: the `Page.next` of the page before.
            summary: without results, and with the beginning of each payload only.
        """
        page: Page = await self._read(Find(wanted, limit, before, order, summary))
        return page

    async def count_matching(self, wanted: Filter, most: int) -> Counted:
        """The number of tasks that meet all conditions, counted up to `most`."""
        counted: Counted = await self._read(Count(wanted, most))
        return counted

    async def _read(self, query: Find | Count) -> Any:
        """Ask beside everything else: it may take longer than others should wait."""
        call = self._client.call if self._list is None else self._list
        return await call(query)

    async def errors(
        self,
        *,
        type_name: str | None = None,
        error: str | None = None,
        latest_first: bool = False,
        limit: int = 1_000,
    ) -> ErrorPage:
        """Groups of the tasks that are failed now.

        Args:
            type_name: of tasks of this type only.
            error: the group of this id only.
            latest_first: in the order in which they were seen last, and not of their size.
            limit: at most so many.
        """
        page: ErrorPage = await self._client.call(Errors(type_name, error, latest_first, limit))
        return page

    async def group(self, group_id: str) -> GroupProgress:
        """The progress of a group. Raises as `get`, and `TaskNotFound` if no task follows it."""
        then = await self.get(group_id)
        if then.follows is None:
            raise TaskNotFound(group_id)
        states = sorted(FINAL_STATES)
        filters = [Filter(frozenset({state}), group=then.id) for state in states]
        counted = await asyncio.gather(*(self.count_matching(one, then.members) for one in filters))
        finished = zip(states, (one.number for one in counted), strict=True)
        return GroupProgress(then, dict(finished))

    # -- changing ------------------------------------------------------------------------------

    def kind(self, type_name: str) -> Kind:
        """The part of a type that a task moved to it takes over. Raises `UnknownTaskType`."""
        return self._intake.kind(type_name)

    async def retry(
        self,
        task_id: str,
        changes: bulk.Replacement = bulk.AS_IT_WAS,
        run_at: float | None = None,
        by: By | None = None,
    ) -> Task:
        """Try a failed or cancelled task again.

        Args:
            run_at: when it is due; None, or past: now.
            by: who asks; it is remembered with what was done.

        Raises:
            TaskNotFound: there is none.
            IllegalTransition: it is in another state, or somebody else has just retried it.
            UniqueKeyTaken: another unfinished task has its unique key.
        """
        task: Task = await self._client.call(Retry(_checked(task_id), *changes, run_at, by))
        return task

    async def run(self, task_id: str, by: By | None = None) -> Task:
        """Make a scheduled task due. Raises as `retry`."""
        task: Task = await self._client.call(RunNow(_checked(task_id), by))
        return task

    async def delete(self, task_id: str, by: By | None = None) -> None:
        """Delete a finished task. Raises as `retry`."""
        await self._client.call(Delete(_checked(task_id), by))

    async def amend(
        self,
        task_id: str,
        changes: bulk.Replacement,
        run_at: float | None = None,
        by: By | None = None,
    ) -> Task:
        """Change a scheduled task before it is due. Raises as `retry`.

        Args:
            run_at: when it is due instead; None: as it was.
        """
        task: Task = await self._client.call(Amend(_checked(task_id), *changes, run_at, by))
        return task

    async def cancel(self, task_id: str, by: By | None = None) -> tuple[CancelOutcome, Task]:
        """Cancel a task, or have the worker that runs it stop it.

        Waits up to `CANCEL_SECONDS` for what becomes of that.

        Raises:
            TaskNotFound: there is none.
        """
        try:
            task: Task = await self._client.call(Cancel(_checked(task_id), by))
        except IllegalTransition:
            return CancelOutcome.FINISHED, await self.get(task_id)
        if task.state is TaskState.CANCELLED:
            return CancelOutcome.PREVENTED, task
        if task.executor in self._dispatcher.unstoppable():
            return CancelOutcome.UNSTOPPABLE, task
        task = await self.wait(task_id, CANCEL_SECONDS)
        if task.state is TaskState.CANCELLED:
            return CancelOutcome.STOPPED, task
        return (CancelOutcome.FINISHED if task.state.is_final else CancelOutcome.REQUESTED), task

    async def cancel_descendants(self, task_id: str, by: By | None = None) -> bulk.Tally:
        """Cancel what a task has submitted, and the members of the group that it follows."""
        return await descendants.cancel(self._ask, _checked(task_id), by)

    async def _ask(self, request: Request) -> object:
        if isinstance(request, Find | Count):
            return await self._read(request)
        answer: object = await self._client.call(request)
        return answer

    # -- administering ------------------------------------------------------------------------

    @property
    def keys(self) -> KeyVerbs:
        """The keys of the service."""
        return KeyVerbs(self._client.call)

    @property
    def webhooks(self) -> WebhookVerbs:
        """The webhooks of the service."""
        return WebhookVerbs(self._client.call, self.bulk)

    # -- operating -----------------------------------------------------------------------------

    async def probe(self) -> None:
        """Check that tasks would be accepted now: write to the journal.

        Raises:
            Draining, RegistryUnavailable, JournalUnavailable: they would not be, or not for long.
        """
        if self.draining:
            raise Draining
        await self._client.call(Probe())

    async def scrape(self) -> bytes:
        """The metrics of the whole service in Prometheus' text format."""
        return await self._client.scrape()


def _batch(tasks: Sequence[Task], *, replayed: bool) -> AcceptedBatch:
    members = [task for task in tasks if task.follows is None]
    then = next((task for task in tasks if task.follows is not None), None)
    return AcceptedBatch(members, replayed, then)


def _checked(task_id: str) -> str:
    if _UUID.fullmatch(task_id) is None:
        raise TaskNotFound(task_id)
    return task_id.lower()


def _fingerprint(payload: BaseModel, kind: str) -> bytes:
    # Not the defaults: a later version may have others, and the key has to hold all the same.
    text = payload.model_dump_json(exclude_unset=True).encode()
    return fingerprint_of_json(text, kind)


def _under_key(task: Task, key: str, print_of_submission: bytes | None) -> Task:
    return replace(task, idempotency_key=key, fingerprint=print_of_submission)
