"""The reads of the registry: a row of a table for each kind of request.

None of them takes part in a transaction that writes. Each sees what was committed when it began.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from afterwards.counts import counts_by_state
from afterwards.errors import TaskDeleted, TaskNotFound
from afterwards.lifecycle import Task
from afterwards.registry.journal.history import MOST_SHOWN, with_history
from afterwards.registry.postgresql import columns, events, failures, listing, series
from afterwards.registry.postgresql.activity import ActivityReads
from afterwards.registry.postgresql.database import Database
from afterwards.registry.postgresql.fleet import Fleet
from afterwards.registry.postgresql.ids import is_id
from afterwards.registry.postgresql.keys import KeyReads
from afterwards.registry.postgresql.schedules import ScheduleReads
from afterwards.registry.postgresql.statistics import Figures
from afterwards.registry.postgresql.webhooks import WebhookReads
from afterwards.registry.protocol.answers import (
    Answer,
    Counted,
    Details,
    Events,
    KeyWait,
    ProgressMark,
)
from afterwards.registry.protocol.key_requests import Keys
from afterwards.registry.protocol.requests import (
    Activity,
    Changes,
    Count,
    Counts,
    Errors,
    Find,
    Get,
    GetSchedule,
    Inspect,
    ListWorkers,
    Members,
    Request,
    Schedules,
    Scrape,
    Series,
    Stats,
)
from afterwards.registry.protocol.webhook_requests import GetWebhook, ListWebhooks

_SELECT_TASK: Final = f"SELECT {columns.SELECTED} FROM afterwards.tasks WHERE id = %s"
_WAS_DELETED: Final = "SELECT 1 FROM afterwards.deleted WHERE id = %s"
_SELECT_ATTEMPTS: Final = (
    f"SELECT {columns.SELECTED_OF_ATTEMPT} FROM afterwards.attempts WHERE task = %s "
    f"ORDER BY attempt DESC LIMIT {MOST_SHOWN}"
)
_COUNT_CHILDREN: Final = "SELECT count(*) FROM afterwards.tasks WHERE parent = %s"
_SELECT_PROGRESS: Final = (
    "SELECT attempt, fraction, message, at FROM afterwards.progress WHERE task = %s"
)
_COUNT_HOLDERS: Final = """
SELECT concurrency_key, lane IS NOT NULL, (
    SELECT count(*) FROM afterwards.tasks AS r
    WHERE r.type = t.type AND r.concurrency_key = t.concurrency_key AND r.state = 'processing'
) FROM afterwards.tasks AS t
WHERE id = %s AND concurrency_key IS NOT NULL AND state = 'pending'
"""
_SUM_COUNTS: Final = """
SELECT counter, type, label, sum(number)::bigint FROM afterwards.counts
GROUP BY counter, type, label
"""


class Reads:
    """Answers reads."""

    def __init__(self, database: Database, fleet: Fleet, figures: Figures) -> None:
        self._database = database
        self._by_kind: Mapping[type, Callable[[Any], Answer]] = {
            Get: self._task,
            Inspect: self._details,
            Counts: lambda _: counts_by_state(self.counts()),
            Changes: self._changes,
            Find: lambda request: listing.find(database, request),
            Members: lambda request: listing.members(database, request),
            Count: self._count,
            ListWorkers: lambda _: fleet.workers(figures.uptime_seconds()),
            Series: lambda request: series.read(database, figures.own, request),
            Stats: lambda _: figures.statistics(),
            Scrape: lambda _: figures.metrics(),
            Errors: lambda request: failures.errors(database, request),
            GetSchedule: ScheduleReads(database).one,
            Schedules: ScheduleReads(database).page,
            GetWebhook: WebhookReads(database).one,
            ListWebhooks: WebhookReads(database).all,
            Keys: KeyReads(database).ring,
            Activity: ActivityReads(database).page,
        }
        self.kinds = frozenset(self._by_kind)
        """The requests that are reads."""

    def answer(self, request: Request) -> Answer:
        """Answer a read.

        Raises:
            JournalUnavailable: the database refuses.
            DatabaseUnreachable: it cannot be asked.
        """
        return self._by_kind[type(request)](request)

    def counts(self) -> dict[tuple[str, str, str], int]:
        """The sums of all writers' counts."""
        [rows] = self._database.read((_SUM_COUNTS, ()))
        return {(counter, kind, label): number for counter, kind, label, number in rows}

    def _task(self, request: Get) -> Task | TaskNotFound:
        if not is_id(request.task_id):
            return TaskNotFound(request.task_id)
        task_id = (request.task_id,)
        found, deleted = self._database.read((_SELECT_TASK, task_id), (_WAS_DELETED, task_id))
        if found:
            return columns.to_task(found[0])
        return (TaskDeleted if deleted else TaskNotFound)(request.task_id)

    def _details(self, request: Inspect) -> Details | TaskNotFound:
        if not is_id(request.task_id):
            return TaskNotFound(request.task_id)
        task_id = (request.task_id,)
        found, deleted, attempts, children, marks, waits = self._database.read(
            *((sql, task_id) for sql in _OF_DETAILS)
        )
        if not found:
            return (TaskDeleted if deleted else TaskNotFound)(request.task_id)
        task = columns.to_task(found[0])
        ended = [columns.to_attempt(row, tracebacks=request.tracebacks) for row in attempts]
        details = with_history(task, ended[::-1], children[0][0])
        if marks and task.worker is not None and marks[0][0] == task.attempt:
            details = details._replace(progress=ProgressMark(*marks[0]))
        if waits and not waits[0][1]:
            details = details._replace(waiting=KeyWait(waits[0][0], waits[0][2]))
        return details

    def _count(self, request: Count) -> Counted:
        wanted = request.filter
        if not wanted.only_kinds:
            return listing.count(self._database, request)
        numbers = counts_by_state(self.counts())
        return Counted(sum(n for kind, n in numbers.items() if listing.is_of_kinds(wanted, kind)))

    def _changes(self, request: Changes) -> Events:
        return events.changes_after(self._database, request.epoch, request.after)


_OF_DETAILS: Final = (
    _SELECT_TASK,
    _WAS_DELETED,
    _SELECT_ATTEMPTS,
    _COUNT_CHILDREN,
    _SELECT_PROGRESS,
    _COUNT_HOLDERS,
)
