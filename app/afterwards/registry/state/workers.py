"""The workers: they join, beat, drain, leave, fall silent and die, and their claims too.

What a worker says of itself is remembered at once. What follows from it for its tasks is a
transition like any other, and is done again in the next group if it could not be written; so the
end of a worker is a state of its record (`WorkerRecord.gone`), not an event.

Nothing ends the claims of a process that runs, but its own word (rule 20): a worker that falls
silent is killed first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from afterwards.errors import NotJoined
from afterwards.lifecycle import MAX_LOST_ATTEMPTS, MAX_LOST_WITH_WORKERS, Task
from afterwards.registry.protocol.base import ALIVE_SECONDS, Worker
from afterwards.registry.protocol.clock import Clock
from afterwards.registry.protocol.requests import Alive, Beat, Drain, Held, Join, Leave
from afterwards.registry.state.ledger import Ledger, WorkerRecord
from afterwards.registry.state.store import TaskStore
from afterwards.webhooks.delivery import seconds_after_losses


class Workers:
    """The verbs of workers about themselves.

    Args:
        service: whose workers may join.
        lease_seconds: how long a worker may be silent.
    """

    def __init__(
        self, service: str, clock: Clock, ledger: Ledger, store: TaskStore, lease_seconds: float
    ) -> None:
        self.service = service
        self._clock = clock
        self._ledger = ledger
        self._store = store
        self._lease_seconds = lease_seconds
        self.silent: set[Worker] = set()
        """Those whose lease has ended and whose process has to, too."""
        self._left: list[WorkerRecord] = []
        """Workers that the group at work has let go."""
        self._verbs: dict[type, Callable[[WorkerRecord, Any], None]] = {
            Beat: self._beat,
            Alive: self._alive,
            Drain: self._drain,
            Leave: self._leave,
        }

    # -- entry ---------------------------------------------------------------------------------

    def apply(self, worker: Worker | None, connection: int, request: Any) -> None:
        """Carry out a `Join`, `Beat`, `Drain` or `Leave`.

        Raises:
            NotJoined: not under this connection, or not this service's worker.
        """
        if type(request) is Join:
            self._join(worker, connection, request)
        elif worker is None:
            raise NotJoined("(none)")
        else:
            self._verbs[type(request)](self.require(worker, connection), request)

    def find(self, worker: Worker, connection: int) -> WorkerRecord | None:
        """The record of a worker that has joined under this connection; None: it has not."""
        record = self._ledger.find(str(worker))
        if record is None or not record.joined or record.connection != connection:
            return None
        return record

    def require(self, worker: Worker, connection: int) -> WorkerRecord:
        """The same.

        Raises:
            NotJoined: it has not.
        """
        record = self.find(worker, connection)
        if record is None:
            raise NotJoined(str(worker))
        return record

    def tell(self, worker: Worker, connection: int, keys: int) -> list[Held]:
        """The claims that the worker has to be told to cancel, each once.

        Args:
            keys: the version of the keys, which it is told together with them.
        """
        record = self.find(worker, connection)
        if record is None:
            return []
        record.keys_told = keys
        untold, record.untold = record.untold, {}
        return list(untold.values())

    def hear(self, worker: Worker | None, connection: int) -> NotJoined | None:
        """An `Alive`, in any thread and outside of any group; the answer to it.

        No clock is read here: `Clock.running` leaves out long gaps between its readings, and with
        them the time for which a group waits for a disk.
        """
        record = None if worker is None else self.find(worker, connection)
        if record is None:
            return NotJoined(str(worker))
        record.is_heard = True
        return None

    def renew(self, worker: Worker, connection: int) -> None:
        """Its `Join` or `Beat` has come: its lease does not end before that is carried out."""
        record = self._ledger.find(str(worker))
        if record is not None and not record.doomed and connection >= record.connection:
            self._renew(record)

    # -- the end of a group --------------------------------------------------------------------

    def commit(self) -> None:
        """The group is durable."""
        self._left.clear()

    def undo(self) -> None:
        """The group could not be written, and will be carried out again: no worker has left yet."""
        for record in self._left:
            record.joined, record.over = True, None
        self._left.clear()

    # -- processes -----------------------------------------------------------------------------

    def restore(self, worker: Worker) -> None:
        """Give a living holder found in the journal a full lease to present its claims (rule 8)."""
        self._renew(self._ledger.enter(worker, 0.0))

    def mark_dead(self, worker: Worker) -> None:
        """A holder found in the journal is dead or foreign: its claims end with the next group."""
        record = self._ledger.enter(worker, 0.0)
        record.gone = True
        record.over = "the service went down"

    def worker_gone(self, worker: Worker) -> None:
        """The worker's process has ended: its claims end with the group at hand."""
        self.silent.discard(worker)
        record = self._ledger.find(str(worker))
        if record is not None:
            record.gone = True
            self._part(record, f"worker {worker.pid} died")

    # -- the verbs -----------------------------------------------------------------------------

    def _join(self, worker: Worker | None, connection: int, request: Join) -> None:
        # A worker of another service has to be refused: it may outlive its master, and would then
        # compete with its successors (rule 13).
        if worker is None or worker.service != self.service:
            raise NotJoined(str(worker))
        record = self._ledger.enter(worker, 0.0)
        # Not older, but equal: a group that could not be written is carried out once more.
        if connection < record.connection or record.gone or record.doomed:
            raise NotJoined(str(worker))
        record.connection = connection
        record.joined = True
        record.over = None
        record.slots = request.slots
        record.user_types = request.user_types
        record.known_types = request.known_types
        self._announce(record, request.generation)
        self._store.limit(request.limits)
        record.untold = {
            task.id: Held(task.id, task.attempt)
            for task in record.held.values()
            if task.cancel_requested
        }
        self._renew(record)
        self._release_omitted(record, request.held)

    def _beat(self, record: WorkerRecord, request: Beat) -> None:
        record.slots, record.stuck = request.slots, request.stuck
        record.report = request.report or record.report
        self._announce(record, request.generation)
        self._renew(record)
        self._release_omitted(record, request.held)

    def _alive(self, record: WorkerRecord, request: Alive) -> None:
        record.is_heard = True

    def _drain(self, record: WorkerRecord, request: Drain) -> None:
        record.draining = True

    def _leave(self, record: WorkerRecord, request: Leave) -> None:
        record.draining = True
        self._left.append(record)
        self._part(record, "its worker stopped")

    def _announce(self, record: WorkerRecord, generation: int) -> None:
        record.generation = generation
        self._ledger.generation = max(self._ledger.generation, generation)

    def _part(self, record: WorkerRecord, why: str) -> None:
        """It takes no more part: it left, fell silent or died."""
        record.joined = False
        record.over = record.over or why
        record.attention.set()

    # -- leases --------------------------------------------------------------------------------

    def _renew(self, record: WorkerRecord) -> None:
        record.beaten_at = self._clock.running()
        record.lease_ends = record.beaten_at + self._lease_seconds

    def end_leases(self) -> None:
        """End the claims of those that are gone, and doom those that were silent for too long."""
        now = self._clock.running()
        for record in self._ledger:
            if record.is_heard:
                record.is_heard = False
                latest = min(now + self._lease_seconds, record.beaten_at + ALIVE_SECONDS)
                record.lease_ends = max(record.lease_ends, latest)
            if record.gone and record.held:
                for task in list(record.held.values()):
                    self._end_claim(record, task)
            elif record.gone or (record.over is not None and not record.held and not record.doomed):
                # Not sooner than in the group after: the last one might have been taken back.
                self._ledger.forget(record)
            elif record.lease_ends <= now and not record.doomed:
                record.doomed = True
                self.silent.add(record.worker)
                self._part(record, f"worker {record.worker.pid} fell silent")

    def _release_omitted(self, record: WorkerRecord, held: Sequence[Held]) -> None:
        for task in self._ledger.omitted(record, held):
            self._release(task, "the claim did not reach its worker")

    def _end_claim(self, record: WorkerRecord, task: Task) -> None:
        """The worker that had claimed this task is gone."""
        why = record.over or ""
        if record.draining:
            self._release(task, why)
            return
        # Of a service that has gone down as a whole there is no telling what the next may bear.
        is_ours = record.worker.service == self.service
        most = MAX_LOST_WITH_WORKERS if is_ours else MAX_LOST_ATTEMPTS
        lost = task.lose(
            task.attempt,
            why,
            self._clock.wall(),
            most=most,
            retry_in_seconds=seconds_after_losses(task),
        )
        self._store.put(task, lost, "lost")

    def _release(self, task: Task, why: str) -> None:
        released = task.release(task.attempt, why, self._clock.wall())
        self._store.put(task, released, "released")
