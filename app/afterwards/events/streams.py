"""Events in order, without a gap and without repetition, from a position on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from afterwards.errors import RegistryUnavailable, TaskNotFound, Unavailable
from afterwards.events.hub import EventHub
from afterwards.events.listeners import FeedListener, TaskListener
from afterwards.events.window import Position
from afterwards.lifecycle import Task, TaskState
from afterwards.registry.protocol.answers import Details, Event, Events, ProgressMark
from afterwards.registry.protocol.requests import Changes, Get, Inspect, Request

T = TypeVar("T")

PORTION_EVENTS: Final = 250
"""At once, so that little is under way to who reads slowly."""
_AGAIN_SECONDS: Final = 0.2


class Portion(NamedTuple):
    """Events that follow each other; of all tasks or of one."""

    start: Position
    end: Position
    events: Sequence[Event]


class Reset(NamedTuple):
    """Events were missed; this is where things stand."""

    position: Position
    counts: Mapping[tuple[str, TaskState], int]


class Snapshot(NamedTuple):
    """The state of a task; its later events follow."""

    position: Position
    task: Task
    progress: ProgressMark | None


class Sight(Protocol):
    """The part of events that one listener may see."""

    @property
    def key(self) -> Hashable:
        """Equal for listeners that may see the same."""

    def has_type(self, name: str) -> bool:
        """True if tasks of this type may be seen."""

    def event(self, event: Event) -> Event | None:
        """An event as it may be seen; None: not at all."""


class AllStream:
    """The events of all tasks.

    Args:
        sight: of the listener; None: everything.
    """

    def __init__(
        self,
        hub: EventHub,
        listener: FeedListener,
        position: Position | None,
        sight: Sight | None = None,
    ) -> None:
        self.position = position or hub.window.end
        """The position up to which events have come."""
        self._hub = hub
        self._listener = listener
        self._is_to_reach = position is not None
        self._sight = sight

    @property
    def is_over(self) -> bool:
        """True if nothing comes any more."""
        return self._hub.closed

    @property
    def is_waiting(self) -> bool:
        """True if the registry is away, and nothing comes before it is back."""
        return not self._hub.is_live

    async def begin(self) -> None:
        """Have what came since the position, if that can be had; else the first is a `Reset`.

        Raises:
            Unavailable: it is not known; it is tried again.
        """
        if self._is_to_reach and self._hub.is_live:
            await self._hub.reaches(self.position)
            self._is_to_reach = False

    async def next(self, seconds: float) -> Portion | Reset | None:
        """The next portion; None: nothing within `seconds`, or nothing any more."""
        until = time.monotonic() + seconds
        while not self.is_over:
            window = self._hub.window
            left = until - time.monotonic()
            if not window.has(self.position):
                reset = await self._reset()
                if reset is not None:
                    return _seen_reset(reset, self._sight)
                left = min(left, _AGAIN_SECONDS)
            elif self.position.sequence < self._hub.told_up_to:
                return self._seen(self._portion())
            if not await self._listener.sleep(left) and time.monotonic() >= until:
                break
        return None

    def shared(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of `make`, made once for all streams that see the same under this key."""
        view = None if self._sight is None else self._sight.key
        return self._hub.shared((view, key), make)

    def _seen(self, portion: Portion) -> Portion:
        if self._sight is None:
            return portion
        key = ("seen", portion.start, portion.end)
        return self.shared(key, lambda: _seen(portion, self._sight))

    def _portion(self) -> Portion:
        start = self.position
        limit = min(PORTION_EVENTS, self._hub.told_up_to - start.sequence)
        events = self._hub.window.after(start.sequence, limit)
        self.position = Position(start.epoch, events[-1].sequence)
        return Portion(start, self.position, events)

    async def _reset(self) -> Reset | None:
        with contextlib.suppress(Unavailable):
            await self.begin()
            if self._hub.window.has(self.position):
                return None
            # Of the registry, unless the window goes back so far: then it is one for all.
            snapshot = await self._hub.snapshot()
            if snapshot is not None:
                self.position = Position(snapshot.epoch, snapshot.sequence)
                return Reset(self.position, snapshot.counts or {})
        return None


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
                left = min(left, _AGAIN_SECONDS)
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
        return _seen(Portion(start, self.position, events), self._sight)

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


def _seen(portion: Portion, sight: Sight | None) -> Portion:
    """The part of it that a listener may see, which may be nothing."""
    if sight is None:
        return portion
    events = [event for event in map(sight.event, portion.events) if event is not None]
    return portion._replace(events=events)


def _seen_reset(reset: Reset, sight: Sight | None) -> Reset:
    if sight is None:
        return reset
    counts = {cell: number for cell, number in reset.counts.items() if sight.has_type(cell[0])}
    return reset._replace(counts=counts)


@contextlib.asynccontextmanager
async def of_all(
    hub: EventHub, position: Position | None, sight: Sight | None = None
) -> AsyncIterator[AllStream]:
    """The events of all tasks from `position` on; None: from now on.

    While the registry is away the stream waits for it.

    Args:
        sight: of the listener; None: everything.

    Raises:
        Draining: this process is about to stop.
    """
    with hub.of_all() as listener:
        with contextlib.suppress(RegistryUnavailable):
            await hub.ready()
        stream = AllStream(hub, listener, position, sight)
        with contextlib.suppress(Unavailable):
            await stream.begin()
        yield stream


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
