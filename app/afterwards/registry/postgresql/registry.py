"""The registry in PostgreSQL: each worker speaks to the database itself, one transaction a call."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from afterwards.errors import JournalUnavailable, NotJoined, RegistryUnavailable, StaleReport
from afterwards.logs import get_logger
from afterwards.registry.postgresql import events, notices, schedules, workers
from afterwards.registry.postgresql.database import Conflict, Database, DatabaseUnreachable
from afterwards.registry.postgresql.exchange import Exchange, Orders
from afterwards.registry.postgresql.fleet import Fleet
from afterwards.registry.postgresql.leader import Keeper
from afterwards.registry.postgresql.machine import Machine
from afterwards.registry.postgresql.measures import Measures
from afterwards.registry.postgresql.migrations import migrate
from afterwards.registry.postgresql.needs import Needs
from afterwards.registry.postgresql.notices import Notices
from afterwards.registry.postgresql.reads import Reads
from afterwards.registry.postgresql.retention import KEPT, Ages
from afterwards.registry.postgresql.statistics import Figures
from afterwards.registry.postgresql.waiting import Watcher
from afterwards.registry.postgresql.working_set import Caller, Opening, WorkingSet
from afterwards.registry.protocol.answers import Answer, Claim, Events, Reply
from afterwards.registry.protocol.base import FOLLOW_GATHER_SECONDS, Worker
from afterwards.registry.protocol.mapping import TaskMapping
from afterwards.registry.protocol.requests import (
    Add,
    AddAll,
    Alive,
    Get,
    Held,
    ReadById,
    Request,
)
from afterwards.registry.state.acceptance import Limits

log = get_logger(__name__)

LONGEST_WATCH_SECONDS: Final = 30.0
_TRIES: Final = 3
"""So often a whole exchange is tried before it is carried out request by request."""
_ALIVE: Final = """
INSERT INTO afterwards.alive AS old
SELECT name, 1, afterwards.wall() FROM afterwards.workers
WHERE name = %s AND connection = %s AND joined
ON CONFLICT (worker) DO UPDATE SET number = old.number + 1, said_at = afterwards.wall()
RETURNING number
"""


@dataclass
class _Outcome:
    """The outcome of the requests so far."""

    answers: list[Answer] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    cancels: list[Held] = field(default_factory=list)
    keys_version: int | None = None


class PostgresqlRegistry(TaskMapping):
    """A `Registry`, and a read-only mapping of ids to tasks. From any thread.

    Args:
        url: of the database, as libpq has them.
        service: whose workers this process speaks for.
        limits: what bounds it, over all services on the database.
        ages: how long what is over is kept.
        machine: the processes of this machine.
    """

    def __init__(
        self,
        url: str,
        service: str,
        limits: Limits | None = None,
        *,
        ages: Ages = KEPT,
        machine: Machine | None = None,
    ) -> None:
        limits = limits or Limits()
        self._database = Database(url)
        with self._database.connect() as connection:
            migrate(connection)
        self._writer = uuid.uuid4().hex
        self._roster = workers.Roster()
        self._opening = Opening(service, limits, self._roster)
        self._orders = Orders()
        self._measures = Measures(self._database, self._writer)
        fleet = Fleet(self._database, limits.lease_seconds)
        self._reads = Reads(self._database, fleet, Figures(self._database, fleet, self._measures))
        self._notices = Notices(self._database, self._writer)
        self._watcher = Watcher(self._database, self._notices, self._roster, self._opening)
        self.keeper = Keeper(
            self._database,
            self._opening,
            self._orders,
            self._notices,
            machine or Machine(),
            name=self._writer,
            lease_seconds=limits.lease_seconds,
            ages=ages,
        )
        self._notices.start()
        self.keeper.start()

    # -- Registry ------------------------------------------------------------------------------

    def exchange(
        self, worker: Worker | None, connection: int, requests: Sequence[Request]
    ) -> Reply:
        if len(requests) == 1 and type(requests[0]) is Alive:
            return Reply([self._hear(worker, connection)], [], [])
        caller = Caller(worker, connection)
        outcome = _Outcome()
        if worker is not None or any(type(r) not in self._reads.kinds for r in requests):
            self._carry_out(caller, requests, outcome)
        else:
            outcome.answers = [self._reads.answer(request) for request in requests]
        keys = None if worker is None else outcome.keys_version
        return Reply(outcome.answers, outcome.claims, outcome.cancels, keys)

    def read(self, requests: Sequence[ReadById]) -> Sequence[Answer]:
        return [self._read(request) for request in requests]

    def watch(self, worker: Worker, connection: int, timeout_seconds: float) -> bool:
        return self._watcher.watch(worker, connection, min(timeout_seconds, LONGEST_WATCH_SECONDS))

    def follow(self, epoch: str, after: int, timeout_seconds: float) -> Events:
        asked_at = time.monotonic()
        ends_at = asked_at + min(timeout_seconds, LONGEST_WATCH_SECONDS)
        while True:
            seen = self._notices.numbers([notices.EVENTS])
            found = events.changes_after(self._database, epoch, after, events.MOST_IN_REPLY)
            left = ends_at - time.monotonic()
            if found.reset or found.events or left <= 0:
                break
            self._notices.wait([notices.EVENTS], seen, left)
            if self._notices.closed:
                raise RegistryUnavailable
        if found.events:
            time.sleep(max(0.0, asked_at + FOLLOW_GATHER_SECONDS - time.monotonic()))
        return found

    def close(self) -> None:
        """Let go of the database."""
        self.keeper.close()
        self._notices.close()
        try:
            self._measures.flush()
        except (Conflict, JournalUnavailable, DatabaseUnreachable) as error:
            log.warning("what was measured last is lost", error=str(error))
        self._database.close()

    # -- how -----------------------------------------------------------------------------------

    def _carry_out(self, caller: Caller, requests: Sequence[Request], outcome: _Outcome) -> None:
        """Carry out requests together; if that cannot be, one after another."""
        problem: JournalUnavailable | None = None
        for tried in range(_TRIES):
            try:
                self._carry_out_once(caller, requests, outcome)
            except Conflict as error:
                log.debug("another transaction came first", error=str(error), tried=tried)
                requests = [_again(request) for request in requests]
            except JournalUnavailable as error:
                problem = error
                break
            else:
                return
        if len(requests) > 1:
            for request in requests:
                self._carry_out(caller, [request], outcome)
        else:
            refused = problem or JournalUnavailable("too many others change the same tasks")
            outcome.answers += [refused for _ in requests]

    def _carry_out_once(
        self, caller: Caller, requests: Sequence[Request], outcome: _Outcome
    ) -> None:
        exchange = Exchange(
            self._database,
            self._opening,
            self._orders,
            caller,
            writer=self._writer,
            measures=self._measures,
            reads=self._reads.kinds,
        )
        name = str(caller.worker)
        schedules.foresee(requests, time.time())
        try:
            working = exchange.carry_out(requests, Needs.of(requests).new)
        except BaseException:
            self._roster.forget(name)
            raise
        if working.record_now is not None:
            self._roster.note(working.record_now)
        self._orders.last_created_at = max(self._orders.last_created_at, working.last_created_at)
        self._notices.tell(exchange.wake.topics)
        self._measure(exchange, working)
        outcome.answers += [
            self._answer(working, request, answer)
            for request, answer in zip(requests, exchange.answers, strict=True)
        ]
        outcome.claims += exchange.claims
        outcome.cancels += exchange.cancels
        outcome.keys_version = exchange.keys_version
        if caller.worker is not None:
            self._watcher.told(name, exchange.keys_version)

    def _measure(self, exchange: Exchange, working: WorkingSet) -> None:
        refused = sum(isinstance(answer, StaleReport) for answer in exchange.answers)
        self._measures.committed(working.store.changes, refused, exchange.commit_seconds)
        try:
            self._measures.flush(now=False)
        except (Conflict, JournalUnavailable, DatabaseUnreachable) as error:
            log.debug("what is measured is written later", error=str(error))

    def _answer(self, working: WorkingSet, request: Request, answer: Answer) -> Answer:
        if type(request) not in self._reads.kinds:
            return answer
        task = working.store.get(request.task_id) if type(request) is Get else None
        return task or self._read(request)

    def _read(self, request: Any) -> Answer:
        try:
            return self._reads.answer(request)
        except JournalUnavailable as error:
            return error

    def _hear(self, worker: Worker | None, connection: int) -> NotJoined | None:
        with self._database.transaction() as transaction:
            [rows] = transaction.run([(_ALIVE, (str(worker), connection))])
            transaction.commit()
        return None if rows else NotJoined(str(worker))


def _again(request: Request) -> Request:
    """The same, but looked up first: another process may have been told the same."""
    return request._replace(again=True) if isinstance(request, Add | AddAll) else request
