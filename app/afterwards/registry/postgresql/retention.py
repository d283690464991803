"""Retention: the leader deletes finished tasks a while after their end, a few in a transaction."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from afterwards.lifecycle import TaskState
from afterwards.registry.journal.activity import MOST_ENTRIES
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
_FORGET_ACTIVITY: Final = """
DELETE FROM afterwards.activity WHERE at < afterwards.wall() - %s
    OR number <= (SELECT max(number) FROM afterwards.activity) - %s
"""
# Those that no rate looks at any more.
_FORGET_STARTS: Final[Statement] = (
    """
DELETE FROM afterwards.starts AS s WHERE s.elapsed < afterwards.elapsed() - coalesce(
    (SELECT t.rate_seconds FROM afterwards.types AS t WHERE t.name = s.type), 0
)
""",
    (),
)


class Ages(NamedTuple):
    """The time for which what is over is kept, in seconds."""

    tasks: float = math.inf
    """After their end; their ids for as long again."""
    activity: float = math.inf
    """Entries of what people have done by hand."""


KEPT: Final = Ages()
"""Nothing is deleted by itself."""


class Retention:
    """Deletes what is due for it. The leader calls it.

    Args:
        writer: whose counts are added to.
        ages: how long it is kept.
    """

    def __init__(self, database: Database, opening: Opening, writer: str, ages: Ages) -> None:
        self._database = database
        self._opening = opening
        self._writer = writer
        self._ages = ages
        self._next_pass = 0.0

    def step(self, fence: Statement, now: float) -> bool:
        """Delete a few, if it is time to; True if something is left that is due.

        Args:
            fence: gives a row if this process still leads, and keeps others from leading.
            now: on a clock that only goes forward.
        """
        if now < self._next_pass:
            return False
        seconds = self._ages.tasks
        with self._database.transaction() as transaction:
            leads, [time], rows, forgotten = transaction.run(
                [fence, _TIME, (_OVERDUE, (_FINAL, seconds)), (_FORGET, (seconds,))]
            )
            if not leads:
                return False
            entries = (_FORGET_ACTIVITY, (self._ages.activity, MOST_ENTRIES))
            transaction.run([entries, _FORGET_STARTS])
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
