"""The cancellation of what a task has submitted, of what that has submitted, and so on.

The task is cancelled first, or asked to stop: from then on it brings no further children. So none
appears behind the look at them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from afterwards.errors import AfterwardsError, Unavailable
from afterwards.lifecycle import MAX_DEPTH, Task
from afterwards.registry.protocol.activity import Bulk, By, Outcome
from afterwards.registry.protocol.answers import Page
from afterwards.registry.protocol.filters import Filter, PageEnd
from afterwards.registry.protocol.requests import Cancel, Find, Note, Request
from afterwards.service.bulk import AT_ONCE, Tally
from afterwards.task_ids import new_id

MOST: Final = 10_000
"""Tasks that are looked at for one call."""

_PAGE: Final = 500

Ask = Callable[[Request], Awaitable[Any]]


async def cancel(ask: Ask, task_id: str, by: By | None) -> Tally:
    """Cancel what has not ended of a task's descendants, and of the group that it follows.

    Raises:
        Unavailable: nothing was done.
    """
    what = f"descendants of {task_id}"
    if by is not None:
        by = by._replace(bulk=Bulk(new_id(), what))
    tally = Tally()
    try:
        await _level_by_level(ask, task_id, by, tally)
    except Unavailable as error:
        tally.interrupted, tally.more = error, True
    if tally.interrupted is not None and not tally.matched:
        raise tally.interrupted
    if by is not None and tally.matched:
        outcome = Outcome.DONE if tally.interrupted is None else Outcome.FAILED
        detail = None if tally.interrupted is None else str(tally.interrupted)
        await _tried(ask, Note(by, "cancel", "tasks", what, outcome, detail))
    return tally


async def _level_by_level(ask: Ask, task_id: str, by: By | None, tally: Tally) -> None:
    level = [Filter(parent=task_id), Filter(group=task_id)]
    looked_at = 0
    while level and not tally.more:
        following: list[Filter] = []
        for first in range(0, len(level), AT_ONCE):
            part = level[first : first + AT_ONCE]
            for found in await asyncio.gather(*(_all(ask, wanted) for wanted in part)):
                looked_at += len(found)
                await _cancel_all(ask, found, by, tally)
                following += [
                    Filter(parent=task.id)
                    for task in found
                    if task.attempt and task.depth < MAX_DEPTH
                ]
            if looked_at >= MOST or tally.interrupted is not None:
                tally.more = True
                return
        level = following


async def _all(ask: Ask, wanted: Filter) -> list[Task]:
    """The tasks of a filter: the children of one task, or the members of one group."""
    tasks: list[Task] = []
    before: PageEnd | None = None
    while True:
        page: Page = await ask(Find(wanted, _PAGE, before, summary=True))
        tasks += page.tasks
        before = page.next
        if before is None:
            return tasks


async def _cancel_all(ask: Ask, tasks: Sequence[Task], by: By | None, tally: Tally) -> None:
    left = [task for task in tasks if not task.state.is_final]
    for first in range(0, len(left), AT_ONCE):
        part = left[first : first + AT_ONCE]
        requests = [Cancel(task.id, by) for task in part]
        for answer in await asyncio.gather(*(_tried(ask, request) for request in requests)):
            tally.count(answer)
        if tally.interrupted is not None:
            return


async def _tried(ask: Ask, request: Request) -> Any:
    try:
        return await ask(request)
    except AfterwardsError as error:
        return error
