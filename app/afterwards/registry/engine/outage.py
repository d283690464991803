"""While the journal cannot be written: what is said to whom, and when that is over."""

from __future__ import annotations

from afterwards.errors import JournalLocked, JournalUnavailable
from afterwards.logs import get_logger
from afterwards.registry.journal.base import Group

log = get_logger(__name__)


class Outage:
    """Lasts from a group that could not be written to one that shows that all can be again."""

    def __init__(self) -> None:
        self.is_on = False
        self.is_locked = False
        """True if a group failed last because another process has the journal's lock."""
        self.problem = ""
        """Why a group failed last."""

    def begin(self, error: JournalUnavailable) -> None:
        """A group could not be written; the log hears of the first one."""
        self.problem = error.problem
        self.is_locked = isinstance(error, JournalLocked)
        if not self.is_on:
            log.error(
                "journal cannot be written; refusing tasks until it can",
                error=str(error),
                journal=error.place,
            )
        self.is_on = True

    def refusal(self) -> JournalUnavailable:
        """The answer to a request that needs the journal."""
        return (JournalLocked if self.is_locked else JournalUnavailable)(self.problem)

    def end_if_shown_by(self, group: Group) -> None:
        """A whole group was written."""
        # Reports may still fit on a disk that is full for new tasks: only those, or a probe, show
        # that it is not full any more.
        if self.is_on and (group.probe or any(c.old is None for c in group.changes)):
            log.info("journal can be written again; accepting tasks")
            self.is_on = False
