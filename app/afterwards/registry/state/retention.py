"""Retention: finished tasks are deleted a while after their end, a few in each group."""

from __future__ import annotations

from typing import Final

from afterwards.errors import JournalUnavailable
from afterwards.logs import get_logger
from afterwards.registry.journal.base import Journal
from afterwards.registry.protocol.clock import Clock
from afterwards.registry.state.activity import OldActivity
from afterwards.registry.state.ages import TrustedTime
from afterwards.registry.state.store import TaskStore

log = get_logger(__name__)

PAUSE_SECONDS: Final = 60.0
"""Between two passes over the stored tasks."""

STEP_PAUSE_SECONDS: Final = 0.05
"""Between two steps of a pass, so that deleting never takes much of the committer's time."""

NOTE_SECONDS: Final = 30.0
"""So old the journal's note of the time becomes while tasks are written."""


class Retention:
    """Decides what to delete next.

    Args:
        time: what ages go by.
        retention_seconds: how long a task is kept after its end, and its id after that.
        activity_seconds: how long what people have done by hand is remembered.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        time: TrustedTime,
        retention_seconds: float,
        activity_seconds: float,
    ) -> None:
        self.activity = OldActivity(journal, clock, time, activity_seconds)
        self._journal = journal
        self._clock = clock
        self._time = time
        self._noted_at: float | None = None
        self._seconds = retention_seconds
        self._next_step = clock.elapsed()
        self._after = 0
        self._next_after: int | None = 0
        self.forget_before: float | None = None
        """Ids deleted before this time need not be remembered any more; None: not now."""

    def step(self, store: TaskStore) -> None:
        """Delete a few tasks that are due for it, if it is time to."""
        self.activity.step()
        now = self._clock.elapsed()
        if now < self._next_step:
            return
        cutoff = self._time.now() - self._seconds
        try:
            overdue, self._next_after = self._journal.overdue(cutoff, self._after)
        except JournalUnavailable as error:
            log.warning("retention cannot read the journal; trying again", error=str(error))
            self._pause(now)
            return
        overdue = [task for task in overdue if not store.is_awaited(task)]
        for task in overdue:
            kept = store.get(task.id)
            if store.is_deleted(task.id):
                # By hand, a moment ago.
                continue
            if kept is None or kept.state.is_final:
                store.delete(task)
        if self._next_after is None and self._after == 0 and not overdue:
            # Nothing to delete in a whole pass: nothing to write either.
            self._pause(now)
            return
        if self._next_after is not None and not overdue:
            # Nothing of this step has to be durable first.
            self._after = self._next_after
        if self._next_after is None:
            self.forget_before = cutoff
        self._next_step = now + STEP_PAUSE_SECONDS

    def time_to_note(self) -> float | None:
        """The time that ages go by, if the journal should have it; None: it has, about."""
        noted, now = self._noted_at, self._clock.elapsed()
        return self._time.now() if noted is None or now - noted >= NOTE_SECONDS else None

    def noted(self) -> None:
        """The journal has the time."""
        self._noted_at = self._clock.elapsed()

    def committed(self) -> None:
        """The step's deletions are durable: go on after them."""
        self.activity.committed()
        if self._next_after is None and self.forget_before is not None:
            self._pause(self._clock.elapsed())
        elif self._next_after is not None:
            self._after = self._next_after
        self.forget_before = None

    def _pause(self, now: float) -> None:
        self._after = 0
        self._next_after = 0
        self._next_step = now + PAUSE_SECONDS
