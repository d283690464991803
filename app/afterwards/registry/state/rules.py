"""The rules: what each request does to the tasks, and what happens by itself as time passes.

Everything here happens in memory, in one thread at a time, and is neither seen nor told before its
commit; `afterwards.registry.engine.committer` sees to that. A request that cannot be done raises
and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from afterwards.errors import TaskDeleted, TaskNotFound
from afterwards.lifecycle import Task
from afterwards.registry.journal.keys import KeyState
from afterwards.registry.journal.plans import PlanChanges, Plans
from afterwards.registry.journal.webhook_rows import WebhookState
from afterwards.registry.protocol.answers import Claim
from afterwards.registry.protocol.base import MAX_BATCH_BYTES, Worker
from afterwards.registry.protocol.clock import Clock
from afterwards.registry.protocol.requests import ABOUT_THE_WORKER, Join
from afterwards.registry.state.acceptance import Acceptance, Limits, Room
from afterwards.registry.state.activity import ActivityBook
from afterwards.registry.state.by_hand import ByHand
from afterwards.registry.state.children import Children
from afterwards.registry.state.declarations import Declarations
from afterwards.registry.state.deliveries import Deliveries
from afterwards.registry.state.gone_types import GoneTypes
from afterwards.registry.state.keys import KeyBook
from afterwards.registry.state.ledger import Ledger, WorkerRecord
from afterwards.registry.state.outcomes import Outcomes
from afterwards.registry.state.quotas import Quotas
from afterwards.registry.state.schedule_table import ScheduleTable
from afterwards.registry.state.schedules import ScheduleBook
from afterwards.registry.state.shares import Shares
from afterwards.registry.state.slots import Slots
from afterwards.registry.state.store import Archive, TaskStore
from afterwards.registry.state.workers import Workers
from afterwards.webhooks.webhook import DELIVERY, Webhook

DUE_AT_ONCE = 1_000
"""Tasks that become due in one group; the rest follow in the next, so that no call waits long."""


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
        make_store: Callable[[Clock, Ledger], TaskStore] = TaskStore,
    ) -> None:
        self.clock = clock
        self.ledger = Ledger()
        self.store = make_store(clock, self.ledger)
        self.workers = Workers(service, clock, self.ledger, self.store, limits.lease_seconds)
        table = ScheduleTable()
        self.room = Room(limits, self.store, table)
        self.keys = KeyBook(clock)
        self.quotas = Quotas(self.keys.bounding, self.store.owned, clock)
        self.acceptance = Acceptance(
            self.store,
            archive,
            clock,
            self.room,
            self.quotas,
            next_order=next_order,
            last_created_at=last_created_at,
        )
        children = Children(self.store, archive, self.room, self.quotas, self.acceptance)
        self.schedules = ScheduleBook(clock, table, self.room, self.acceptance)
        self.declarations = Declarations(self.schedules, table, self.room, self.ledger)
        self.slots = Slots(self.store.ready, self.ledger)
        self._gone_types = GoneTypes(self.ledger, self.store, table)
        self._archive = archive
        self.shares = Shares(clock, self.keys.find, self.ledger)
        self.deliveries = Deliveries(
            clock,
            self.store,
            self.room,
            self.acceptance,
            stored=archive,
            find=self._any,
            tell=self._note_disabled,
        )
        self.activity = ActivityBook(clock, table, self.keys, self.deliveries.webhooks)
        outcomes = Outcomes(clock, self.store, children, self.deliveries)
        by_hand = ByHand(clock, self.store, self.room, self.quotas, self.acceptance, find=self._any)
        verbs: dict[type, Callable[[Any], Any]] = {
            **self.acceptance.verbs,
            **children.verbs,
            **outcomes.verbs,
            **by_hand.verbs,
            **self.store.throttles.verbs,
            **self.schedules.verbs,
            **self.declarations.verbs,
            **self.keys.verbs,
            **self.deliveries.verbs,
        }
        self._verbs = self.activity.noting(verbs)

    def load(self, plans: Plans, keys: KeyState, webhooks: WebhookState) -> None:
        """Take in all that is in the journal besides tasks."""
        self.keys.load(keys)
        self.deliveries.load(webhooks)
        self.store.throttles.load(plans.paused, plans.starts)
        for schedule in plans.schedules:
            self.schedules.load(schedule)

    # -- entry ---------------------------------------------------------------------------------

    def apply(self, worker: Worker | None, connection: int, request: Any) -> Any:
        """Carry out one request.

        Raises:
            AfterwardsError: what the request's docstring names; nothing was changed.
        """
        kind = type(request)
        if kind in ABOUT_THE_WORKER:
            self.workers.apply(worker, connection, request)
            if kind is Join:
                self._gone_types.look_for(request.known_types)
            return None
        if worker is not None:
            self.workers.require(worker, connection)
        return self._verbs[kind](request)

    def assign(self, worker: Worker, connection: int) -> list[Claim]:
        """Claim what the worker has free slots for."""
        record = self.workers.find(worker, connection)
        if record is None:
            return []
        claims: list[Claim] = []
        size = late = 0
        now = self.clock.wall()
        for kind in record.slots:
            while size < MAX_BATCH_BYTES and late < DUE_AT_ONCE:
                task_id = self.slots.first(record, kind)
                if task_id is None:
                    break
                task = self._unfinished(task_id)
                if task.is_late(now):
                    # More of them than `advance` takes in one group, or one that came too late.
                    self.store.put(task, task.expire(now))
                    late += 1
                    continue
                if task.type == DELIVERY and (why := self.deliveries.why_not(task)):
                    self.store.put(task, task.withdraw(why, now))
                    late += 1
                    continue
                claims.append(self._claim(task, record, now))
                size += len(task.payload)
        return claims

    def advance(self, *, accepting: bool = True) -> None:
        """Let time do its work: deadlines pass, tasks become due, leases end.

        Args:
            accepting: whether schedules and notices may make tasks; otherwise what is due waits.
        """
        store = self.store
        self.deliveries.advance(accepting=accepting)
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
        self.workers.end_leases()
        if accepting:
            self.schedules.fire(DUE_AT_ONCE)
        else:
            self.schedules.hold()

    def plan_changes(self) -> PlanChanges | None:
        """The changes of the group at work besides tasks; None: there are none."""
        throttles, schedules = self.store.throttles, self.schedules
        if not (throttles.has_changed or schedules.has_changed):
            return None
        return PlanChanges(
            throttles.paused_changes(),
            throttles.started,
            throttles.forgettable(),
            schedules.definitions(),
            schedules.moved(),
        )

    # -- the end of a group --------------------------------------------------------------------

    def commit(self) -> None:
        """The group is durable."""
        self.store.commit()
        self.schedules.commit()
        self.declarations.commit()
        if self.activity.entries:
            self.activity.clear()
        self.keys.commit()
        self.deliveries.commit()
        self.workers.commit()

    def undo(self) -> None:
        """The group could not be written: be as before, so that it can be carried out again."""
        self.workers.undo()
        self._undo_tasks()

    def put_off(self) -> None:
        """Nothing can be written.

        What workers said of themselves stands, and what follows for their tasks comes with the
        next group.
        """
        self.workers.commit()
        self._undo_tasks()

    def _undo_tasks(self) -> None:
        self.store.undo()
        self.schedules.undo()
        self.declarations.undo()
        self.keys.undo()
        self.deliveries.undo()
        self.activity.clear()

    # -- tasks ---------------------------------------------------------------------------------

    def _claim(self, task: Task, record: WorkerRecord, now: float) -> Claim:
        generation = record.generation if task.type in record.user_types else 0
        claimed = task.claim(str(record.worker), now, generation)
        self.store.put(task, claimed)
        self.store.throttles.start(claimed.type)
        return Claim(
            claimed.id,
            claimed.attempt,
            claimed.type,
            claimed.payload,
            claimed.executor,
            claimed.attempts_used,
            claimed.max_attempts,
            claimed.timeout_seconds,
            claimed.crowd,
            claimed.generation,
            claimed.trace,
            claimed.retries,
            claimed.depth,
            claimed.priority,
            claimed.labels,
            claimed.members,
            self.deliveries.target(claimed) if claimed.type == DELIVERY else None,
        )

    def _note_disabled(self, webhook: Webhook) -> None:
        self.activity.add_by_itself("disable", "webhook", webhook.name, webhook.disabled_because)

    def _unfinished(self, task_id: str) -> Task:
        task = self.store.get(task_id)
        assert task is not None, "the queues hold unfinished tasks only"
        return task

    def _any(self, task_id: str) -> Task:
        if self.store.is_deleted(task_id):
            # By the group at work: the archive has it still.
            raise TaskDeleted(task_id)
        task = self.store.get(task_id) or self._archive.read(task_id)
        if task is not None:
            return task
        if self._archive.was_deleted(task_id):
            raise TaskDeleted(task_id)
        raise TaskNotFound(task_id)
