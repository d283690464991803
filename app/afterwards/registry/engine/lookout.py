"""Keeps an eye on the journal's files: what has no name any more is lost with its process."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from afterwards.errors import JournalUnavailable
from afterwards.logs import get_logger
from afterwards.registry.journal.base import Journal
from afterwards.registry.protocol.clock import Clock

log = get_logger(__name__)

LOOK_SECONDS: Final = 0.5
"""Between two looks at all there is to see."""

_PROBLEM: Final = (
    "one of its files was moved, replaced, removed or cut short while the service ran; the "
    "service's log says which, and what to do"
)


class Lookout:
    """The state of the journal files as last seen: whole, and under the names they were opened by.

    A moved file that comes back is seen, too.
    """

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._next_look = clock.elapsed()
        self.problem: JournalUnavailable | None = None
        """Why nothing may be accepted; None: all are in place."""

    def require_place(self) -> None:
        """Refuse to write to a file without a name.

        Raises:
            JournalUnavailable: one was not in its place when last seen.
        """
        if self.problem is not None:
            raise JournalUnavailable(self.problem.problem, self.problem.place)

    def look_if_due(self) -> None:
        """Look at names and files, unless that has just been done."""
        if self._clock.elapsed() >= self._next_look:
            self._next_look = self._clock.elapsed() + LOOK_SECONDS
            self._note(self._journal.astray())

    def look_after_commit(self) -> None:
        """Look whether what was just written has a name; the files themselves cost more to look at.

        What one group writes into a file that was cut short is put together with all before.
        """
        if self.problem is None:
            self._note(self._journal.astray(by_names=True))

    def _note(self, path: Path | None) -> None:
        """Log what has changed."""
        if path is None:
            if self.problem is not None:
                log.info("all files of the journal are in their places again")
            self.problem = None
        elif self.problem is None or self.problem.place != str(path):
            self.problem = JournalUnavailable(_PROBLEM, str(path))
            log.critical(
                "a file of the journal was moved, replaced, removed or cut short; accepting "
                "nothing until it is in its place again",
                path=str(path),
                todo=self._journal.safeguard(path),
            )
