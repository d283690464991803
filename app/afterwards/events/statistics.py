"""The service once a second, for all listeners of this worker.

    registry <--Stats, once a second-- feed --frame--> all listeners

However many listen, the registry is asked once, and only while there are listeners.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, NamedTuple

from afterwards.errors import AfterwardsError, Draining
from afterwards.events.listeners import FeedListener
from afterwards.events.rounds import Rounds
from afterwards.events.window import NOWHERE
from afterwards.logs import get_logger
from afterwards.registry.protocol.answers import Statistics
from afterwards.registry.protocol.requests import Request, Stats

log = get_logger(__name__)

FRAME_SECONDS: Final = 1.0


class StatisticsFrame(NamedTuple):
    """The service at one moment."""

    number: int
    at: float
    """POSIX seconds."""
    statistics: Statistics | None
    """None: the registry is away."""


Narrow = Callable[[Statistics], Statistics]


class StatisticsFeed:
    """Asks the registry while there are listeners. Belongs to one event loop.

    Args:
        ask: has a request carried out (`RegistryClient.call`).
    """

    def __init__(self, ask: Callable[[Request], Awaitable[Any]]) -> None:
        self._ask = ask
        self.closed = False
        self.latest: StatisticsFrame | None = None
        """None: there is none of late."""
        self._number = 0
        self._shown: tuple[int, bytes] = (0, b"")
        self._listeners = Rounds(lambda: None)
        self._asking: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def stream(self, narrow: Narrow | None = None) -> AsyncIterator[StatisticsStream]:
        """The frames from now on; the first one is there as soon as this begins.

        Args:
            narrow: leaves of statistics what the listener may see; None: everything.

        Raises:
            Draining: this process is about to stop.
        """
        listener = FeedListener()
        self._listeners.add(listener)
        try:
            self._begin()
            while self.latest is None and not self.closed:
                await listener.sleep(FRAME_SECONDS)
            if self.closed:
                raise Draining
            yield StatisticsStream(self, listener, narrow)
        finally:
            self._listeners.discard(listener)
            if not self._listeners:
                self._end()

    def shown(self, frame: StatisticsFrame, render: Callable[[StatisticsFrame], bytes]) -> bytes:
        """A frame as bytes, rendered once for all who get it."""
        if self._shown[0] != frame.number:
            self._shown = frame.number, render(frame)
        return self._shown[1]

    def close(self) -> None:
        """End everything that listens, now and later."""
        self.closed = True
        self._end()
        self._listeners.wake_all()

    def _begin(self) -> None:
        if (self._asking is None or self._asking.done()) and not self.closed:
            self._asking = asyncio.get_running_loop().create_task(self._go_on())

    def _end(self) -> None:
        self.latest = None
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    async def _go_on(self) -> None:
        while True:
            began_at = time.monotonic()
            statistics: Statistics | None = None
            # A registry that is away is asked again, and so is one that refuses to tell.
            try:
                with contextlib.suppress(AfterwardsError):
                    statistics = await self._ask(Stats())
            except Exception:
                # Listeners would wait for a frame until this process ends.
                log.exception("no statistics, by a bug; they are asked for again")
            self._number += 1
            self.latest = StatisticsFrame(self._number, time.time(), statistics)
            self._listeners.start()
            await asyncio.sleep(max(0.0, began_at + FRAME_SECONDS - time.monotonic()))


class StatisticsStream:
    """The frames that one listener gets: each time the latest, however slowly it reads."""

    position = NOWHERE
    """There is nothing to go on after: the next frame tells all."""

    def __init__(
        self, feed: StatisticsFeed, listener: FeedListener, narrow: Narrow | None = None
    ) -> None:
        self._feed = feed
        self._narrow = narrow
        self._listener = listener
        self._seen = 0
        self._was_away = self.is_waiting

    @property
    def is_over(self) -> bool:
        """True if nothing comes any more."""
        return self._feed.closed

    @property
    def is_waiting(self) -> bool:
        """True while the registry is away; nothing comes before it is back."""
        latest = self._feed.latest
        return latest is not None and latest.statistics is None

    async def next(self, seconds: float) -> StatisticsFrame | None:
        """The next frame; None: nothing within `seconds`, or nothing any more.

        That the registry is away is told once.
        """
        until = time.monotonic() + seconds
        while not self.is_over:
            frame = self._feed.latest
            if frame is not None and frame.number > self._seen:
                self._seen = frame.number
                was_away, self._was_away = self._was_away, frame.statistics is None
                if not (was_away and self._was_away):
                    return self._narrowed(frame)
            left = until - time.monotonic()
            if not await self._listener.sleep(left) and time.monotonic() >= until:
                break
        return None

    def shown(self, frame: StatisticsFrame, render: Callable[[StatisticsFrame], bytes]) -> bytes:
        """See `StatisticsFeed.shown`."""
        # What is narrowed is not what others get under the same number.
        return self._feed.shown(frame, render) if self._narrow is None else render(frame)

    def _narrowed(self, frame: StatisticsFrame) -> StatisticsFrame:
        if self._narrow is None or frame.statistics is None:
            return frame
        return frame._replace(statistics=self._narrow(frame.statistics))
