"""The rules: what each request does to the tasks, and what happens by itself as time passes.

Everything here happens in memory, in one thread at a time, and is neither seen nor told before its
commit; `app.registry.committer` sees to that. A request that cannot be done raises and changes
nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from app.errors import (
    IdempotencyMismatch,
    StaleReport,
    TaskDeleted,
    TaskNotFound,
    TooManyUnfinished,
)
from app.lifecycle import Task
from app.registry.answers import Claim
from app.registry.attendance import Attendance
from app.registry.base import LEASE_SECONDS, MAX_BATCH_BYTES, Worker
from app.registry.batch import as_batch, member_key
from app.registry.clock import Clock
from app.registry.ledger import Ledger
from app.registry.plans import PlanChanges, Plans
from app.registry.requests import (
    ABOUT_THE_WORKER,
    Add,
    AddAll,
    Cancel,
    Failed,
    Lost,
    Released,
    Retry,
    Stopped,
    Succeeded,
)
from app.registry.schedules import ScheduleBook
from app.registry.store import Archive, TaskStore
from app.schedule import Schedule

DUE_AT_ONCE = 1_000
"""Tasks that become due in one group; the rest follow in the next, so that nobody waits long."""


@dataclass(frozen=True)
class Limits:
    """What bounds a registry."""

    max_pending: int = 100_000
    """Unfinished tasks."""
    max_pending_bytes: int = 256 * 2**20
    """Their payloads together."""
    lease_seconds: float = LEASE_SECONDS


class Rules:
    """One verb for each request that changes something, and `advance` for the time."""

    def __init__(
        self,
        service: str,
        clock: Clock,
        archive: Archive,
        limits: Limits,
        *,
        next_order: int = 1,
        last_created_at: float = 0.0,
    ) -> None:
        self.clock = clock
        self.ledger = Ledger()
        self.store = TaskStore(clock, self.ledger)
        self.attendance = Attendance(service, clock, self.ledger, self.store, limits.lease_seconds)
        self.schedules = ScheduleBook(clock, self._make_scheduled)
        self.drain_rate = 0.0
        """Tasks finished per second lately, for the advice when to come back."""
        self._archive = archive
        self._limits = limits
        self._next_order = next_order
        self._last_created_at = last_created_at
        self._verbs: dict[type, Callable[[Any], Any]] = {
            Add: self._add,
            AddAll: self._add_all,
            Succeeded: self._succeeded,
            Failed: self._failed,
            Released: self._released,
            Lost: self._lost,
            Stopped: self._stopped,
            Retry: self._retry,
            Cancel: self._cancel,
            **self.store.gates.verbs,
            **self.schedules.verbs,
        }

    def load(self, plans: Plans) -> None:
        """Take in the pauses, starts and schedules that are in the journal."""
        self.store.gates.load(plans.paused, plans.starts)
        for schedule in plans.schedules:
            self.schedules.load(schedule)

    # -- entry ---------------------------------------------------------------------------------

    def apply(self, worker: Worker | None, connection: int, request: Any) -> Any:
        """Carry out one request.

        Raises:
            BgTasksError: what the request's docstring names; nothing was changed.
        """
        kind = type(request)
        if kind in ABOUT_THE_WORKER:
            return self.attendance.apply(worker, connection, request)
        if worker is not None:
            self.attendance.require(worker, connection)
        return self._verbs[kind](request)

    def assign(self, worker: Worker, connection: int) -> list[Claim]:
        """Claim what the worker has free slots for."""
        record = self.attendance.find(worker, connection)
        if record is None:
            return []
        claims: list[Claim] = []
        size = late = 0
        now = self.clock.wall()
        for kind in record.slots:
            while record.free(kind) and size < MAX_BATCH_BYTES and late < DUE_AT_ONCE:
                task_id = self.store.ready.first(kind)
                if task_id is None:
                    break
                task = self._unfinished(task_id)
                if task.is_late(now):
                    # More of them than `advance` takes in one group, or one that came too late.
                    self.store.put(task, task.expire(now))
                    late += 1
                    continue
                claims.append(self._claim(task, str(worker), now))
                size += len(task.payload)
        return claims

    def advance(self, *, accepting: bool = True) -> None:
        """Let time do its work: deadlines pass, tasks become due, leases end.

        Args:
            accepting: whether schedules may make new tasks; otherwise what is due waits.
        """
        store = self.store
        now = self.clock.wall()
        # First: what is past its deadline need not become due.
        for _ in range(DUE_AT_ONCE):
            task_id = store.deadlines.first_due(now)
            if task_id is None:
                break
            task = self._unfinished(task_id)
            store.put(task, task.expire(now))
        for queue, now in (
            (store.backing_off, self.clock.elapsed()),
            (store.scheduled, self.clock.wall()),
        ):
            for _ in range(DUE_AT_ONCE):
                task_id = queue.first_due(now)
                if task_id is None:
                    break
                task = self._unfinished(task_id)
                store.put(task, task.become_due())
        self.attendance.end_leases()
        if accepting:
            self.schedules.fire(DUE_AT_ONCE)
        else:
            self.schedules.hold()

    def plan_changes(self) -> PlanChanges | None:
        """What the group at work has changed besides tasks; None: nothing."""
        gates, schedules = self.store.gates, self.schedules
        if not (gates.has_changed or schedules.has_changed):
            return None
        return PlanChanges(
            gates.paused_changes(),
            gates.started,
            gates.forgettable(),
            schedules.definitions(),
            schedules.moved(),
        )

    # -- the end of a group --------------------------------------------------------------------

    def commit(self) -> None:
        """The group is durable."""
        self.store.commit()
        self.schedules.commit()
        self.attendance.commit()

    def undo(self) -> None:
        """The group could not be written: be as before, so that it can be carried out again."""
        self.attendance.undo()
        self._undo_tasks()

    def put_off(self) -> None:
        """Nothing can be written.

        What workers said of themselves stands, and what follows for their tasks comes with the
        next group.
        """
        self.attendance.commit()
        self._undo_tasks()

    def _undo_tasks(self) -> None:
        self.store.undo()
        self.schedules.undo()

    # -- tasks ---------------------------------------------------------------------------------

    def _add(self, request: Add) -> Task | None:
        task = request.task
        if self._is_known(task.id, request.again):
            return None
        first = self._accepted_before(task)
        if first is not None:
            return first
        self._require_room(len(task.payload))
        self._accept(task)
        return None

    def _add_all(self, request: AddAll) -> list[Task] | None:
        tasks = as_batch(request.tasks)
        # All or none were accepted, so one of them tells it of all.
        if not tasks or self._is_known(tasks[0].id, request.again):
            return None
        first = self._accepted_before(tasks[0])
        if first is not None:
            return self._batch_of(first, len(tasks))
        self._require_room(sum(len(task.payload) for task in tasks), len(tasks))
        for task in tasks:
            self._accept(task)
        return None

    def _is_known(self, task_id: str, again: bool) -> bool:
        if self.store.get(task_id) is not None:
            return True
        archive = self._archive
        return again and (archive.read(task_id) is not None or archive.was_deleted(task_id))

    def _accept(self, task: Task) -> None:
        accepted = task.accepted(self._next_order, self._last_created_at)
        self._next_order += 1
        self._last_created_at = accepted.created_at
        self.store.put(None, accepted)

    def _batch_of(self, first: Task, size: int) -> list[Task]:
        """The tasks of a batch that was accepted before, as they stand now."""
        tasks = [first]
        results = 0
        for position in range(1, size):
            task = self._with_key(member_key(first, position))
            if task is None:
                continue
            results += len(task.result or b"")
            # A thousand results together could be larger than the memory.
            tasks.append(task if results <= MAX_BATCH_BYTES else replace(task, result=None))
        return tasks

    def _with_key(self, key: str) -> Task | None:
        # Memory first: it knows what this group has accepted. What retention deletes, it deletes
        # after a group's requests, so what the archive has is still there.
        return self.store.get_by_key(key) or self._archive.read_by_key(key)

    def _accepted_before(self, task: Task) -> Task | None:
        """The task that was accepted under the same idempotency key, if one was."""
        key = task.idempotency_key
        if key is None:
            return None
        first = self._with_key(key)
        if first is not None and first.fingerprint != task.fingerprint:
            raise IdempotencyMismatch(key, first.id)
        return first

    def _make_scheduled(self, schedule: Schedule, due: float) -> str:
        task = schedule.task(str(uuid.uuid4()), due, self.clock.wall())
        # A schedule of this name may have been deleted, and the clock set back since.
        first = self._accepted_before(task)
        if first is not None:
            return first.id
        self._require_room(len(task.payload))
        self._accept(task)
        return task.id

    def _require_room(self, payload_bytes: int, tasks: int = 1) -> None:
        limits, store = self._limits, self.store
        if store.unfinished() + tasks > limits.max_pending:
            limit, unit = limits.max_pending, "tasks"
        elif store.unfinished_bytes + payload_bytes > limits.max_pending_bytes:
            limit, unit = limits.max_pending_bytes, "bytes of payload"
        else:
            return
        raise TooManyUnfinished(limit, unit, self._room_in_seconds())

    def _room_in_seconds(self) -> float:
        # Until about a hundredth of the limit is free again, at the rate of late.
        if self.drain_rate <= 0:
            return 60.0
        return min(60.0, max(1.0, self._limits.max_pending / 100 / self.drain_rate))

    def _claim(self, task: Task, worker: str, now: float) -> Claim:
        claimed = task.claim(worker, now)
        self.store.put(task, claimed)
        self.store.gates.start(claimed.type)
        return Claim(
            claimed.id,
            claimed.attempt,
            claimed.type,
            claimed.payload,
            claimed.executor,
            claimed.attempts_used,
            claimed.max_attempts,
            claimed.timeout_seconds,
        )

    def _succeeded(self, report: Succeeded) -> None:
        task = self._running(report.task_id, report.attempt)
        done = task.succeed(report.attempt, report.result, self.clock.wall())
        self.store.put(task, done, "success", report.run_seconds)

    def _failed(self, report: Failed) -> None:
        task = self._running(report.task_id, report.attempt)
        now = self.clock.wall()
        if report.retry_in_seconds is None:
            ended = task.fail(report.attempt, report.error, now)
        else:
            ended = task.back_off(report.attempt, report.error, report.retry_in_seconds, now)
        outcome = "timeout" if report.timed_out else "failure"
        self.store.put(task, ended, outcome, report.run_seconds)

    def _released(self, report: Released) -> None:
        task = self._running(report.task_id, report.attempt)
        released = task.release(report.attempt, report.reason, self.clock.wall())
        self.store.put(task, released, "released")

    def _lost(self, report: Lost) -> None:
        task = self._running(report.task_id, report.attempt)
        self.store.put(task, task.lose(report.attempt, report.error, self.clock.wall()), "lost")

    def _stopped(self, report: Stopped) -> None:
        task = self._running(report.task_id, report.attempt)
        self.store.put(task, task.stop(report.attempt, self.clock.wall()), "cancelled")

    def _retry(self, request: Retry) -> Task:
        task = self._any(request.task_id)
        retried = task.retry(self.clock.wall(), request.payload)
        self._require_room(len(retried.payload))
        self.store.put(task, retried)
        return retried

    def _cancel(self, request: Cancel) -> Task:
        task = self._any(request.task_id)
        if task.cancel_requested:
            # Its holder has been told, or will be; once is enough.
            return task
        cancelled = task.cancel(self.clock.wall())
        self.store.put(task, cancelled)
        return cancelled

    def _unfinished(self, task_id: str) -> Task:
        task = self.store.get(task_id)
        assert task is not None, "the queues hold unfinished tasks only"
        return task

    def _running(self, task_id: str, attempt: int) -> Task:
        task = self.store.get(task_id)
        if task is None:
            raise StaleReport(task_id, attempt, 0, "finished or unknown")
        return task

    def _any(self, task_id: str) -> Task:
        task = self.store.get(task_id) or self._archive.read(task_id)
        if task is not None:
            return task
        if self._archive.was_deleted(task_id):
            raise TaskDeleted(task_id)
        raise TaskNotFound(task_id)
