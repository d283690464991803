"""The guard of a registry process, in a worker whose service has no master to look after it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from afterwards.logs import get_logger
from afterwards.system.trouble import Trouble

log = get_logger(__name__)

GUARD_SECONDS: Final = 0.5
"""The period in which it is looked after."""


class Guard:
    """Looks after the registry process again and again, from `start` to `stop`.

    In a thread of its own, which lasts: it reads files and starts a process, and the kernel ends
    that process with the thread that has started it.

    Args:
        look: looks after it once.
    """

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registry-guard", daemon=True)

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for that."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        trouble = Trouble(log, "registry process cannot be looked after; trying again")
        while not self._over.wait(GUARD_SECONDS):
            with trouble.survived():
                self._look()
