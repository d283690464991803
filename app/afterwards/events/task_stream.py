"""The events of one task in order, up to its end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from afterwards.errors import RegistryUnavailable, TaskNotFound, Unavailable
from afterwards.events.hub import EventHub
from afterwards.events.listeners import TaskListener
from afterwards.events.streams import AGAIN_SECONDS, Portion, Sight, Snapshot, seen
from afterwards.events.window import Position
from afterwards.lifecycle import Task, TaskState
from afterwards.registry.protocol.answers import Details, Event, Events
from afterwards.registry.protocol.requests import Changes, Get, Inspect, Request


class TaskStream:
    """The events of one task, up to its end."""

    def __init__(
        self,
        hub: EventHub,
        listener: TaskListener,
        ask: Callable[[Request], Awaitable[Any]],
        task_id: str,
        position: Position | None,
        *,
        sight: Sight | None = None,
    ) -> None:
        self.position = hub.window.end
        """The position up to which events have come."""
        self._hub = hub
        self._listener = listener
        self._ask = ask
        self._task_id = task_id
        self._after = position
        self._sight = sight
        self._has_begun = False
        self._ready: Snapshot | list[Event] = []
        """The portion that comes before anything that the listener hears."""
        self._missed = False
        self.has_ended = False
        """True if the task's last event has been told, or seen before."""

    @property
    def is_over(self) -> bool:
        """True if nothing comes any more."""
        return self.has_ended or self._hub.closed

    @property
    def is_waiting(self) -> bool:
        """True if the registry is away, and nothing comes before it is back."""
        return not self._has_begun

    async def begin(self) -> None:
        """Start after the position, or else with a `Snapshot`.

        Raises:
            TaskNotFound: there is none.
            Unavailable: it is not known; it is tried again.
        """
        self._listener.take()  # that following has begun is no miss
        self.position = self._hub.window.end
        if self._after is not None and await self._hub.reaches(self._after):
            await self._resume(self._after)
        else:
            snapshot = await self._look()
            if snapshot is None:
                self._missed = True
            else:
                self._ready = snapshot
        self._has_begun = True

    async def next(self, seconds: float) -> Portion | Snapshot | None:
        """The next portion; None: nothing within `seconds`, or nothing any more."""
        until = time.monotonic() + seconds
        while not self.is_over:
            left = until - time.monotonic()
            found = await self._what_there_is()
            if found is not None:
                return found
            if self._missed or self.is_waiting:
                left = min(left, AGAIN_SECONDS)
            if not await self._listener.sleep(left) and time.monotonic() >= until:
                break
        self._move_on()
        return None

    async def _what_there_is(self) -> Portion | Snapshot | None:
        if self.is_waiting and not await self._begin_late():
            return None
        heard = self._listener.take()
        if heard is None or self._missed:
            return await self._look_again()
        ready, self._ready = self._ready, []
        if isinstance(ready, Snapshot):
            # What was heard meanwhile comes the next time.
            for event in heard:
                self._listener.put(event)
            return self._told(ready)
        start = self.position
        events = [*ready, *(event for event in heard if event.sequence > start.sequence)]
        if not events:
            return None
        self.position = Position(self._hub.window.epoch, events[-1].sequence)
        states = [event.state for event in events if event.progress is None]
        self.has_ended = bool(states) and states[-1].is_final
        return seen(Portion(start, self.position, events), self._sight)

    async def _begin_late(self) -> bool:
        if self._hub.is_live:
            try:
                await self.begin()
            except TaskNotFound:
                # Who comes back is told so.
                self.has_ended = True
            except Unavailable:
                pass
        return self._has_begun

    def _told(self, snapshot: Snapshot) -> Snapshot:
        self.position = snapshot.position
        self.has_ended = snapshot.task.state.is_final
        return snapshot

    def _move_on(self) -> None:
        # All up to the window's end was about other tasks.
        end = self._hub.window.end
        nothing_left = self._listener.is_empty and not (self._ready or self._missed)
        if nothing_left and self.position.epoch == end.epoch:
            self.position = max(self.position, end)

    async def _resume(self, position: Position) -> None:
        window = self._hub.window
        self._ready = [e for e in window.after(position.sequence) if e.task_id == self._task_id]
        self.position = max(position, window.end)
        since, task = await self._stand()
        news = (*self._ready, *(e for e in since.events if e.task_id == self._task_id))
        if since.reset:
            self._missed = True
        elif task.state.is_final and not any(e.sequence > position.sequence for e in news):
            self.has_ended = True

    async def _look_again(self) -> Snapshot | None:
        self._missed = True
        self._ready = []
        try:
            snapshot = await self._look()
        except TaskNotFound:
            self.has_ended = True
            return None
        except Unavailable:
            return None
        if snapshot is None:
            return None
        self._missed = False
        return self._told(snapshot)

    async def _look(self) -> Snapshot | None:
        since, task = await self._stand()
        if since.reset:
            return None
        progress = None
        if task.state is TaskState.PROCESSING:
            details: Details = await self._ask(Inspect(self._task_id))
            if details.task.attempt == task.attempt:
                progress = details.progress
        return Snapshot(Position(since.epoch, since.sequence), task, progress)

    async def _stand(self) -> tuple[Events, Task]:
        """The task, and what has come since the window's end: of one moment, as one exchange."""
        end = self._hub.window.end
        since, task = await asyncio.gather(self._ask(Changes(*end)), self._ask(Get(self._task_id)))
        return since, task


@contextlib.asynccontextmanager
async def of_task(
    hub: EventHub,
    ask: Callable[[Request], Awaitable[Any]],
    task_id: str,
    position: Position | None,
    *,
    sight: Sight | None = None,
) -> AsyncIterator[TaskStream]:
    """The events of a task from `position` on; None: from now on, after a `Snapshot`.

    While the registry is away the stream waits for it, and ends then if there is no such task.

    Args:
        ask: asks the registry for the listener, with its sight.
        sight: of the listener; None: everything.

    Raises:
        TaskNotFound: there is none.
        Draining: this process is about to stop.
    """
    with hub.of_task(task_id) as listener:
        with contextlib.suppress(RegistryUnavailable):
            await hub.ready()
        stream = TaskStream(hub, listener, ask, task_id, position, sight=sight)
        with contextlib.suppress(Unavailable):
            await stream.begin()
        yield stream
