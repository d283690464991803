"""A key that has changed reaches what is stored already: step by step, beside the work.

A thread reads and seals a step, leaves it to the committer, and waits until it is durable. So a
step costs the groups of others no sync of its own, and what ends a group that fails is the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from afterwards.errors import JournalUnavailable
from afterwards.logs import get_logger
from afterwards.registry.journal.base import Journal
from afterwards.registry.journal.resealing import Step
from afterwards.system.trouble import Trouble

log = get_logger(__name__)

SHARE: Final = 0.1
"""The part of one processor's time that it takes, at most."""

_SAY_SECONDS: Final = 60.0


class Resealer:
    """Has the journal's values sealed anew, unless all are.

    Args:
        wake: has the committer write a group soon, which takes `staged` with it.
        again_seconds: the pause after a step that could not be read or written.
    """

    def __init__(
        self, journal: Journal, wake: Callable[[], None], again_seconds: float = 5.0
    ) -> None:
        self._again_seconds = again_seconds
        self._journal = journal
        self._wake = wake
        self._closing = threading.Event()
        self._written = threading.Event()
        self._said_at = time.monotonic()
        self._trouble = Trouble(log, "values cannot be read to be sealed anew; trying again")
        self._refused = False
        """The step staged last was put off."""
        self.staged: Step | None = None
        """The step that the next group has to write. Set here, taken by the committer."""
        self._thread = threading.Thread(target=self._run, name="resealer", daemon=True)

    def start(self) -> None:
        """Begin, if there is anything to do."""
        left = self._journal.left_to_reseal()
        if left:
            log.info("stored tasks are being sealed with the key that writes", tasks=left)
            self._thread.start()

    def stage(self) -> bool:
        """Read and seal a step, and leave it to be written; False: there is none."""
        self._written.clear()
        self._refused = False
        self.staged = self._journal.to_reseal()
        return self.staged is not None

    def committed(self) -> None:
        """Take note that the staged step is durable."""
        self.staged = None
        self._written.set()

    def put_off(self) -> None:
        """Let the group be written without it: there may be no room for more than its own."""
        if self.staged is not None:
            self.staged = None
            self._refused = True
            self._written.set()

    def close(self) -> None:
        """Read nothing more. What is not durable by now is done after the next start."""
        self._closing.set()
        self._written.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            began = time.perf_counter()
            try:
                if not self.stage():
                    return
            except JournalUnavailable as error:
                self._trouble.failed(error)
                self._closing.wait(self._again_seconds)
                continue
            self._trouble.over()
            took = time.perf_counter() - began
            self._wake()
            # Both are set at the end, in this order.
            if not self._closing.is_set():
                self._written.wait()
            self._say()
            self._closing.wait(self._again_seconds if self._refused else took * (1 / SHARE - 1))

    def _say(self) -> None:
        now = time.monotonic()
        left = self._journal.left_to_reseal()
        if left and now - self._said_at >= _SAY_SECONDS:
            self._said_at = now
            log.info("stored tasks are being sealed with the key that writes", tasks=left)
