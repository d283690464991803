"""An event loop in a thread of its own, for executors that are started where none runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable


def own_loop(name: str) -> tuple[asyncio.AbstractEventLoop, Callable[[float], None]]:
    """A running loop, and what stops and closes it within so many seconds.

    Raises:
        RuntimeError, OSError, MemoryError: threads, descriptors or memory have run out.
    """
    loop = asyncio.new_event_loop()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        loop.close()

    thread = threading.Thread(target=serve, name=name, daemon=True)
    try:
        thread.start()
    except BaseException:
        loop.close()
        raise

    def stop(timeout_seconds: float) -> None:
        if thread.is_alive():
            try:
                loop.call_soon_threadsafe(loop.stop)
            except RuntimeError:
                return  # closed just now
            thread.join(timeout_seconds)

    return loop, stop
