"""Work on large bodies: beside the event loop, so that others get their turn meanwhile.

A thread does not help against one long call into C, which keeps Python's lock for all of it. It
helps between such calls, and each of those here is short: `afterwards.api.json_body` limits the
lists and objects in a body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from afterwards.system.gc_tuning import collector_paused
from afterwards.system.own_threads import NoThread, OwnThreads

P = ParamSpec("P")
T = TypeVar("T")

LARGE_BYTES: Final = 64 * 1024
"""Work on what is not larger takes a few milliseconds, and less than another thread costs."""

# One: a second would share Python's lock with it, and keep the event loop waiting for longer.
_THREAD: Final = OwnThreads("large-bodies", 1)


async def aside(size: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `function`: here if the body is small, in a thread if it is large.

    Where no thread can be had, it is called here all the same.

    Args:
        size: bytes of the body that it works on.
    """
    if size <= LARGE_BYTES:
        return function(*args, **kwargs)

    # What came before it in this turn of the loop was as large.
    await asyncio.sleep(0)

    def undisturbed() -> T:
        with collector_paused():
            return function(*args, **kwargs)

    try:
        return await _THREAD.run(undisturbed)
    except NoThread:
        return undisturbed()
