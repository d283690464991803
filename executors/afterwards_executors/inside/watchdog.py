"""Notices when a call keeps the event loop from its work, and says which call it is."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable
from contextvars import Context
from time import monotonic
from types import FrameType
from typing import Final

from afterwards_executors.frames import Kind, frame
from afterwards_executors.inside.tasks import call_of
from afterwards_executors.inside.wire import Wire

_TICK_SECONDS: Final = 0.25
_NOTICED_SECONDS: Final = 0.1
"""A loop that is later than this was kept from its work."""
_MAX_STACK_BYTES: Final = 8_000


class Watchdog:
    """Has the loop tick, and a thread of its own that sees when it does not.

    Args:
        blocked_seconds: after so long without a tick it says who keeps the loop.
        on_tick: called by the loop several times a second; must not raise.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        wire: Wire,
        blocked_seconds: float,
        on_tick: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._wire = wire
        self._blocked_seconds = blocked_seconds
        self._on_tick = on_tick
        self._context = Context()
        self._ticked_at = monotonic()
        self._kept_seconds = 0.0
        self._thread_id = threading.get_ident()

    def start(self) -> None:
        """Begin to tick and to watch. To be called in the thread of the loop."""
        self._tick()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def kept_seconds(self) -> float:
        """The time for which the loop has been kept from its work so far, all in all."""
        return self._kept_seconds + self._late_seconds()

    def _late_seconds(self) -> float:
        late = monotonic() - self._ticked_at - _TICK_SECONDS
        return late if late > _NOTICED_SECONDS else 0.0

    def _tick(self) -> None:
        self._kept_seconds += self._late_seconds()
        self._ticked_at = monotonic()
        self._loop.call_later(_TICK_SECONDS, self._tick, context=self._context)
        self._on_tick()

    def _watch(self) -> None:
        told_at = 0.0
        while True:
            threading.Event().wait(min(1.0, self._blocked_seconds / 4))
            ticked_at = self._ticked_at
            if monotonic() - ticked_at < self._blocked_seconds + _TICK_SECONDS:
                continue
            if ticked_at != told_at:
                told_at = ticked_at
                self._tell()

    def _tell(self) -> None:
        task = asyncio.current_task(self._loop)
        call = call_of(task)
        found: FrameType | None = sys._current_frames().get(self._thread_id)  # noqa: SLF001 - documented
        stack = "".join(traceback.format_stack(found)).encode(errors="replace")
        self._wire.send(frame(Kind.BLOCKED, call, stack[-_MAX_STACK_BYTES:]))
