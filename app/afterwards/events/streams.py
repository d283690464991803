"""Events in order, without a gap and without repetition, from a position on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Hashable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol, TypeVar

from afterwards.errors import RegistryUnavailable, Unavailable
from afterwards.events.hub import EventHub
from afterwards.events.listeners import FeedListener
from afterwards.events.window import Position
from afterwards.lifecycle import Task, TaskState
from afterwards.registry.protocol.answers import Event, ProgressMark

T = TypeVar("T")

PORTION_EVENTS: Final = 250
"""At once, so that little is under way to who reads slowly."""
AGAIN_SECONDS: Final = 0.2


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
                left = min(left, AGAIN_SECONDS)
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
        return self.shared(key, lambda: seen(portion, self._sight))

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


def seen(portion: Portion, sight: Sight | None) -> Portion:
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
