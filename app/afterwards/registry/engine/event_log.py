"""The events of late, in order, and the wait for the next ones."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final

from afterwards.errors import RegistryUnavailable
from afterwards.registry.protocol.answers import Event
from afterwards.registry.protocol.base import FOLLOW_GATHER_SECONDS

MAX_EVENTS_IN_REPLY: Final = 2_000


class EventLog:
    """Keeps the last events. `extend` belongs to the committer, the rest to any thread.

    Args:
        kept: how many.
    """

    def __init__(self, kept: int) -> None:
        self.epoch = secrets.token_hex(8)
        self.sequence = 0
        """The sequence of the last event."""
        self._kept: deque[Event] = deque(maxlen=kept)
        self._changed = threading.Condition(threading.Lock())
        self._followers = 0
        self._closed = False

    def extend(self, events: Sequence[Event]) -> None:
        """Add committed events; their sequences continue `sequence`."""
        with self._changed:
            self._kept.extend(events)
            self.sequence = events[-1].sequence
            if self._followers:
                self._changed.notify_all()

    def since(self, epoch: str, after: int, limit: int | None = None) -> list[Event] | None:
        """The events after a position, the oldest `limit` of them; None: some are not here."""
        with self._changed:
            return self._since(epoch, after, limit)

    def follow(self, epoch: str, after: int, timeout_seconds: float) -> list[Event] | None:
        """As `since`, once there are any; none after `timeout_seconds`.

        A call takes at least `FOLLOW_GATHER_SECONDS` unless events were rare before: a lone event
        is told at once, a stream of them in portions.

        Raises:
            RegistryUnavailable: the log is closed.
        """
        asked_at = time.monotonic()
        with self._changed:
            self._followers += 1
            try:
                self._changed.wait_for(
                    lambda: self.epoch != epoch or self.sequence != after or self._closed,
                    timeout_seconds,
                )
            finally:
                self._followers -= 1
            if self._closed:
                raise RegistryUnavailable
            if self.epoch != epoch or self.sequence == after:
                return self._since(epoch, after, None)
        time.sleep(max(0.0, asked_at + FOLLOW_GATHER_SECONDS - time.monotonic()))
        return self.since(epoch, after, MAX_EVENTS_IN_REPLY)

    def close(self) -> None:
        """Let no thread wait any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _since(self, epoch: str, after: int, limit: int | None) -> list[Event] | None:
        new = self.sequence - after
        if epoch != self.epoch or not 0 <= new <= len(self._kept):
            return None
        if limit is not None and new > limit:
            first = len(self._kept) - new
            return list(islice(self._kept, first, first + limit))
        # From the end: mostly there are few, and far more are kept.
        found = list(islice(reversed(self._kept), new))
        found.reverse()
        return found
