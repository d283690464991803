"""The asyncio tasks of a host: each knows which call it is of, and is that call's alone."""

from __future__ import annotations

import asyncio
from typing import Any

from afterwards_executors.progress import CURRENT


class CallTask(asyncio.Task[Any]):
    """A task of a call, or of none, if it was made outside of any."""

    def __init__(self, coroutine: Any, **options: Any) -> None:
        context = options.get("context")
        line = CURRENT.get(None) if context is None else context.get(CURRENT)
        self.call: int = getattr(line, "number", 0)
        """The call's number, or 0."""
        super().__init__(coroutine, **options)

    def cancel(self, msg: Any = None) -> bool:
        """Cancel it; a call that would cancel the task of another is ignored.

        `asyncio.all_tasks` has them all, and "cancel everything" is how many programs end.
        """
        call = getattr(CURRENT.get(None), "number", 0)
        if call and self.call != call:
            return False
        return super().cancel(msg)


def make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> CallTask:
    """A task factory for event loops."""
    return CallTask(coroutine, loop=loop, **options)


def call_of(task: asyncio.Task[Any] | None) -> int:
    """The number of the call that a task is of, or 0."""
    return getattr(task, "call", 0)
