"""Follows a registry's events over a connection of its own, and begins again when it breaks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from tenacity import (
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_exponential,
)

from afterwards.errors import AfterwardsError
from afterwards.logs import get_logger
from afterwards.registry.protocol.answers import Events
from afterwards.registry.protocol.base import Registry

log = get_logger(__name__)

FOLLOW_SECONDS: Final = 5.0
"""How long one call waits for events; also how long a stopped follower may linger in it."""


class _NoAnswerError(Exception):
    """The registry was not reached."""


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
        """Whether it was stopped."""
        return self._over.is_set()

    def start(self) -> None:
        """Follow until stopped."""
        threading.Thread(target=self._run, name="events", daemon=True).start()

    def stop(self) -> None:
        """Deliver nothing more. Does not wait for the thread."""
        self._over.set()

    def _run(self) -> None:
        while not self.is_over:
            attempts = Retrying(
                retry=retry_if_exception_type(_NoAnswerError),
                wait=wait_exponential(multiplier=0.02, max=0.5),
                stop=stop_when_event_set(self._over),
                sleep=sleep_using_event(self._over),
                reraise=True,
            )
            try:
                attempts(self._follow)
            except _NoAnswerError:
                return

    def _follow(self) -> None:
        """One connection from its making to its end.

        Raises:
            _NoAnswerError: it gave no answer at all.
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
                raise _NoAnswerError

    def _take(self, events: Events) -> None:
        self._epoch = events.epoch
        if events.reset:
            self._sequence = events.sequence
        elif events.events:
            self._sequence = events.events[-1].sequence
        if not self.is_over:
            # Without events, too: it tells that the registry answers.
            self._deliver(self, events)
