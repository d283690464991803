"""Wakes any number of listeners without keeping the event loop from everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from afterwards.events.listeners import FeedListener

AT_ONCE: Final = 50
PAUSE_SECONDS: Final = 0.000_25
"""For each listener that was woken; to send it something takes about a quarter of that."""


class Rounds:
    """Listeners that are all told the same. A round wakes each once, a few at a time.

    Args:
        begin: is called when a round begins.
    """

    def __init__(self, begin: Callable[[], None]) -> None:
        self._begin = begin
        self._listeners: set[FeedListener] = set()
        self._left: list[FeedListener] = []
        self._under_way = False
        self._another = False

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, listener: FeedListener) -> None:
        """Wake it from now on."""
        self._listeners.add(listener)

    def discard(self, listener: FeedListener) -> None:
        """Wake it no more."""
        self._listeners.discard(listener)

    def start(self) -> None:
        """Make a round: now, or when the one under way is over."""
        self._another = True
        if not self._under_way:
            self._go_on()

    def wake_all(self) -> None:
        """Wake everybody at once."""
        for listener in self._listeners:
            listener.wake()

    def _go_on(self) -> None:
        if not self._left and self._another:
            self._another = False
            self._left = list(self._listeners)
            self._begin()
        now, self._left = self._left[:AT_ONCE], self._left[AT_ONCE:]
        for listener in now:
            listener.wake()
        self._under_way = bool(now)
        if now:
            asyncio.get_running_loop().call_later(len(now) * PAUSE_SECONDS, self._go_on)
