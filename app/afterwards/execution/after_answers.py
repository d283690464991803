"""Puts off what can wait until the answers of the event loop's turn are on their way."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

_TURNS: Final = 3
"""Turns of the loop: an answer of the registry wakes the coroutines that wait for it, these write
their answers, and what was written is sent."""


class AfterAnswers:
    """Calls what it is given `_TURNS` turns of the event loop later.

    An attempt takes the interpreter from the coroutines that are about to answer, so that clients
    would be answered later than their tasks are started.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._turns: deque[list[Callable[[], None]]] = deque([] for _ in range(_TURNS))
        """The calls that are due after so many turns; the first list is due after the next turn."""
        self._is_turning = False

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Put off what is given by the thread of this loop, which is the running one."""
        self._loop = loop
        self._thread = threading.get_ident()

    def __call__(self, work: Callable[[], None]) -> None:
        """Call `work`, which must not raise, later.

        What comes from another thread is called at once: that has no answers to write.
        """
        loop = self._loop
        if loop is None or threading.get_ident() != self._thread:
            work()
            return
        self._turns[-1].append(work)
        if not self._is_turning:
            self._is_turning = True
            loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        due = self._turns.popleft()
        self._turns.append([])
        # Before the works: whatever they give is due `_TURNS` after this one.
        self._is_turning = any(self._turns)
        if self._is_turning:
            loop.call_soon(self._turn, loop)
        for work in due:
            work()
