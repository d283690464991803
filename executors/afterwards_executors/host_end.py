"""The callbacks at the orderly end of a host, such as closing what its calls have opened."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

log = logging.getLogger(__name__)

_callbacks: Final[list[Callable[[], Any]]] = []


def at_end(callback: Callable[[], Any]) -> None:
    """Have `callback` called once, when this host ends in order; the last to come is the first.

    A coroutine function runs on the event loop of the host's calls, or on one of its own where
    they have none. A host that is killed calls nothing. Time is short: whatever has not ended
    after two seconds is killed.
    """
    _callbacks.append(callback)


async def run_callbacks_on_loop() -> None:
    """Call what has been registered, on the running event loop."""
    while _callbacks:
        callback = _callbacks.pop()
        try:
            value = callback()
            if hasattr(value, "__await__"):
                await value
        except Exception:
            log.exception("what was to be done at the end of a host has failed")


def run_callbacks() -> None:
    """Call what has been registered and not been called yet."""
    if _callbacks:
        import asyncio  # noqa: PLC0415 - most hosts of plain functions have no use for it

        asyncio.run(run_callbacks_on_loop())
