"""The reads of a registry: one row of a table for each kind of request.

A new read is a request in `afterwards.registry.protocol.requests` and a row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

from afterwards.buckets import STEPS, TOTAL
from afterwards.counts import Kept, Snapshot
from afterwards.errors import (
    JournalUnavailable,
    ScheduleNotFound,
    TaskDeleted,
    TaskNotFound,
    WebhookNotFound,
)
from afterwards.lifecycle import Task
from afterwards.metrics import render
from afterwards.registry.engine.committed import CommittedTasks
from afterwards.registry.engine.counts_file import CountsFile
from afterwards.registry.engine.fleet import worker_list
from afterwards.registry.engine.views import Views
from afterwards.registry.journal.base import Journal
from afterwards.registry.journal.series_rows import Key
from afterwards.registry.protocol.answers import (
    Answer,
    Counted,
    Details,
    ErrorPage,
    Page,
    SchedulePage,
    SeriesRows,
    Statistics,
)
from afterwards.registry.protocol.filters import Order
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
from afterwards.registry.state import selection
from afterwards.registry.state.rules import Rules

_BUCKETS: Final = {step.seconds: step.buckets for step in STEPS.values()}


class Deferred(NamedTuple):
    """An answer that the asker's own thread completes: it needs the disk, or takes long."""

    complete: Callable[[], Answer]


def completed(answer: Answer) -> Answer:
    """The answer itself, or what a `Deferred` gives; not during a turn, which is everybody's."""
    if type(answer) is not Deferred:
        return answer
    try:
        return answer.complete()
    except JournalUnavailable as error:
        return error


class Reads:
    """Answers reads: at once from memory, or with a `Deferred`.

    Args:
        committed: the tasks of late, for reads by id, and which of them wait for their key.
        rules: the state; read in a turn.
        views: what is counted and published.
        journal: has the tasks that are not in memory, histories and lists.
        counts_file: keeps what is counted in memory before it is shown.
    """

    def __init__(
        self,
        committed: CommittedTasks,
        rules: Rules,
        views: Views,
        journal: Journal,
        counts_file: CountsFile,
    ) -> None:
        self._committed = committed
        self._rules = rules
        self._views = views
        self._journal = journal
        self._counts_file = counts_file
        self._holders = committed.holders
        self._by_kind: dict[type, Callable[[Any], Answer | Deferred]] = {
            Get: self._task,
            Inspect: lambda request: Deferred(partial(self._details, request)),
            Find: self._page,
            Members: self._members,
            Count: self._count,
            Activity: lambda request: Deferred(partial(self._journal.activity, request)),
            Errors: lambda request: Deferred(partial(self._errors, request)),
            Counts: lambda _: views.by_state(),
            Changes: views.changes,
            GetSchedule: self._schedule,
            GetWebhook: self._webhook,
            ListWebhooks: lambda _: rules.deliveries.webhooks.all(),
            Keys: rules.keys.ring,
            ListWorkers: lambda _: worker_list(rules, views.uptime_seconds()),
            Schedules: self._schedules,
            Series: lambda request: Deferred(partial(self._with_kept, views.series.rows(request))),
            Stats: lambda _: Deferred(partial(self._with_sizes, views.statistics())),
            Scrape: lambda _: Deferred(partial(self._rendered, views.snapshot(), views.kept())),
        }
        self.kinds = frozenset(self._by_kind)
        """The requests that are reads."""

    def answer(self, request: Request) -> Answer | Deferred:
        """Answer a read in a turn, between its commit and the next group.

        A `ReadById` may be answered in any thread, at any time.
        """
        return self._by_kind[type(request)](request)

    def _task(self, request: Get) -> Task | Deferred:
        task = self._committed.get(request.task_id)
        return task or Deferred(partial(self._stored_task, request.task_id))

    # -- in a turn -----------------------------------------------------------------------------

    def _page(self, request: Find) -> Deferred:
        if self._journal.durable and request.order is not Order.DUE:
            find: Callable[[], Page] = partial(self._journal.find, request)
        else:
            tasks = self._rules.store.gathered(finished=request.order is not Order.DUE)
            find = partial(selection.find, tasks, request)
        return Deferred(lambda: self._holders.in_page(self._views.with_progress(find())))

    def _members(self, request: Members) -> Deferred:
        if self._journal.durable:
            return Deferred(partial(self._journal.members, request))
        tasks = self._rules.store.gathered(finished=True)
        return Deferred(partial(selection.members, tasks, request))

    def _count(self, request: Count) -> Counted | Deferred:
        if request.filter.only_kinds:
            return self._views.count(request)
        if self._journal.durable:
            return Deferred(partial(self._journal.count, request))
        tasks = self._rules.store.gathered(finished=True)
        return Deferred(partial(selection.count, tasks, request))

    def _errors(self, request: Errors) -> ErrorPage:
        return self._journal.errors(request, self._rules.clock.wall())

    def _schedule(self, request: GetSchedule) -> Answer:
        try:
            return self._rules.schedules.get(request.name)
        except ScheduleNotFound as error:
            return error

    def _webhook(self, request: GetWebhook) -> Answer:
        try:
            return self._rules.deliveries.webhooks.get(request.name)
        except WebhookNotFound as error:
            return error

    def _schedules(self, request: Schedules) -> SchedulePage | Deferred:
        page = self._rules.schedules.page(request)
        if not request.results:
            return page
        names = [schedule.name for schedule in page.schedules]
        return Deferred(lambda: page._replace(results=self._journal.due_tasks(names)))

    # -- in the asker's thread -----------------------------------------------------------------

    def _stored_task(self, task_id: str) -> Task | TaskNotFound:
        return self._journal.read(task_id) or self._missing(task_id)

    def _details(self, request: Inspect) -> Details | TaskNotFound:
        details = self._journal.details(request.task_id, tracebacks=request.tracebacks)
        if details is None:
            return self._missing(request.task_id)
        return self._holders.in_details(self._views.with_mark(details))

    def _missing(self, task_id: str) -> TaskNotFound:
        deleted = self._journal.was_deleted(task_id)
        return (TaskDeleted if deleted else TaskNotFound)(task_id)

    def _with_kept(self, found: SeriesRows) -> SeriesRows:
        """With what is in the journal. What was written meanwhile is here already."""
        step = found.step_seconds
        first = found.last - step * (_BUCKETS[step] - 1)
        kept = dict(self._journal.series(Key(step, first, found.type), found.last))
        rows = totals = sorted({**kept, **dict(found.rows)}.items())
        if found.type:
            kept = dict(self._journal.series(Key(step, first, TOTAL), found.last))
            totals = sorted({**kept, **dict(found.totals)}.items())
        return found._replace(rows=rows, totals=totals)

    def _with_sizes(self, statistics: Statistics) -> Statistics:
        return statistics._replace(journal_bytes=self._journal.size_bytes())

    def _rendered(self, snapshot: Snapshot, kept: Kept) -> bytes:
        # Kept first: what is shown must not fall when another registry takes over.
        self._counts_file.save(kept)
        journal = self._journal
        wal_bytes, left = journal.wal_bytes(), journal.left_to_reseal()
        return render(replace(snapshot, wal_bytes=wal_bytes, left_to_reseal=left), kept)
