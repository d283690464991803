"""Schedules, webhooks, keys and the sums of owners, as one transaction works with them.

Requests about schedules and keys lock and read those. Webhooks, and the keys that bound owners,
are remembered under their version, since most exchanges need them and few change them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from afterwards.lifecycle import Task, TaskState
from afterwards.registry.journal.keys import KeyState
from afterwards.registry.postgresql import activity, keys, quotas, schedules, webhooks
from afterwards.registry.postgresql.database import Rows, Statement, Transaction
from afterwards.registry.postgresql.keys import KnownKeys
from afterwards.registry.postgresql.schedules import ScheduleNeeds
from afterwards.registry.postgresql.store import WorkingStore
from afterwards.registry.postgresql.webhooks import KnownWebhooks
from afterwards.registry.postgresql.workers import Entry
from afterwards.registry.protocol.key_requests import Share
from afterwards.registry.protocol.requests import Add, AddAll, Request, RunSchedule
from afterwards.registry.protocol.webhook_requests import SendTest
from afterwards.registry.state.rules import Rules
from afterwards.webhooks.delivery import key_of_webhook
from afterwards.webhooks.webhook import DELIVERY

NO_SUMS: Final = (0, 0)


@dataclass
class Known:
    """The webhooks and keys that a process remembers."""

    webhooks: KnownWebhooks = field(default_factory=KnownWebhooks)
    keys: KnownKeys = field(default_factory=KnownKeys)

    def webhooks_of(self, transaction: Transaction, version: int) -> KnownWebhooks:
        """The webhooks of this version, or of a later one."""
        known = self.webhooks
        if known.version != version:
            known = self.webhooks = webhooks.load(transaction)
        return known

    def keys_of(self, transaction: Transaction, version: int) -> KnownKeys:
        """The keys of this version, or of a later one."""
        known = self.keys
        if known.version != version:
            known = self.keys = keys.load(transaction)
        return known


class Opened(NamedTuple):
    """The rules of a transaction, and what it found when it began."""

    rules: Rules
    entry: Entry
    transaction: Transaction


class BookReading:
    """The reading of one exchange's requests, besides tasks."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self._requests = requests
        self._schedules = ScheduleNeeds.of(requests)
        self.changes_plans = webhooks.changed_by_hand(requests) or keys.change_bounds(requests)
        """True if no exchange of a worker may be at work meanwhile."""

    def statements(self) -> dict[str, Statement]:
        """Locks and reads that come before those of tasks, by the name of their part."""
        return {**self._schedules.statements(), **keys.statements(self._requests)}

    def take_in(
        self, opened: Opened, known: Known, rows: Mapping[str, Rows], locked: Sequence[Task]
    ) -> tuple[int, int]:
        """Have the rules know the rows that were read, and what is remembered.

        Args:
            locked: tasks that are taken in.

        Returns:
            The number of schedules, and the bytes of their payloads; zeros if nothing needs them.
        """
        rules, entry, transaction = opened
        if any(task.type == DELIVERY and task.state is TaskState.PROCESSING for task in locked):
            # What is reported may change its webhook.
            found = known.webhooks = webhooks.load(transaction, locked=True)
        else:
            found = known.webhooks_of(transaction, entry.webhooks_version)
        if found.webhooks:
            webhooks.take_in(rules.deliveries, found)
        sums = NO_SUMS
        if "room" in rows:
            *_, number, size = rows["room"][0]
            sums = (number, size)
            rules.schedules.table.sum_up(number, size)
        if "schedules" in rows:
            schedules.load(rules, rows["schedules"], sums)
        if "keys" in rows:
            state = keys.to_state(rows["key state"], rows["keys"], rows["sessions"])
            rules.keys.load(state)
        elif entry.keys_version:
            # Only what takes room is bounded, so reports of an owner's tasks wait for no other.
            bounded = locked if "room" in rows else ()
            self._load_keys(opened, known, bounded)
        return sums

    def _load_keys(self, opened: Opened, known: Known, locked: Sequence[Task]) -> None:
        rules, entry, transaction = opened
        owners = {task.owner for task in locked if task.owner is not None}
        for request in self._requests:
            tasks = request.tasks if isinstance(request, AddAll) else ()
            new = [request.task] if isinstance(request, Add) else tasks
            owners.update(task.owner for task in new if task.owner is not None)
        shares = any(isinstance(request, Share) for request in self._requests)
        if not (owners or shares):
            return
        found = known.keys_of(transaction, entry.keys_version)
        bounded = sorted(owners & found.bounding.keys())
        needed = [key for owner in bounded for key in found.bounding[owner]]
        if shares:
            needed += found.metered
        rules.keys.load(KeyState(found.version, required=True, keys=needed))
        if bounded:
            assert isinstance(rules.store, WorkingStore)
            quotas.sum_up(transaction, rules.store, bounded)

    def keys_of_new_tasks(self, rules: Rules) -> tuple[list[tuple[str, str]], set[tuple[str, str]]]:
        """The unique keys with their owners, and the types with concurrency keys, of new tasks.

        Of those that schedules and webhooks make now, which do not say it themselves.
        """
        unique: list[tuple[str, str]] = []
        limited: set[tuple[str, str]] = set()
        for request in self._requests:
            if isinstance(request, RunSchedule):
                schedule = rules.schedules.table.get(request.name)
                if schedule is not None:
                    add_keys(schedule.pattern, unique, limited)
            elif isinstance(request, SendTest):
                webhook = rules.deliveries.webhooks.find(request.name)
                if webhook is not None:
                    limited.add((DELIVERY, key_of_webhook(webhook.id)))
        return unique, limited


def add_keys(pattern: Task, unique: list[tuple[str, str]], limited: set[tuple[str, str]]) -> None:
    """Add the keys of a task that is made after this pattern."""
    if pattern.unique_key is not None:
        unique.append((pattern.unique_key, pattern.owner or ""))
    if pattern.concurrency_key is not None:
        limited.add((pattern.type, pattern.concurrency_key))


def written(rules: Rules, sums: tuple[int, int], keys_version: int) -> list[Statement]:
    """Statements for all that a transaction has changed besides tasks and types.

    Args:
        sums: of schedules, and
        keys_version: as both were before it.
    """
    return [
        *schedules.written(rules, sums),
        *webhooks.written(rules.deliveries),
        *keys.written(rules.keys, keys_version),
        *activity.written(rules.activity.entries),
    ]
