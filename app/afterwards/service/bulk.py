"""One verb for many tasks: those that fit a description, or are named by their ids.

It is done page by page, some requests at a time, so that one for ten thousand tasks keeps no other
waiting. What is counted is what happened: a task that has changed meanwhile is skipped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from afterwards.errors import AfterwardsError, Draining, Unavailable
from afterwards.lifecycle import WAITING_STATES, Kind, Task, TaskState
from afterwards.registry.protocol.activity import Bulk, By, Outcome
from afterwards.registry.protocol.answers import Counted, Page
from afterwards.registry.protocol.filters import Filter, PageEnd
from afterwards.registry.protocol.requests import (
    Cancel,
    Count,
    Delete,
    Find,
    Get,
    Note,
    Request,
    Retry,
    RunNow,
)
from afterwards.registry.protocol.webhook_requests import ReplayWebhook
from afterwards.task_ids import new_id

AT_ONCE: Final = 100
"""Requests under way: a batch that the registry carries out within a few milliseconds."""

NAMED_AT_ONCE: Final = 20
"""The same for tasks that are named by their ids and may be large: a page of a list is bounded."""

Call = Callable[[Request], Awaitable[Any]]


class Replacement(NamedTuple):
    """The new payload and type of a task; None: it keeps its own."""

    payload: bytes | None = None
    """It has been validated."""
    kind: Kind | None = None
    """The type that the task is moved to, which takes its payload."""


AS_IT_WAS: Final = Replacement()

Prepare = Callable[[Task], Awaitable[Replacement | None]]
"""Prepares the retry of a task; None: it is not retried."""


RequestFor = Callable[..., Awaitable[Request | None]]
"""Makes the request for a task, and tells it `by` whom."""


async def unchanged(_: Task) -> Replacement | None:
    """Each as it was."""
    return AS_IT_WAS


class Selection(NamedTuple):
    """Which tasks: those that are as it says, or of those with these ids the ones in the states.

    What it says becomes requests here, and nowhere else.
    """

    states: Sequence[TaskState]
    limit: int
    """The number of tasks to take up, the newest of the first state first."""
    filter: Filter = Filter()
    """The other conditions, and `retrying`; its states mean nothing here."""
    ids: Sequence[str] | None = None
    """Those with these ids only."""
    what: str = ""
    """The same as text."""
    detail: str | None = None
    """Their changes, as text."""

    @property
    def passes(self) -> list[Filter]:
        """The filters that find each task that fits, one state after the other.

        Running tasks come last, as in the table of states: what is started meanwhile is met there.
        Tasks that wait for a further attempt are in either waiting state, and share one pass.
        """
        states = sorted(self.states, key=list(TaskState).index)
        waiting = WAITING_STATES.intersection(states)
        if not self.filter.retrying or waiting == WAITING_STATES:
            return [self._of(state) for state in states]
        others = [self._of(state) for state in states if state not in WAITING_STATES]
        return [self.filter._replace(states=waiting), *others]

    def _of(self, state: TaskState) -> Filter:
        return self.filter._replace(states=frozenset({state}), retrying=False)


@dataclass
class Tally:
    """The counts of a bulk verb so far."""

    changed: int = 0
    requested: int = 0
    """Cancellations that only the holders can carry out."""
    skipped: int = 0
    """In another state by the time, or deleted, or not to be retried as was asked for."""
    more: bool = False
    """There are others that fit."""
    interrupted: Unavailable | None = None
    """Why the rest was left."""

    @property
    def matched(self) -> int:
        """The number of tasks that were taken up."""
        return self.changed + self.requested + self.skipped

    def count(self, answer: Task | AfterwardsError | None) -> None:
        """Count what became of one task."""
        if isinstance(answer, Unavailable):
            self.interrupted, self.more = answer, True
        elif isinstance(answer, AfterwardsError):
            self.skipped += 1
        elif answer is not None and answer.state is TaskState.PROCESSING:
            self.requested += 1
        else:
            self.changed += 1


class BulkVerbs:
    """The verbs for many tasks. Each raises `Unavailable` if nothing was done.

    Args:
        call: asks the registry.
        start: starts the task of an id if a slot was free.
        is_draining: whether this process is about to stop.
    """

    def __init__(
        self,
        call: Call,
        start: Callable[[str], Awaitable[None]],
        is_draining: Callable[[], bool],
    ) -> None:
        self._always = call
        self._start = start
        self._is_draining = is_draining

    async def count(self, selection: Selection) -> int:
        """The number of tasks that fit, not only up to the limit.

        Where they have to be looked for one by one, it counts until there are more than the limit.
        """
        call = self._call
        if selection.ids is not None:
            return sum([len(found.tasks) async for found in _named(call, selection)])
        total = 0
        for wanted in selection.passes:
            counted: Counted = await call(Count(wanted))
            if not counted.exact:
                return await _looked_for(call, selection)
            total += counted.number
        return total

    async def retry(
        self, selection: Selection, prepare: Prepare = unchanged, by: By | None = None
    ) -> Tally:
        """Retry what fits.

        Args:
            prepare: says how each is retried.
            by: who asks.
        """

        async def request(task: Task, by: By | None) -> Request | None:
            how = await prepare(task)
            return None if how is None else Retry(task.id, *how, by=by)

        return await self._carry_out("retry", selection, by, request, self._start)

    async def cancel(self, selection: Selection, by: By | None = None) -> Tally:
        """Cancel what fits, and ask the holders of what runs."""

        async def request(task: Task, by: By | None) -> Request:
            return Cancel(task.id, by)

        return await self._carry_out("cancel", selection, by, request)

    async def run(self, selection: Selection, by: By | None = None) -> Tally:
        """Make due what fits."""

        async def request(task: Task, by: By | None) -> Request:
            return RunNow(task.id, by)

        return await self._carry_out("run", selection, by, request, self._start)

    async def delete(self, selection: Selection, by: By | None = None) -> Tally:
        """Delete what fits."""

        async def request(task: Task, by: By | None) -> Request:
            return Delete(task.id, by)

        return await self._carry_out("delete", selection, by, request)

    async def replay(self, selection: Selection, webhook: str, by: By | None = None) -> Tally:
        """Tell a webhook once more of what fits."""

        async def request(task: Task, by: By | None) -> Request:
            return ReplayWebhook(webhook, task.id, by)

        return await self._carry_out("replay", selection, by, request)

    async def _carry_out(
        self,
        verb: str,
        selection: Selection,
        by: By | None,
        request: RequestFor,
        start: Callable[[str], Awaitable[None]] | None = None,
    ) -> Tally:
        if by is not None:
            by = by._replace(bulk=Bulk(new_id(), selection.what, selection.detail))
        tally = Tally()
        try:
            await _in_portions(self._call, selection, tally, partial(request, by=by), start)
        except Unavailable as error:
            tally.interrupted, tally.more = error, True
        if by is not None:
            await self._note(verb, selection, by, tally)
        if tally.interrupted is not None and not tally.matched:
            raise tally.interrupted
        return tally

    async def _note(self, verb: str, selection: Selection, by: By, tally: Tally) -> None:
        """Complete the entry of the log. If that cannot be, it says that the verb was begun."""
        outcome, parts = Outcome.DONE, [] if selection.detail is None else [selection.detail]
        if tally.skipped:
            parts.append(f"{tally.skipped} skipped")
        if tally.interrupted is not None:
            outcome = Outcome.FAILED
            parts.append(str(tally.interrupted))
        note = Note(by, verb, "tasks", selection.what, outcome, "; ".join(parts) or None)
        with suppress(Unavailable):
            await self._always(note)

    async def _call(self, request: Request) -> Any:
        if self._is_draining():
            # A stop waits for requests; one for thousands of tasks is not worth that.
            raise Draining
        return await self._always(request)


async def _in_portions(
    call: Call,
    selection: Selection,
    tally: Tally,
    request_for: Callable[[Task], Awaitable[Request | None]],
    start: Callable[[str], Awaitable[None]] | None,
) -> None:
    """One portion after the other, until all is done or nothing can be."""
    async for tasks in _chunks(call, selection, tally):
        asked = [await request_for(task) for task in tasks]
        requests = [request for request in asked if request is not None]
        tally.skipped += len(tasks) - len(requests)
        for answer in await _all(call, requests):
            # A claim may have come back with the answer, and nobody else is about to start it.
            if start is not None and isinstance(answer, Task):
                await start(answer.id)
            tally.count(answer)
        if tally.interrupted is not None:
            return


async def _chunks(call: Call, selection: Selection, tally: Tally) -> AsyncIterator[list[Task]]:
    """Up to `limit` tasks, each once: one that moves on may be met in two states."""
    seen: set[str] = set()
    pages = _pages(call, selection) if selection.ids is None else _named(call, selection)
    async for page in pages:
        fresh = [task for task in page.tasks if task.id not in seen]
        room = selection.limit - len(seen)
        if len(fresh) > room:
            tally.more = True
        taken = fresh[:room]
        seen.update(task.id for task in taken)
        tally.skipped += page.others
        if taken:
            yield taken
        if tally.more:
            return


class _Found(NamedTuple):
    tasks: Sequence[Task]
    others: int = 0
    """The number of those that are not there, or in no state that was asked for."""


async def _pages(call: Call, selection: Selection) -> AsyncIterator[_Found]:
    for wanted in selection.passes:
        before: PageEnd | None = None
        while True:
            page: Page = await call(Find(wanted, AT_ONCE, before))
            yield _Found(page.tasks)
            before = page.next
            if before is None:
                break


async def _looked_for(call: Call, selection: Selection) -> int:
    number = 0
    async for found in _pages(call, selection):
        number += len(found.tasks)
        if number > selection.limit:
            break
    return number


async def _named(call: Call, selection: Selection) -> AsyncIterator[_Found]:
    # Newest first, as far as anybody knows: as they are named.
    ids = list(dict.fromkeys(map(str.lower, selection.ids or ())))
    for first in range(0, len(ids), NAMED_AT_ONCE):
        part = ids[first : first + NAMED_AT_ONCE]
        answers = await _all(call, [Get(task_id) for task_id in part])
        for answer in answers:
            if isinstance(answer, Unavailable):
                raise answer
        tasks = [
            answer
            for answer in answers
            if isinstance(answer, Task) and answer.state in selection.states
        ]
        yield _Found(tasks, len(part) - len(tasks))


async def _all(call: Call, requests: Sequence[Request]) -> list[Task | AfterwardsError | None]:
    async def one(request: Request) -> Task | AfterwardsError | None:
        try:
            task: Task | None = await call(request)
        except AfterwardsError as error:
            return error
        return task

    return await asyncio.gather(*map(one, requests))
