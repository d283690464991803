"""Waiting for the end of a task."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

from afterwards.errors import Unavailable
from afterwards.events.hub import EventHub
from afterwards.events.listeners import TaskListener
from afterwards.lifecycle import Task

LOOK_AGAIN_SECONDS: Final = 1.0
"""The period in which an awaited task is read while its events cannot be followed."""


async def wait_for_end(
    task_id: str, seconds: float, events: EventHub, read: Callable[[str], Awaitable[Task]]
) -> Task:
    """The task as soon as it is finished, or as it stands after `seconds`.

    A process that is about to stop does not wait. Where the registry goes away meanwhile, it is
    waited for as well.

    Args:
        read: gives the task as it stands. What it raises, but for `Unavailable`, ends the wait.
    """
    until = time.monotonic() + seconds
    # Listening comes first: whatever ends the task after it was looked at is heard.
    with events.of_task(task_id) as listener:
        while True:
            left = until - time.monotonic()
            live = events.is_live
            try:
                task = await read(task_id)
                if task.state.is_final or left <= 0 or events.closed:
                    return task
            except Unavailable:
                if left <= 0 or events.closed:
                    raise
                live = False
            longest = left if live else min(left, LOOK_AGAIN_SECONDS)
            await _sleep_until_final(events, listener, longest, live=live)


async def _sleep_until_final(
    events: EventHub, listener: TaskListener, seconds: float, *, live: bool
) -> None:
    """Until there is a reason to look at the task: it has ended, or it may have."""
    until = time.monotonic() + seconds
    while await listener.sleep(until - time.monotonic()):
        heard = listener.take()
        # Nothing: its attempt has been reported here, or events were missed.
        if not heard or any(event.state.is_final for event in heard):
            return
        if events.closed or events.is_live != live:
            return
