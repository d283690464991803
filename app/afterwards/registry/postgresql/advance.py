"""The effects of time on tasks: deadlines pass, tasks become due, claims of dead workers end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from afterwards.registry.postgresql import events, measures, series, workers, writing
from afterwards.registry.postgresql import plans as type_plans
from afterwards.registry.postgresql.archive import TransactionArchive
from afterwards.registry.postgresql.columns import Stored, to_stored
from afterwards.registry.postgresql.database import Database, Statement, Transaction
from afterwards.registry.postgresql.due_books import LOOK, MOST_NEW, Due, DueBooks
from afterwards.registry.postgresql.due_books import NEXT as NEXT_DUE
from afterwards.registry.postgresql.exchange import Orders, next_block
from afterwards.registry.postgresql.leases import Leases
from afterwards.registry.postgresql.notices import Wake
from afterwards.registry.postgresql.store import Moment, WorkingStore
from afterwards.registry.postgresql.working_set import (
    Opening,
    WorkingSet,
    complete,
    lock_statement,
)
from afterwards.registry.protocol.base import Worker
from afterwards.registry.state.outbox import RETRY_SECONDS
from afterwards.registry.state.rules import DUE_AT_ONCE

_FENCE: Final = "SELECT 1 FROM afterwards.leader WHERE number = %s FOR SHARE"
_TIME: Final[Statement] = ("SELECT afterwards.wall(), afterwards.elapsed()", ())
_DUE: Final = f"""
(SELECT id::text FROM afterwards.tasks
    WHERE deadline <= afterwards.wall() AND state IN ('scheduled', 'pending')
    AND deadline IS NOT NULL ORDER BY deadline, ord LIMIT {DUE_AT_ONCE})
UNION (SELECT id::text FROM afterwards.tasks
    WHERE backoff_due <= afterwards.elapsed() AND state = 'scheduled'
    AND backoff_due IS NOT NULL ORDER BY backoff_due, ord LIMIT {DUE_AT_ONCE})
UNION (SELECT id::text FROM afterwards.tasks
    WHERE run_at <= afterwards.wall() AND state = 'scheduled' AND delay_seconds IS NULL
    ORDER BY run_at, ord LIMIT {DUE_AT_ONCE})
"""
_NEXT: Final = f"""
SELECT least(
    (SELECT min(deadline) FROM afterwards.tasks
        WHERE deadline IS NOT NULL AND state IN ('scheduled', 'pending')) - afterwards.wall(),
    (SELECT min(backoff_due) FROM afterwards.tasks
        WHERE state = 'scheduled' AND backoff_due IS NOT NULL) - afterwards.elapsed(),
    (SELECT min(run_at) FROM afterwards.tasks
        WHERE state = 'scheduled' AND delay_seconds IS NULL) - afterwards.wall(),
    {NEXT_DUE}
)
"""
# Workers that have ended and hold something, of one service; whether any of that service goes on.
_GONE: Final = f"""
WITH ended AS (
    SELECT w.name, w.service, w.draining, w.over FROM afterwards.workers AS w
    WHERE w.gone AND EXISTS (SELECT FROM afterwards.tasks AS t WHERE t.worker = w.name)
), first AS (SELECT min(service) AS service FROM ended)
SELECT t.id::text, e.name, e.draining, e.over, EXISTS (
    SELECT FROM afterwards.workers AS o WHERE o.service = e.service AND NOT o.gone AND o.joined
) FROM ended AS e JOIN first USING (service) JOIN afterwards.tasks AS t ON t.worker = e.name
ORDER BY t.id LIMIT {DUE_AT_ONCE}
"""
# As an exchange of a worker does: webhooks are not changed by hand meanwhile.
_SHARE_PLANS: Final[Statement] = ("SELECT pg_advisory_xact_lock_shared(1634104421, 0)", ())
_WORKERS: Final = """
SELECT w.name, w.beats, coalesce(a.number, 0) FROM afterwards.workers AS w
LEFT JOIN afterwards.alive AS a ON a.worker = w.name WHERE NOT w.gone AND NOT w.doomed
"""
_DOOM: Final = """
UPDATE afterwards.workers AS w SET doomed = true, joined = false,
    over = coalesce(over, 'worker ' || split_part(name, ':', 2) || ' fell silent'),
    gone = NOT EXISTS (
        SELECT FROM afterwards.workers AS o
        WHERE o.service = w.service AND o.joined AND NOT o.name = ANY (%s)
    )
WHERE name = ANY (%s) RETURNING name
"""
_FORGET_WORKERS: Final = """
DELETE FROM afterwards.workers AS w WHERE (w.gone OR (w.over IS NOT NULL AND NOT w.doomed))
    AND NOT EXISTS (SELECT FROM afterwards.tasks AS t WHERE t.worker = w.name)
"""
_FORGET_ALIVE: Final = """
DELETE FROM afterwards.alive WHERE NOT EXISTS (
    SELECT FROM afterwards.workers WHERE name = worker
)
"""


class NotLeader(Exception):
    """Another process leads by now; nothing of this is written."""


class Advance:
    """The steps of the leader.

    Args:
        orders: places for the tasks that schedules and notices make.
        writer: whose counts are added to.
    """

    def __init__(self, database: Database, opening: Opening, orders: Orders, writer: str) -> None:
        self._database = database
        self._opening = opening
        self._orders = orders
        self._writer = writer
        self._rolls_at = 0.0
        self._waits_for_room = False
        self.seconds_to_next = 0.0
        """Until something is due that is known of; from the last `step` on."""

    def silent(self, number: int, leases: Leases, now: float) -> list[str]:
        """End the leases of workers that have been silent for too long; their names.

        One whose service has another worker is killed by that, and gone when its process is. Where
        no other worker is left to do it, its attempts have stopped by themselves (rule 9).

        Raises:
            NotLeader: another process leads.
        """
        with self._database.transaction() as transaction:
            _require(transaction.run([(_FENCE, (number,))])[0])
            [rows] = transaction.run([(_WORKERS, ())])
            names = leases.look(((name, beats, alives) for name, beats, alives in rows), now)
            if names:
                transaction.run([(_DOOM, (names, names))])
            transaction.commit()
        return names

    def step(self, number: int) -> set[str]:
        """Let time do its work; the topics of what has changed.

        Args:
            number: of this leader.

        Raises:
            NotLeader: another process leads.
        """
        topics: set[str] = set()
        most = DUE_AT_ONCE
        while most >= DUE_AT_ONCE:
            most, told = self._step(number)
            topics |= told
        with self._database.transaction() as transaction:
            *_, [(seconds,)] = transaction.run(
                [(_FORGET_WORKERS, ()), (_FORGET_ALIVE, ()), (events.FORGET, ()), (_NEXT, ())]
            )
            measures.add_up_ended(transaction)
            transaction.commit()
        self._roll(number)
        least = RETRY_SECONDS if self._waits_for_room else 0.0
        self.seconds_to_next = 60.0 if seconds is None else max(least, seconds)
        return topics

    def _roll(self, number: int) -> None:
        """Store the buckets of the series that are over."""
        if time.monotonic() < self._rolls_at:
            return
        with self._database.transaction() as transaction:
            _require(transaction.run([(_FENCE, (number,))])[0])
            seconds = series.roll(transaction)
            transaction.commit()
        self._rolls_at = time.monotonic() + seconds

    def _step(self, number: int) -> tuple[int, set[str]]:
        with self._database.transaction() as transaction:
            fence, _, [time], due, held, [look] = transaction.run(
                [(_FENCE, (number,)), _SHARE_PLANS, _TIME, (_DUE, ()), (_GONE, ()), LOOK]
            )
            _require(fence)
            self._waits_for_room = False
            if not (due or held or Due._make(look).anything):
                return 0, set()
            archive = TransactionArchive(transaction)
            working = self._open(transaction, archive, time)
            self._enter_gone(working, held)
            books = DueBooks(working, archive, Due._make(look))
            books.read()
            ids = [row[0] for row in (*due, *held)]
            self._lock(working, books, ids, {row[0] for row in held if not row[4]})
            working.rules.advance()
            goes_on = books.made_progress()
            self._waits_for_room = books.due.anything and not goes_on
            written = writing.statements(working, self._writer, ())
            topics = Wake.after(working).topics
            transaction.commit([*written, *books.written()])
        self._orders.last_created_at = max(self._orders.last_created_at, working.last_created_at)
        return DUE_AT_ONCE if goes_on else len(ids), topics

    def _lock(
        self, working: WorkingSet, books: DueBooks, ids: Sequence[str], whole: set[str]
    ) -> None:
        """Lock what is due, and the keys of what is made, and take it in.

        Args:
            whole: those of `ids` that were lost with their whole service.
        """
        keys = books.concurrency_keys
        statement = lock_statement([*ids, *books.to_withdraw], books.unique_keys, keys)
        [rows] = working.transaction.run([statement])
        locked = [to_stored(row) for row in rows]
        for stored in locked:
            working.store.take_in(_may_end_the_service(stored, whole))
        complete(working, [stored.task for stored in locked], keys, ())
        type_plans.restrict(working.store, working.plans, None)

    def _open(
        self, transaction: Transaction, archive: TransactionArchive, time: Sequence[float]
    ) -> WorkingSet:
        order = self._orders.take(MOST_NEW, lambda: next_block(self._database))
        rules = self._opening.rules(archive, order, self._orders.last_created_at)
        store, moment = rules.store, rules.clock
        assert isinstance(store, WorkingStore)
        assert isinstance(moment, Moment)
        archive.serve(store)
        moment.now, moment.passed = time
        entry = workers.at(*time)
        plans = type_plans.load(transaction)
        return WorkingSet(transaction, rules, store, moment, entry, plans)

    def _enter_gone(self, working: WorkingSet, held: Iterable[Sequence[Any]]) -> None:
        """Enter workers that have ended; they are of one service."""
        for _, name, draining, over, others_live in held:
            worker = Worker.parse(name)
            record = working.rules.ledger.enter(worker, float("inf"))
            record.gone, record.draining, record.over = True, draining, over
            # A loss with the whole service counts otherwise than one with a worker (rule 22).
            working.rules.workers.service = worker.service if others_live else ""


def _may_end_the_service(stored: Stored, ids: set[str]) -> Stored:
    return stored._replace(solo=True) if stored.task.id in ids else stored


def _require(fence: Sequence[Any]) -> None:
    if not fence:
        raise NotLeader


def fence(number: int) -> Statement:
    """Gives a row if the leader of this number still leads, and keeps others from leading."""
    return _FENCE, (number,)
