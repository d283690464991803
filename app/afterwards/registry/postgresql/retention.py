"""Retention: the leader deletes finished tasks a while after their end, a few in a transaction."""

from __future__ import annotations

from typing import Final

from afterwards.lifecycle import TaskState
from afterwards.registry.postgresql import writing
from afterwards.registry.postgresql.archive import TransactionArchive
from afterwards.registry.postgresql.columns import SELECTED_TO_WORK, to_stored
from afterwards.registry.postgresql.database import Database, Statement, Transaction
from afterwards.registry.postgresql.plans import TypePlans
from afterwards.registry.postgresql.store import Moment, WorkingStore
from afterwards.registry.postgresql.workers import at
from afterwards.registry.postgresql.working_set import Opening, WorkingSet

PAUSE_SECONDS: Final = 60.0
"""Between two passes."""
STEP: Final = 200
"""So many tasks are deleted at once."""

_TIME: Final[Statement] = ("SELECT afterwards.wall(), afterwards.elapsed()", ())
_FINAL: Final = [state.value for state in TaskState if state.is_final]
# A member of a group stays while the task that follows it may read its result.
_OVERDUE: Final = f"""
SELECT {SELECTED_TO_WORK} FROM afterwards.tasks AS t
WHERE t.state = ANY (%s) AND t.finished_at < afterwards.wall() - %s AND NOT EXISTS (
    SELECT FROM afterwards.tasks AS f WHERE f.id = t.task_group AND f.finished_at IS NULL
) LIMIT {STEP} FOR UPDATE SKIP LOCKED
"""
_FORGET: Final = f"""
DELETE FROM afterwards.deleted WHERE id IN (
    SELECT id FROM afterwards.deleted WHERE at < afterwards.wall() - %s ORDER BY at LIMIT {STEP}
) RETURNING 1
"""


class Retention:
    """Deletes what is due for it. The leader calls it.

    Args:
        writer: whose counts are added to.
        seconds: how long a task is kept after its end, and its id after that.
    """

    def __init__(self, database: Database, opening: Opening, writer: str, seconds: float) -> None:
        self._database = database
        self._opening = opening
        self._writer = writer
        self._seconds = seconds
        self._next_pass = 0.0

    def step(self, fence: Statement, now: float) -> bool:
        """Delete a few, if it is time to; True if something is left that is due.

        Args:
            fence: gives a row if this process still leads, and keeps others from leading.
            now: on a clock that only goes forward.
        """
        if now < self._next_pass:
            return False
        with self._database.transaction() as transaction:
            leads, [time], rows, forgotten = transaction.run(
                [fence, _TIME, (_OVERDUE, (_FINAL, self._seconds)), (_FORGET, (self._seconds,))]
            )
            if not leads:
                return False
            working = self._open(transaction, *time)
            for row in rows:
                stored = to_stored(row)
                working.store.take_in(stored)
                working.store.delete(stored.task)
            transaction.commit(writing.statements(working, self._writer, ()))
        goes_on = max(len(rows), len(forgotten)) == STEP
        self._next_pass = now if goes_on else now + PAUSE_SECONDS
        return goes_on

    def _open(self, transaction: Transaction, wall: float, elapsed: float) -> WorkingSet:
        archive = TransactionArchive(transaction)
        rules = self._opening.rules(archive, 0, 0.0)
        store, moment = rules.store, rules.clock
        assert isinstance(store, WorkingStore)
        assert isinstance(moment, Moment)
        archive.serve(store)
        moment.now, moment.passed = wall, elapsed
        return WorkingSet(transaction, rules, store, moment, at(wall, elapsed), TypePlans())
