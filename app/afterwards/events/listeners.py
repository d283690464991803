"""Listeners: to one task, or to all."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from afterwards.registry.protocol.answers import Event

QUEUED_EVENTS: Final = 1_000
"""The bound of one listener's events of a task; a slower listener misses events, and looks at the
task again."""


class FeedListener:
    """Something that is woken. Its waiter reads the window, which bounds what is kept."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """End a `sleep`, or the next one."""
        self._woken.set()

    async def sleep(self, seconds: float) -> bool:
        """Wait to be woken; False after `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        woken = self._woken.is_set()
        self._woken.clear()
        return woken


class TaskListener(FeedListener):
    """The events of one task since it listens."""

    def __init__(self) -> None:
        super().__init__()
        self._events: list[Event] = []
        self._missed = False

    @property
    def is_empty(self) -> bool:
        """True if there is nothing to take."""
        return not self._events and not self._missed

    def put(self, event: Event) -> None:
        """An event of the task."""
        if len(self._events) >= QUEUED_EVENTS:
            self.miss()
        elif not self._missed:
            self._events.append(event)
        self.wake()

    def miss(self) -> None:
        """Events may have been missed."""
        self._missed = True
        self._events.clear()
        self.wake()

    def take(self) -> list[Event] | None:
        """The events since the last time; None: events may have been missed."""
        events, missed = self._events, self._missed
        self._events, self._missed = [], False
        return None if missed else events
