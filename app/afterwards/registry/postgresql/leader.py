"""The leader: one process at a time that sees, for all machines, to what happens by itself.

The leader has a row, with a number that grows with each leader. Each of its transactions locks that
row and repeats the number, so that one that was taken for dead and comes back writes nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Final

from afterwards.errors import AfterwardsError
from afterwards.logs import get_logger
from afterwards.registry.postgresql.advance import Advance, NotLeader, fence
from afterwards.registry.postgresql.database import (
    Conflict,
    Database,
    DatabaseUnreachable,
    Statement,
)
from afterwards.registry.postgresql.exchange import Orders
from afterwards.registry.postgresql.leases import Leases
from afterwards.registry.postgresql.machine import Machine
from afterwards.registry.postgresql.notices import CLAIMS, DUE, Notices, of_worker
from afterwards.registry.postgresql.retention import Ages, Retention
from afterwards.registry.postgresql.working_set import Opening
from afterwards.registry.protocol.base import Worker
from afterwards.system.trouble import Trouble

log = get_logger(__name__)

LEADER_SECONDS: Final = 3.0
"""A leader whose row stands still for so long is followed by another one."""
_LONGEST_WAIT_SECONDS: Final = 0.25

_SEE: Final = "SELECT holder, number, beats FROM afterwards.leader"
_BEAT: Final = """
UPDATE afterwards.leader SET beats = beats + 1 WHERE number = %s AND holder = %s RETURNING number
"""
_TAKE: Final = """
UPDATE afterwards.leader SET holder = %s, number = number + 1, beats = beats + 1
WHERE number = %s AND beats = %s RETURNING number
"""
_LEAVE: Final = "UPDATE afterwards.leader SET holder = NULL WHERE number = %s AND holder = %s"
_OF_SERVICE: Final = (
    "SELECT name, doomed, gone FROM afterwards.workers WHERE service = %s AND NOT gone"
)
_MARK_GONE: Final = """
UPDATE afterwards.workers SET gone = true, joined = false, over = coalesce(over, %s)
WHERE name = %s AND NOT gone
"""


class Keeper:
    """A thread that looks after the workers of this machine, and after everything if it leads.

    Args:
        name: of this process, unlike any other.
        lease_seconds: how long a worker may be silent.
        ages: how long what is over is kept.
    """

    def __init__(
        self,
        database: Database,
        opening: Opening,
        orders: Orders,
        notices: Notices,
        machine: Machine,
        *,
        name: str,
        lease_seconds: float,
        ages: Ages,
    ) -> None:
        self._database = database
        self._service = opening.service
        self._notices = notices
        self._name = name
        self._machine = machine
        self._number: int | None = None
        self._seen: tuple[int, int] | None = None
        self._seen_at = 0.0
        self._watched: set[Worker] = set()
        self._ended: list[Worker] = []
        self._lock = threading.Lock()
        self._lease_seconds = lease_seconds
        self._leases = Leases(lease_seconds)
        self._advance = Advance(database, opening, orders, name)
        self._retention = Retention(database, opening, name, ages)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and let another one lead."""
        self._closed.set()
        self._notices.tell([DUE])
        if self._thread.is_alive():
            self._thread.join()
        if self._number is None:
            return
        try:
            with self._database.transaction() as transaction:
                transaction.commit([(_LEAVE, (self._number, self._name))])
        except (Conflict, DatabaseUnreachable, AfterwardsError) as error:
            log.debug("the next leader has to wait", error=str(error))

    def watch(self, worker: Worker) -> None:
        """Notice the end of a worker's process, if it is of this service."""
        if worker.service != self._service or worker in self._watched:
            return
        self._watched.add(worker)

        def note_end() -> None:
            with self._lock:
                self._ended.append(worker)
            self._notices.tell([DUE])

        try:
            self._machine.when_gone(worker, note_end)
        except (OSError, RuntimeError, MemoryError) as error:
            self._watched.discard(worker)
            log.warning("worker cannot be watched yet", worker=str(worker), error=str(error))

    def step(self) -> None:
        """Do what there is to do now."""
        self._report_ended()
        self._look_after_own()
        if self._leads():
            try:
                self._end_leases()
                topics = self._advance.step(self._number or 0)
                self._delete_overdue(fence(self._number or 0))
            except NotLeader:
                self._number = None
            else:
                self._notices.tell(topics)

    # -- the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        trouble = Trouble(log, "what is due cannot be seen to; trying again")
        while not self._closed.is_set():
            seen = self._notices.numbers([DUE])
            try:
                self.step()
            except (Conflict, DatabaseUnreachable, AfterwardsError, OSError) as error:
                trouble.failed(error)
                wait = _LONGEST_WAIT_SECONDS
            else:
                trouble.over()
                wait = self._advance.seconds_to_next if self._number else _LONGEST_WAIT_SECONDS
            self._notices.wait([DUE], seen, min(wait, _LONGEST_WAIT_SECONDS))

    # -- workers -------------------------------------------------------------------------------

    def _report_ended(self) -> None:
        with self._lock:
            ended, self._ended = self._ended, []
        for position, worker in enumerate(ended):
            try:
                self._mark_gone(str(worker), f"worker {worker.pid} died")
            except BaseException:
                with self._lock:
                    self._ended += ended[position:]
                raise
            self._watched.discard(worker)

    def _look_after_own(self) -> None:
        """Watch the workers of this service, and kill those whose lease has ended."""
        with self._database.transaction() as transaction:
            [rows] = transaction.run([(_OF_SERVICE, (self._service,))])
            transaction.commit()
        for name, doomed, _ in rows:
            worker = Worker.parse(name)
            self.watch(worker)
            if doomed:
                self._machine.end(worker)

    def _mark_gone(self, name: str, why: str) -> None:
        with self._database.transaction() as transaction:
            transaction.commit([(_MARK_GONE, (why, name))])
        self._notices.tell([DUE, of_worker(name)])

    def _end_leases(self) -> None:
        now = self._machine.clock.running()
        silent = self._advance.silent(self._number or 0, self._leases, now)
        if silent:
            self._notices.tell([DUE, CLAIMS, *map(of_worker, silent)])

    def _delete_overdue(self, fenced: Statement) -> None:
        # The next step takes what is left: what is due for tasks comes in between.
        if self._retention.step(fenced, self._machine.clock.running()):
            self._notices.tell([DUE])

    # -- leading -------------------------------------------------------------------------------

    def _leads(self) -> bool:
        """True if this process leads, or does so from now on."""
        if self._number is not None:
            if self._update(_BEAT, (self._number, self._name)) is not None:
                return True
            self._number = None
        with self._database.transaction() as transaction:
            [[(holder, number, beats)]] = transaction.run([(_SEE, ())])
            transaction.commit()
        now = time.monotonic()
        if self._seen != (number, beats):
            self._seen, self._seen_at = (number, beats), now
        if holder is not None and now - self._seen_at < LEADER_SECONDS:
            return False
        self._number = self._update(_TAKE, (self._name, number, beats))
        if self._number is None:
            return False
        self._leases = Leases(self._lease_seconds)
        log.info("leads from now on", number=self._number)
        return True

    def _update(self, sql: str, values: Sequence[object]) -> int | None:
        with self._database.transaction() as transaction:
            [rows] = transaction.run([(sql, values)])
            transaction.commit()
        return int(rows[0][0]) if rows else None
