"""One exchange: a transaction that reads and locks, lets the rules decide, writes and commits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from afterwards.access.meters import Left
from afterwards.errors import AfterwardsError, NotJoined, StaleReport
from afterwards.lifecycle import TaskState
from afterwards.registry.postgresql import plans, shares, workers, writing
from afterwards.registry.postgresql.database import Database, Statement
from afterwards.registry.postgresql.measures import Measures
from afterwards.registry.postgresql.notices import Wake
from afterwards.registry.postgresql.working_set import Caller, Opening, WorkingSet
from afterwards.registry.protocol.answers import Answer, Claim, Event, ProgressMark
from afterwards.registry.protocol.base import Worker
from afterwards.registry.protocol.key_requests import Share
from afterwards.registry.protocol.requests import (
    ABOUT_THE_WORKER,
    Beat,
    Held,
    Probe,
    Progress,
    Request,
    Scrape,
)

ORDERS_AT_ONCE: Final = 100_000
"""So many places in the order of acceptance a process takes at once (`afterwards.orders`)."""
_MARK_TOLD: Final = """
UPDATE afterwards.tasks SET told = %s WHERE id = ANY (%s::uuid[])
"""
_PROBE: Final = """
INSERT INTO afterwards.probe VALUES (%s, afterwards.wall())
ON CONFLICT (writer) DO UPDATE SET at = excluded.at
"""
_PUT_PROGRESS: Final = """
INSERT INTO afterwards.progress VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (task) DO UPDATE SET attempt = excluded.attempt, fraction = excluded.fraction,
    message = excluded.message, at = excluded.at
"""


class Orders:
    """Places in the order of acceptance: each process has blocks of them, which no other has."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = self._end = 0
        self.last_created_at = 0.0
        """`created_at` of the task that this process has accepted last."""

    def take(self, number: int, block: Callable[[], int]) -> int:
        """The first of so many places in a row.

        Args:
            block: gives the first place of a new block.
        """
        with self._lock:
            if self._next + number > self._end:
                self._next = block()
                self._end = self._next + ORDERS_AT_ONCE
            first = self._next
            self._next += number
            return first


class Exchange:
    """The requests of one call, or some of them, as one transaction."""

    def __init__(
        self,
        database: Database,
        opening: Opening,
        orders: Orders,
        caller: Caller,
        *,
        writer: str,
        measures: Measures,
        reads: frozenset[type],
    ) -> None:
        self._database = database
        self._opening = opening
        self._orders = orders
        self._writer = writer
        self._measures = measures
        self._caller = caller
        self._reads = reads
        self.answers: list[Answer] = []
        """One for each request; None in the place of reads, which come after."""
        self.claims: list[Claim] = []
        self.cancels: list[Held] = []
        self.keys_version = 0
        self.commit_seconds = 0.0
        """The time that the last round trip took."""
        self.wake = Wake()
        """The topics to tell of, once it is committed."""
        self._progress: list[tuple[Progress, Event]] = []

    def carry_out(self, requests: Sequence[Request], most_new: int) -> WorkingSet:
        """Do it; what has come of it is in the attributes.

        Args:
            most_new: the most tasks that the requests bring.

        Raises:
            Conflict: another transaction came first, and nothing is written.
            JournalUnavailable: the database refuses, and nothing is written.
            DatabaseUnreachable: it is not known what is written.
        """
        with self._database.transaction() as transaction:
            order = self._orders.take(most_new, lambda: next_block(self._database))
            working = self._opening.open(
                transaction,
                self._caller,
                requests,
                next_order=order,
                last_created_at=self._orders.last_created_at,
            )
            self.answers = self._apply_all(working, requests)
            worker, connection = self._caller
            if worker is not None:
                self.claims = working.rules.assign(worker, connection)
                self.cancels = self._cancels(working, worker, connection)
            self.keys_version = max(working.entry.keys_version, working.rules.keys.version)
            statements = self._statements(working, requests)
            began = time.monotonic()
            transaction.commit(statements)
            self.commit_seconds = time.monotonic() - began
        self._tell(working)
        return working

    def _apply_all(self, working: WorkingSet, requests: Sequence[Request]) -> list[Answer]:
        """Apply them in their order, but progress last: what has ended meanwhile makes it stale."""
        answers: list[Answer] = [None] * len(requests)
        places = range(len(requests))
        for place in sorted(places, key=lambda place: type(requests[place]) is Progress):
            answers[place] = self._apply(working, requests[place])
        return answers

    def _tell(self, working: WorkingSet) -> None:
        """Log what is committed of webhooks and declared schedules, and is worth a line."""
        working.rules.deliveries.commit()
        declarations = working.rules.declarations
        declarations.told_of = self._opening.declarations_told_of
        declarations.commit()
        self._opening.declarations_told_of = declarations.told_of

    def _apply(self, working: WorkingSet, request: Request) -> Answer:
        kind = type(request)
        if kind in self._reads or kind is Probe:
            return None
        try:
            if kind is Progress:
                return self._note_progress(working, request)
            if kind is Share:
                return self._share(working, request)
            return working.rules.apply(*self._caller, request)
        except AfterwardsError as error:
            return error.with_traceback(None)

    def _share(self, working: WorkingSet, request: Any) -> Mapping[str, Left]:
        worker, connection = self._caller
        if worker is not None:
            working.rules.workers.require(worker, connection)
        return shares.share(working.transaction, working.rules, worker, request)

    def _note_progress(self, working: WorkingSet, request: Any) -> StaleReport | None:
        worker, connection = self._caller
        if worker is not None:
            working.rules.workers.require(worker, connection)
        task = working.store.get(request.task_id)
        if task is None:
            return StaleReport(request.task_id, request.attempt, 0, "finished or unknown")
        if task.state is not TaskState.PROCESSING or task.attempt != request.attempt:
            return StaleReport(task.id, request.attempt, task.attempt, task.state.value)
        at = working.entry.wall
        mark = ProgressMark(task.attempt, request.fraction, request.message, at)
        event = Event(0, task.id, task.type, task.state, at, task.reason, task.attempt, mark)
        self._progress.append((request, event))
        return None

    def _cancels(self, working: WorkingSet, worker: Worker, connection: int) -> list[Held]:
        """The cancellations that the worker is to be told of, each once for a connection."""
        record = working.rules.workers.find(worker, connection)
        if record is None:
            return []
        told: dict[str, Held] = {}
        for held in working.cancels:
            task = working.store.get(held.task_id)
            if task is None or task.worker == str(worker):
                told[held.task_id] = held
        told.update(record.untold)
        return list(told.values())

    # -- what is written -----------------------------------------------------------------------

    def _statements(self, working: WorkingSet, requests: Sequence[Request]) -> list[Statement]:
        events = [event for _, event in self._progress]
        written = self._about_the_worker(working, requests)
        written += writing.statements(working, self._writer, events)
        for request, event in self._progress:
            mark = event.progress
            assert mark is not None
            written.append((_PUT_PROGRESS, (request.task_id, *mark)))
        if self.cancels:
            ids = [held.task_id for held in self.cancels]
            written.append((_MARK_TOLD, (self._caller.connection, ids)))
        if any(type(request) is Probe for request in requests):
            written.append((_PROBE, (self._writer,)))
        self.wake = Wake.after(working)
        return written

    def _about_the_worker(
        self, working: WorkingSet, requests: Sequence[Request]
    ) -> list[Statement]:
        written: list[Statement] = []
        said = working.store.said_limits
        if said is not None and dict(said) != dict(working.plans.limits):
            written += plans.limits_written(said)
        accepted = any(
            type(request) in ABOUT_THE_WORKER and not isinstance(answer, NotJoined)
            for request, answer in zip(requests, self.answers, strict=True)
        )
        worker, connection = self._caller
        if worker is not None and working.rules.workers.find(worker, connection) is not None:
            written += [
                self._measures.report(str(worker), request.counts)
                for request in requests
                if isinstance(request, Beat | Scrape) and request.counts is not None
            ]
        if accepted and self._caller.worker is not None:
            record = working.rules.ledger.find(str(self._caller.worker))
            if record is not None:
                written.append(workers.put(record))
        return written


def next_block(database: Database) -> int:
    """The first of `ORDERS_AT_ONCE` places that no other process has."""
    with database.transaction() as transaction:
        [[(first,)]] = transaction.run([("SELECT nextval('afterwards.orders')", ())])
        transaction.commit()
    return int(first)
