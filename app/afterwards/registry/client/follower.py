"""Follows a registry's events over a connection of its own, and begins again when it breaks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Final

from afterwards.errors import AfterwardsError
from afterwards.logs import get_logger
from afterwards.registry.client.reconnecting import NotConnected, keep_connected
from afterwards.registry.protocol.answers import Events
from afterwards.registry.protocol.base import Registry

log = get_logger(__name__)

FOLLOW_SECONDS: Final = 5.0
"""The time for which one call waits for events; a stopped follower may linger in it as long."""


class EventFollower:
    """One thread, one connection, one call at a time.

    Args:
        connect: gives the registry, for the calling thread only.
        deliver: is called with each answer, the first of which is a reset. The next is asked for
            when it has returned.
        lost: is called when the connection broke, or could not be made.
    """

    def __init__(
        self,
        connect: Callable[[], Registry],
        deliver: Callable[[EventFollower, Events], None],
        lost: Callable[[EventFollower], None],
    ) -> None:
        self._connect = connect
        self._deliver = deliver
        self._lost = lost
        self._epoch = ""
        self._sequence = 0
        self._over = threading.Event()

    @property
    def is_over(self) -> bool:
        """True once it was stopped."""
        return self._over.is_set()

    def start(self) -> None:
        """Follow until stopped."""
        keep = partial(keep_connected, self._follow, self._over, self._over.is_set)
        threading.Thread(target=keep, name="events", daemon=True).start()

    def stop(self) -> None:
        """Deliver nothing more. Does not wait for the thread."""
        self._over.set()

    def _follow(self) -> None:
        """One connection from its making to its end.

        Raises:
            NotConnected: it gave no answer at all.
        """
        answered = False
        try:
            registry = self._connect()
            while not self.is_over:
                events = registry.follow(self._epoch, self._sequence, FOLLOW_SECONDS)
                answered = True
                self._take(events)
        except (OSError, EOFError, AfterwardsError):
            pass  # the connection that exchanges notices it, too, and says so
        except Exception:
            log.exception("following the registry's events failed; connecting again")
        if not self.is_over:
            self._lost(self)
            if not answered:
                raise NotConnected

    def _take(self, events: Events) -> None:
        self._epoch = events.epoch
        if events.reset:
            self._sequence = events.sequence
        elif events.events:
            self._sequence = events.events[-1].sequence
        if not self.is_over:
            # Without events, too: it tells that the registry answers.
            self._deliver(self, events)
