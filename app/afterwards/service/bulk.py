"""One verb for many tasks: retry or cancel whatever fits a description.

It is done page by page, some requests at a time, so that one for ten thousand tasks keeps nobody
else waiting. What is counted is what happened: a task that has changed meanwhile is skipped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from afterwards.errors import AfterwardsError, Unavailable
from afterwards.lifecycle import Kind, Task, TaskState
from afterwards.registry.protocol.answers import Page
from afterwards.registry.protocol.requests import Cancel, Count, Find, Request, Retry

AT_ONCE: Final = 100
"""Requests under way: a batch that the registry carries out within a few milliseconds."""

Call = Callable[[Request], Awaitable[Any]]


class Replacement(NamedTuple):
    """What takes the place of what a task has; None: it stays."""

    payload: bytes | None = None
    """It has been validated."""
    kind: Kind | None = None
    """Of the type it is moved to, which takes its payload."""


AS_IT_WAS: Final = Replacement()

Prepare = Callable[[Task], Awaitable[Replacement | None]]
"""How a task is retried; None: it is not."""


async def unchanged(_: Task) -> Replacement | None:
    """Each as it was."""
    return AS_IT_WAS


class Selection(NamedTuple):
    """Which tasks."""

    states: Sequence[TaskState]
    limit: int
    """How many to take up, the newest of the first state first."""
    type: str | None = None
    created_after: float | None = None
    created_before: float | None = None


@dataclass
class Tally:
    """What a bulk verb has done so far."""

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
        """How many tasks were taken up."""
        return self.changed + self.requested + self.skipped

    def count(self, answer: Task | AfterwardsError) -> None:
        """Count what became of one task."""
        if isinstance(answer, Unavailable):
            self.interrupted, self.more = answer, True
        elif isinstance(answer, AfterwardsError):
            self.skipped += 1
        elif answer.state is TaskState.PROCESSING:
            self.requested += 1
        else:
            self.changed += 1


async def count(call: Call, selection: Selection) -> int:
    """How many tasks fit, whatever the limit."""
    total = 0
    for state in selection.states:
        total += await call(
            Count(state, selection.type, selection.created_after, selection.created_before)
        )
    return total


async def retry(
    call: Call,
    selection: Selection,
    start: Callable[[str], Awaitable[None]],
    prepare: Prepare = unchanged,
) -> Tally:
    """Retry what fits.

    Args:
        start: called with each retried task's id; starts it if a slot was free.
        prepare: says how each is retried.

    Raises:
        Unavailable: nothing was done.
    """
    tally = Tally()
    async for tasks in _chunks(call, selection, tally):
        prepared = [(task, await prepare(task)) for task in tasks]
        requests = [Retry(task.id, *how) for task, how in prepared if how is not None]
        tally.skipped += len(tasks) - len(requests)
        for answer in await _all(call, requests):
            # A claim may have come back with the answer, and nobody else is about to start it.
            if isinstance(answer, Task):
                await start(answer.id)
            tally.count(answer)
        if tally.interrupted is not None:
            break
    return _judged(tally)


async def cancel(call: Call, selection: Selection) -> Tally:
    """Cancel what fits, and ask the holders of what runs.

    Raises:
        Unavailable: nothing was done.
    """
    tally = Tally()
    async for tasks in _chunks(call, selection, tally):
        for answer in await _all(call, [Cancel(task.id) for task in tasks]):
            tally.count(answer)
        if tally.interrupted is not None:
            break
    return _judged(tally)


def _judged(tally: Tally) -> Tally:
    if tally.interrupted is not None and not tally.matched:
        raise tally.interrupted
    return tally


async def _chunks(call: Call, selection: Selection, tally: Tally) -> AsyncIterator[list[Task]]:
    """Up to `limit` tasks, each once: one that moves on may be met in two states."""
    seen: set[str] = set()
    async for page in _pages(call, selection):
        fresh = [task for task in page if task.id not in seen]
        room = selection.limit - len(seen)
        if len(fresh) > room:
            tally.more = True
        taken = fresh[:room]
        seen.update(task.id for task in taken)
        if taken:
            yield taken
        if tally.more:
            return


async def _pages(call: Call, selection: Selection) -> AsyncIterator[Sequence[Task]]:
    # Those that run come last in the table of states: what is started meanwhile is met there.
    for state in sorted(selection.states, key=list(TaskState).index):
        before: int | None = None
        while True:
            page: Page = await call(
                Find(
                    state,
                    selection.type,
                    AT_ONCE,
                    before,
                    selection.created_after,
                    selection.created_before,
                )
            )
            yield page.tasks
            before = page.next
            if before is None:
                break


async def _all(call: Call, requests: Sequence[Request]) -> list[Task | AfterwardsError]:
    async def one(request: Request) -> Task | AfterwardsError:
        try:
            task: Task = await call(request)
        except AfterwardsError as error:
            return error
        return task

    return await asyncio.gather(*map(one, requests))
