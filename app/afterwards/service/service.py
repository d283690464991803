"""The service as the HTTP layer, or anything else in front, uses it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from functools import partial
from typing import Final, NamedTuple

from afterwards.access.principal import Principal
from afterwards.errors import Draining, IllegalTransition, TaskNotFound, Unvalidated
from afterwards.events.hub import EventHub
from afterwards.events.statistics import StatisticsStream
from afterwards.events.streams import AllStream, of_all
from afterwards.events.task_stream import TaskStream, of_task
from afterwards.events.window import Position
from afterwards.execution.dispatcher import Dispatcher
from afterwards.lifecycle import FINAL_STATES, Kind, Task, TaskState
from afterwards.registry.client.client import RegistryClient
from afterwards.registry.client.list_reader import ListReader
from afterwards.registry.protocol.activity import By
from afterwards.registry.protocol.answers import Details
from afterwards.registry.protocol.filters import Filter
from afterwards.registry.protocol.requests import (
    Amend,
    Cancel,
    Count,
    Delete,
    Find,
    Get,
    Inspect,
    Probe,
    Request,
    Retry,
    RunNow,
)
from afterwards.service import bulk, descendants
from afterwards.service.intake import Intake
from afterwards.service.keys import KeyVerbs
from afterwards.service.lists import Lists
from afterwards.service.narrowed import Asks, Narrowed, carried_out
from afterwards.service.operations import Operations
from afterwards.service.sight import Ask, Sight
from afterwards.service.submissions import Submissions
from afterwards.service.validator import Validator
from afterwards.service.waiting import wait_for_end
from afterwards.service.webhooks import WebhookVerbs
from afterwards.task_types.description import Catalogue
from afterwards.task_types.validating import Check, Refusal
from afterwards.traces.base import Traces

CANCEL_SECONDS: Final = 5.0
"""The time for which a cancellation waits for the worker."""

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

MOST_VIEWS: Final = 1_000
"""Views for keys that are kept. To make one takes a few microseconds."""


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
        self._views: dict[tuple[str | None, bool], tuple[Principal, TaskService]] = {}
        self._traces = traces
        self._events = events
        self._dispatcher = dispatcher
        self._intake = Intake(catalogue)
        self.validator = validator
        """The validator of payloads of users' task types; None: there are none."""
        self.draining = False
        """Set when this process is about to stop; not that of a view."""
        self._is_draining = lambda: self.draining
        self._reach_by(client, None if lists is None else lists.call)

    def _reach_by(
        self,
        client: Asks,
        aside: Ask | None,
        owner: str | None = None,
        sight: Sight | None = None,
    ) -> None:
        self._client = client
        self._aside = aside
        self._sight = sight
        self.submissions = Submissions(client, self._intake, self._traces, owner, sight)
        self.lists = Lists(client, aside)
        self.operations = Operations(client, self._intake)
        self.bulk = bulk.BulkVerbs(self._ask, self.start, self._is_draining)

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
        client, aside, owner = self._client, self._aside, principal.owner
        sight = Sight(principal, own_only=own_only)
        if sight.is_all:
            view._reach_by(client, aside, owner)
        else:
            asks_aside = None if aside is None else partial(carried_out, sight, aside)
            view._reach_by(Narrowed(client, sight), asks_aside, owner, sight)
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

        See `afterwards.service.waiting.wait_for_end`. Raises as `get`.
        """
        return await wait_for_end(_checked(task_id), seconds, self._events, self.get)

    def task_stream(
        self, task_id: str, position: Position | None
    ) -> AbstractAsyncContextManager[TaskStream]:
        """The events of a task; see `afterwards.events.task_stream.of_task`."""
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

    async def group(self, group_id: str) -> GroupProgress:
        """The progress of a group. Raises as `get`, and `TaskNotFound` if no task follows it."""
        then = await self.get(group_id)
        if then.follows is None:
            raise TaskNotFound(group_id)
        states = sorted(FINAL_STATES)
        filters = [Filter(frozenset({state}), group=then.id) for state in states]
        counted = await asyncio.gather(*(self.lists.count(one, then.members) for one in filters))
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
            return await self.lists.ask(request)
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

    def waiting_executors(self) -> list[str]:
        """The executors of this worker that take no attempts now, though they should."""
        return self._dispatcher.waiting()

    async def scrape(self) -> bytes:
        """The metrics of the whole service in Prometheus' text format."""
        return await self._client.scrape()


def _checked(task_id: str) -> str:
    if _UUID.fullmatch(task_id) is None:
        raise TaskNotFound(task_id)
    return task_id.lower()
