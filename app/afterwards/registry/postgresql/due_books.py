"""The turn of schedules, of waiting notices, and of deliveries without a receiver.

The leader reads and locks it here, and `Rules.advance` does the rest: it makes tasks of due times,
deliveries of notices, and withdraws deliveries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from afterwards.registry.journal.webhook_rows import WebhookState
from afterwards.registry.postgresql import schedules, webhooks
from afterwards.registry.postgresql.archive import SELECT_BY_KEYS, TransactionArchive
from afterwards.registry.postgresql.books import add_keys
from afterwards.registry.postgresql.columns import to_task
from afterwards.registry.postgresql.database import Rows, Statement
from afterwards.registry.postgresql.working_set import SUM_UP, WorkingSet
from afterwards.registry.state.deliveries import AT_ONCE
from afterwards.registry.state.rules import DUE_AT_ONCE
from afterwards.schedules.schedule import due_key
from afterwards.webhooks.delivery import key_of
from afterwards.webhooks.notice import CALLBACKS, Notice
from afterwards.webhooks.webhook import DELIVERY

MOST_NEW: Final = DUE_AT_ONCE + AT_ONCE
"""The most tasks that one step makes."""

# Each receiver with open deliveries is one look into their index.
_WITHOUT_RECEIVER: Final = f"""
WITH RECURSIVE receivers AS (
    (SELECT concurrency_key AS key FROM afterwards.tasks
        WHERE type = '{DELIVERY}' AND finished_at IS NULL
            AND concurrency_key COLLATE "C" >= 'webhook:'
            AND concurrency_key COLLATE "C" < 'webhook;'
        ORDER BY concurrency_key COLLATE "C" LIMIT 1)
    UNION ALL SELECT (SELECT t.concurrency_key FROM afterwards.tasks AS t
        WHERE t.type = '{DELIVERY}' AND t.finished_at IS NULL
            AND t.concurrency_key COLLATE "C" > r.key AND t.concurrency_key COLLATE "C" < 'webhook;'
        ORDER BY t.concurrency_key COLLATE "C" LIMIT 1)
    FROM receivers AS r WHERE r.key IS NOT NULL
)
SELECT r.key FROM receivers AS r WHERE r.key IS NOT NULL AND NOT EXISTS (
    SELECT FROM afterwards.webhooks AS w
    WHERE 'webhook:' || w.id = r.key AND w.disabled_since IS NULL
)
"""
LOOK: Final[Statement] = (
    f"""
SELECT EXISTS (SELECT FROM afterwards.schedules WHERE next_due <= afterwards.wall()),
    EXISTS (SELECT FROM afterwards.notices), ARRAY({_WITHOUT_RECEIVER})
""",
    (),
)
NEXT: Final = """
(SELECT min(next_due) FROM afterwards.schedules WHERE next_due IS NOT NULL) - afterwards.wall()
"""
"""The seconds until the next schedule is due."""
_TO_WITHDRAW: Final = f"""
SELECT id::text FROM afterwards.tasks
WHERE type = '{DELIVERY}' AND finished_at IS NULL AND state IN ('scheduled', 'pending')
    AND concurrency_key COLLATE "C" = ANY (%s) LIMIT {AT_ONCE}
"""
# What counts against a receiver's share of the room.
_COUNT_OPEN: Final = f"""
SELECT r.receiver, (SELECT count(*) FROM afterwards.tasks AS t
    WHERE t.type = '{DELIVERY}' AND t.finished_at IS NULL
        AND t.concurrency_key COLLATE "C" >= r.lowest
        AND t.concurrency_key COLLATE "C" <= r.highest)
FROM unnest(%s::text[], %s::text[], %s::text[]) AS r (receiver, lowest, highest)
"""


class Due(NamedTuple):
    """The row of `LOOK`."""

    schedules: bool
    notices: bool
    without_receiver: Sequence[str]
    """Concurrency keys of deliveries whose webhook is disabled or was deleted."""

    @property
    def anything(self) -> bool:
        """True if there is something to do."""
        return self.schedules or self.notices or bool(self.without_receiver)


@dataclass
class DueBooks:
    """All that has become due besides tasks, in one step of the leader."""

    working: WorkingSet
    archive: TransactionArchive
    due: Due
    _schedules: Rows = field(default_factory=list)
    to_withdraw: list[str] = field(default_factory=list)
    """Deliveries, to be locked with all that is due."""
    unique_keys: list[tuple[str, str]] = field(default_factory=list)
    """The unique keys of tasks that are made, with owners; to be locked likewise."""
    concurrency_keys: set[tuple[str, str]] = field(default_factory=set)

    def read(self) -> None:
        """Read it, before any row of a task is locked."""
        working, transaction = self.working, self.working.transaction
        rules = working.rules
        asked = [schedules.LOCK, schedules.SELECT_DUE] if self.due.schedules else []
        *found, rooms = transaction.run([*asked, SUM_UP])
        *room, number, size = rooms[0]
        working.schedule_sums = (number, size)
        working.store.sum_up(*room)
        rules.schedules.table.sum_up(number, size)
        if self.due.schedules:
            self._read_schedules(found[-1])
        known = webhooks.load(transaction)
        waiting = Counter[str]()
        if self.due.notices:
            notices = webhooks.waiting(transaction, AT_ONCE)
            # Of the very ones that were read: more may have come since.
            waiting = Counter(notice.receiver for notice in notices)
            self._take_notices(waiting, notices)
        rules.deliveries.load(WebhookState(known.webhooks, waiting))
        if self.due.without_receiver:
            [rows] = transaction.run([(_TO_WITHDRAW, (list(self.due.without_receiver),))])
            self.to_withdraw = [task_id for (task_id,) in rows]

    def _read_schedules(self, rows: Rows) -> None:
        working = self.working
        self._schedules = rows
        found = schedules.load(working.rules, rows, working.schedule_sums)
        for schedule in found:
            add_keys(schedule.pattern, self.unique_keys, self.concurrency_keys)
        # The first times of each; later ones are looked for one by one.
        keys = [due_key(one.name, one.next_due) for one in found if one.next_due is not None]
        [tasks] = working.transaction.run([(SELECT_BY_KEYS, (keys,))])
        by_key = {task.idempotency_key: task for task in map(to_task, tasks)}
        self.archive.note_keys({key: by_key.get(key) for key in keys})

    def _take_notices(self, waiting: Iterable[str], notices: Sequence[Notice]) -> None:
        self.archive.note_notices(notices)
        self.concurrency_keys |= {
            (DELIVERY, key_of(notice.receiver, notice.callback)) for notice in notices
        }
        listed = list(waiting)
        lowest = ["callback:" if one == CALLBACKS else key_of(one, None) for one in listed]
        highest = ["callback;" if one == CALLBACKS else key_of(one, None) for one in listed]
        [counted] = self.working.transaction.run([(_COUNT_OPEN, (listed, lowest, highest))])
        for receiver, number in counted:
            self.working.store.deliveries.sum_up(receiver, number)

    def made_progress(self) -> bool:
        """True if the step has done some of it, and the next one may do more."""
        rules = self.working.rules
        return (
            rules.schedules.has_changed
            or bool(rules.deliveries.outbox.taken)
            or bool(self.to_withdraw)
        )

    def written(self) -> list[Statement]:
        """Statements for what is late and not missed; they come after all others of schedules."""
        return schedules.marks_written(self.working.rules, self._schedules)
