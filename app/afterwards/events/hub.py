"""The hub between the registry's events and the listeners of one worker.

    registry --follow, one call at a time--> follower's thread --> hub --+--> listeners of a task
                                                                         +--> listeners to all

However many listen, the registry is followed once, and only while somebody listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Hashable, Iterator
from typing import Any, Final, TypeVar

from afterwards.errors import Draining, RegistryUnavailable
from afterwards.events.listeners import FeedListener, TaskListener
from afterwards.events.rounds import Rounds
from afterwards.events.statistics import StatisticsFeed
from afterwards.events.window import WINDOW_EVENTS, Position, Window
from afterwards.registry.client.follower import EventFollower
from afterwards.registry.protocol.answers import Events
from afterwards.registry.protocol.base import Registry
from afterwards.registry.protocol.requests import Changes, Request

T = TypeVar("T")

LINGER_SECONDS: Final = 10.0
"""The time for which the registry is followed after the last listener has gone."""

READY_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 1.0
_MAX_SHARED: Final = 32


class EventHub:
    """Follows the registry while there are listeners, and wakes those whom an event concerns.

    Belongs to one event loop.

    Args:
        connect: gives the registry, for the calling thread only.
        ask: has a request carried out (`RegistryClient.call`).
    """

    def __init__(
        self, connect: Callable[[], Registry], ask: Callable[[Request], Awaitable[Any]]
    ) -> None:
        self._connect = connect
        self._ask = ask
        self.window = Window()
        self._shared: dict[Hashable, Any] = {}
        self.statistics = StatisticsFeed(ask)
        self.told_up_to = 0
        """The last sequence of the latest round: all who listen to all go up to there."""
        self.closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._live = asyncio.Event()
        self._follower: EventFollower | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._of_tasks: dict[str, set[TaskListener]] = {}
        self._of_all = Rounds(self._begin_round)
        self._catching_up = asyncio.Lock()
        self._snapshot: Events | None = None

    @property
    def is_live(self) -> bool:
        """True if the registry is being followed, so that no event is missed."""
        return self._live.is_set()

    def shared(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value made under this key in this round, or made now; always of the same type."""
        found: T | None = self._shared.get(key)
        if found is None:
            found = make()
            # Those who catch up, each from somewhere else, have nothing to share.
            if len(self._shared) < _MAX_SHARED:
                self._shared[key] = found
        return found

    # -- listening -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def of_task(self, task_id: str) -> Iterator[TaskListener]:
        """Listen to a task's events from here on; if they are not followed yet, with a miss."""
        listener = TaskListener()
        self._of_tasks.setdefault(task_id, set()).add(listener)
        self._begin()
        try:
            yield listener
        finally:
            listeners = self._of_tasks[task_id]
            listeners.discard(listener)
            if not listeners:
                del self._of_tasks[task_id]
            self._end_soon()

    def has_news(self, task_id: str) -> None:
        """Wake who listens to a task of this worker's: its event may be a portion later.

        From any thread.
        """
        loop = self._loop
        if loop is not None and task_id in self._of_tasks:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._wake, task_id)

    def _wake(self, task_id: str) -> None:
        for listener in self._of_tasks.get(task_id, ()):
            listener.wake()

    @contextlib.contextmanager
    def of_all(self) -> Iterator[FeedListener]:
        """Be woken whenever the window moves."""
        listener = FeedListener()
        self._of_all.add(listener)
        self._begin()
        try:
            yield listener
        finally:
            self._of_all.discard(listener)
            self._end_soon()

    async def ready(self) -> None:
        """Wait until the registry is followed. There has to be a listener.

        Raises:
            RegistryUnavailable: it is not, for `READY_SECONDS`.
            Draining: this process is about to stop.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_SECONDS):
                await self._live.wait()
        if self.closed:
            raise Draining
        if not self.is_live:
            raise RegistryUnavailable

    async def reaches(self, position: Position) -> bool:
        """True if the window has everything after the position, or will; asks the registry.

        Raises:
            Unavailable: it is not known.
        """
        if self.window.has(position):
            return True
        # One after the other: what the first is answered mostly serves all.
        async with self._catching_up:
            window = self.window
            if window.has(position) or position.epoch != window.epoch:
                return window.has(position)
            after = position.sequence
            if after < window.start:
                after = min(after, max(0, window.last - WINDOW_EVENTS // 2))
            events: Events = await self._ask(Changes(position.epoch, after))
            if not events.reset and events.epoch == window.epoch:
                window.prepend(events.events, events.sequence)
            return window.has(position)

    async def snapshot(self) -> Events | None:
        """A reset that the window continues; None: the registry has begun another epoch.

        Raises:
            Unavailable: there is none to be had.
        """
        async with self._catching_up:
            known, window = self._snapshot, self.window
            if known is None or not window.has(Position(known.epoch, known.sequence)):
                known = self._snapshot = await self._ask(Changes("", 0))
                window.prepend([], known.sequence if known.epoch == window.epoch else 0)
            return known if window.has(Position(known.epoch, known.sequence)) else None

    def close(self) -> None:
        """End everything that listens, now and later."""
        self.closed = True
        self.statistics.close()
        if self._follower is not None:
            self._follower.stop()
            self._follower = None
        self._live.set()  # nobody waits for that any more
        self._wake_all()

    # -- following -----------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if self._follower is None and not self.closed:
            loop = self._loop = asyncio.get_running_loop()
            self._follower = EventFollower(
                self._connect,
                lambda follower, events: self._from_thread(loop, follower, events),
                lambda follower: self._from_thread(loop, follower, None),
            )
            self._follower.start()

    def _end_soon(self) -> None:
        if not self._of_tasks and not self._of_all and self._follower is not None:
            loop = asyncio.get_running_loop()
            self._rest = loop.call_later(LINGER_SECONDS, self._end)

    def _end(self) -> None:
        self._rest = None
        if self._follower is not None:
            self._follower.stop()
            self._follower = None
        if not self.closed:
            self._live.clear()
            self.window = Window()
            self._begin_round()
            self._snapshot = None

    def _from_thread(
        self, loop: asyncio.AbstractEventLoop, follower: EventFollower, events: Events | None
    ) -> None:
        taken = threading.Event()
        try:
            loop.call_soon_threadsafe(self._take, follower, events, taken)
        except RuntimeError:
            follower.stop()  # the loop is closed
        # A busy loop gets the next portion when it has had this one: nothing piles up.
        while not follower.is_over and not taken.wait(_LOOK_SECONDS):
            pass

    def _take(self, follower: EventFollower, events: Events | None, taken: threading.Event) -> None:
        taken.set()
        if follower is not self._follower:
            return
        if events is None:
            self._live.clear()
            self._wake_all()
            return
        if events.reset:
            self._start_over(events)
        elif events.events:
            self._tell(events)
        self._live.set()

    def _start_over(self, events: Events) -> None:
        self.window.restart(events.epoch, events.sequence)
        self._snapshot = events
        self._begin_round()
        for listeners in self._of_tasks.values():
            for listener in listeners:
                listener.miss()
        self._wake_all()

    def _tell(self, events: Events) -> None:
        self.window.append(events.events)
        for event in events.events:
            for listener in self._of_tasks.get(event.task_id, ()):
                listener.put(event)
        self._of_all.start()

    def _begin_round(self) -> None:
        self.told_up_to = self.window.last
        self._shared.clear()

    def _wake_all(self) -> None:
        for listeners in self._of_tasks.values():
            for listener in listeners:
                listener.wake()
        self._of_all.wake_all()
