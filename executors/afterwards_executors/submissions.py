"""Calls on their way from any thread to the event loop that looks after them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import Context
from typing import Generic, TypeVar

from afterwards_executors.calls import Call, Calls, starved

C = TypeVar("C", bound=Call)


def soon(loop: asyncio.AbstractEventLoop) -> Callable[..., object]:
    """A function that has this loop call something soon, from any thread.

    Its own thread need not wake it, which costs a write, a read and a turn of the loop.
    """
    try:
        is_own = asyncio.get_running_loop() is loop
    except RuntimeError:
        is_own = False
    return loop.call_soon if is_own else loop.call_soon_threadsafe


class Submissions(Generic[C]):
    """Gathers calls, and wakes the loop once for all that have gathered.

    Args:
        calls: hears of those that cannot be handed over, because memory or descriptors have run
            out.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._left: deque[C] = deque()
        self._is_woken = False

    def add(
        self,
        call: C,
        loop: asyncio.AbstractEventLoop,
        look: Callable[[], None],
        context: Context | None = None,
    ) -> None:
        """Have `look` called on the loop, which takes the call; if that is impossible, end it."""
        try:
            self._left.append(call)
        except MemoryError as error:
            self._calls.finish(call, starved(error))
            return
        try:
            self.wake(loop, look, context)
        except Exception as error:  # noqa: BLE001 - something has run out
            self._take_back(error)

    def wake(
        self,
        loop: asyncio.AbstractEventLoop,
        look: Callable[[], None],
        context: Context | None = None,
    ) -> None:
        """Have `look` called on the loop, unless that is about to happen. Raises what that raises.

        `take` lowers the flag before it looks, so what was left before a raised flag was seen is
        always found. Two threads may both wake the loop; the second look finds nothing.
        """
        if not self._is_woken:
            self._is_woken = True
            try:
                soon(loop)(look, context=context)
            except BaseException:
                self._is_woken = False
                raise

    def take(self) -> Iterator[C]:
        """The calls that have gathered, one after the other. On the loop."""
        self._is_woken = False
        while self._left:
            try:
                call = self._left.popleft()
            except IndexError:
                return  # taken back just now
            yield call

    def _take_back(self, error: Exception) -> None:
        """The loop cannot be woken: end what it has not taken.

        Not one call alone: others may have counted on the same wake-up.
        """
        while True:
            try:
                call = self._left.popleft()
            except IndexError:
                return
            self._calls.finish(call, starved(error))
