"""Group commit: what came in meanwhile is carried out, written at once, and answered.

    calls --> carry out the changes --> hand out claims --> one transaction --> answer
                         ^                                        |               |
                         +----------- take back, if it failed ----+          show, then
                                                                         answer who reads

While a transaction is being synced the next calls gather, so the busier the registry is, the less
one task costs. One thread at a time does this, for all (`afterwards.registry.engine.turns`), and
nothing is told to anyone before its commit.

A call that waits for the commit alone is answered right after it. What others see of the group
(counts, events, metrics) follows in the same turn: a bug there is logged, and takes nothing back.
A call that reads is answered after that, and sees the group.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from afterwards.counts import tally
from afterwards.errors import (
    AfterwardsError,
    JournalUnavailable,
    OutcomeUnknown,
    RegistryUnavailable,
)
from afterwards.logs import get_logger
from afterwards.registry.engine.call import Call, Open
from afterwards.registry.engine.committed import CommittedTasks
from afterwards.registry.engine.lookout import Lookout
from afterwards.registry.engine.outage import Outage
from afterwards.registry.engine.reads import Reads
from afterwards.registry.engine.remover import Remover
from afterwards.registry.engine.replies import Replies
from afterwards.registry.engine.resealer import Resealer
from afterwards.registry.engine.rounds import Round
from afterwards.registry.engine.turns import LONGEST_SECONDS, Turns, WorkItem
from afterwards.registry.engine.views import Views
from afterwards.registry.journal.base import Group, Journal
from afterwards.registry.journal.removals import removals_of
from afterwards.registry.protocol.answers import Answer, Reply
from afterwards.registry.protocol.base import Worker
from afterwards.registry.protocol.requests import Beat, Join, Probe, Request
from afterwards.registry.state.retention import Retention
from afterwards.registry.state.rules import Rules

log = get_logger(__name__)

_RENEWING: Final = frozenset({Join, Beat})
"""Each is the first of its batch."""


class _Written(NamedTuple):
    """A group that is durable."""

    group: Group
    seconds: float
    """So long its transaction took."""


@dataclass(eq=False)
class _Event(WorkItem):
    """Something that happened, and what it does to the rules."""

    happen: Callable[[], None]


class Committer:
    """Carries out calls in groups. `commit` does one; `turns` says when, and in whose thread.

    Args:
        rules: the state; touched by nothing else, and only in a turn.
        journal: where groups are written.
        committed: keeps the tasks as committed; is told of every group before and after its commit.
        views: is told of every committed group.
        reads: answers the requests that only read.
        retention: decides which finished tasks to delete.
        end_silent: is called after each group with the workers that have to be killed, if any.
        output_dir: where tasks have their files; None: nowhere.
    """

    def __init__(
        self,
        rules: Rules,
        journal: Journal,
        committed: CommittedTasks,
        views: Views,
        reads: Reads,
        *,
        retention: Retention,
        end_silent: Callable[[Iterable[Worker]], None],
        output_dir: Path | None = None,
    ) -> None:
        self._rules = rules
        self._journal = journal
        self._committed = committed
        self._views = views
        self._retention = retention
        self._end_silent = end_silent
        self.turns = Turns(self._work)
        self.resealer = Resealer(journal, self._write_soon)
        self.remover = Remover(journal, output_dir, self._write_soon)
        self._lookout = Lookout(journal, rules.clock)
        self._events: list[Callable[[], None]] = []
        self._outage = Outage()
        self._replies = Replies(rules, reads, views, self._outage)
        self._written: _Written | None = None
        """The part of the group at hand that is on disk; None: nothing is, or has to be."""

    # -- from any thread -----------------------------------------------------------------------

    def call(
        self,
        worker: Worker | None,
        connection: int,
        requests: Sequence[Request],
        tell: Callable[[Reply], None] | None = None,
    ) -> Call:
        """Have the requests carried out in the next group and wait for its commit.

        Args:
            tell: as `Call.tell`.
        """
        call = Call(worker, connection, requests, tell=tell)
        if not self.turns.bring(call):
            raise RegistryUnavailable
        return call

    def post(self, event: Callable[[], None]) -> None:
        """Have something happen to the rules in the next group, without waiting."""
        self.turns.leave(_Event(event))

    def _write_soon(self) -> None:
        self.post(lambda: None)

    # -- whoever has the turn ------------------------------------------------------------------

    def _work(self, items: Sequence[WorkItem]) -> float:
        self._events += [item.happen for item in items if isinstance(item, _Event)]
        self.commit([item for item in items if isinstance(item, Call)])
        return self._until_next_due()

    def commit(self, calls: Sequence[Call]) -> None:
        """Carry out one group: the whole of a registry's work.

        Raises:
            OutcomeUnknown: it is not known whether its transaction is written. No call is answered,
                and the process has to end: a recovery will tell.
        """
        self._written = None
        self._lookout.look_if_due()
        late = []
        try:
            self._carry_out_and_write(calls)
            late = [call for call in calls if not self._replies.settle(call)]
        except OutcomeUnknown:
            raise
        except Exception:
            # A bug, not a refusal. The rest has to go on, and nobody may take the group for done.
            log.exception("group failed; its calls are refused")
            self._rules.undo()
            self._replies.refuse(calls, written=self._is_written())
        problem = self._lookout.problem if self._is_written() else None
        for call in calls:
            if call not in late:
                self._replies.answer(call, problem)
        self._show(calls)
        for call in late:
            self._replies.answer_reader(call, problem)
        if self._rules.workers.silent:
            self._end_silent(self._rules.workers.silent)

    def _is_written(self) -> bool:
        return self._written is not None

    def _show(self, calls: Sequence[Call]) -> None:
        """Let the group be seen by those who have not asked for it, as its turn goes on."""
        for step in (
            self._show_what_is_written,
            lambda: self._replies.note_refused_reports(calls),
            self._draw_attention,
        ):
            try:
                step()
            except Exception:
                # It is committed, and has been answered.
                log.exception("a group is not seen as it should; it is carried out")

    def _until_next_due(self) -> float:
        if self._outage.is_on:
            # What is due cannot be done, and would be tried again without a pause.
            return LONGEST_SECONDS
        store, clock = self._rules.store, self._rules.clock
        wait = LONGEST_SECONDS
        for due, now in (
            (store.backing_off.next_due(), clock.elapsed()),
            (store.scheduled.next_due(), clock.wall()),
            (store.deadlines.next_due(), clock.wall()),
            (self._rules.schedules.next_due(), clock.wall()),
            (self._rules.deliveries.next_due(), clock.elapsed()),
            (store.ready.next_opening(clock.elapsed()), clock.elapsed()),
        ):
            if due is not None:
                wait = min(wait, due - now)
        return max(0.0, wait)

    # -- the steps of a group ------------------------------------------------------------------

    def _carry_out_and_write(self, calls: Sequence[Call]) -> None:
        """Carry out as much of the group as can be written."""
        for round_ in self._rounds():
            self._carry_out(calls, round_)
            if round_ is Round.UNWRITTEN:
                # A beat releases what it omits, and a leave everything; that has to wait.
                self._rules.put_off()
            elif self._write(calls, round_):
                return

    def _rounds(self) -> Iterator[Round]:
        yield Round.WHOLE
        # While another process has the journal's lock nothing fits, and whoever only reads or beats
        # has waited long enough.
        if not self._outage.is_locked:
            yield Round.WITHOUT_NEW_WORK
        yield Round.UNWRITTEN

    def _carry_out(self, calls: Sequence[Call], round_: Round) -> None:
        """Apply the changes in memory, as far as this round goes."""
        events, self._events = self._events, []
        for event in events:
            event()
        for call in calls:
            # Nobody is silent whose word is here already: it waited for the group before.
            if call.worker is not None and call.requests and type(call.requests[0]) in _RENEWING:
                self._rules.workers.renew(call.worker, call.connection)
        if round_ is not Round.UNWRITTEN:
            self._rules.advance(accepting=round_ is Round.WHOLE)
        if round_ is Round.WHOLE:
            self._trim_cache()
        for call in calls:
            call.answers = [self._apply(call, request, round_) for request in call.requests]
        if round_ is Round.WHOLE:
            # After the calls: one of them may just have retried a task that is overdue.
            self._retention.step(self._rules.store)
        for call in calls:
            if call.worker is not None and round_ is not Round.UNWRITTEN:
                call.claims = self._rules.assign(call.worker, call.connection)

    def _trim_cache(self) -> None:
        store = self._rules.store
        for task in store.overflow():
            if self._journal.durable:
                store.forget(task)
                self._committed.forget(task)
            else:
                store.put(task, None)

    def _apply(self, call: Call, request: Request, round_: Round) -> Answer | Open:
        kind = type(request)
        if kind in self._replies.after_commit:
            return Open.AFTER_COMMIT
        if round_.refuses(request):
            return self._outage.refusal()
        try:
            return self._rules.apply(call.worker, call.connection, request)
        except AfterwardsError as error:
            # A value from here on. Its traceback would lead back to this call, and keep both.
            return error.with_traceback(None)

    def _write(self, calls: Sequence[Call], round_: Round) -> bool:
        """True if the group is written, or nothing of it has to be."""
        store, rules = self._rules.store, self._rules
        probes = [call for call in calls if any(type(r) is Probe for r in call.requests)]
        now = rules.clock.wall()
        group = Group(
            changes=store.changes,
            counts=tally(store.changes),
            plans=rules.plan_changes(),
            series=self._views.series.due(now) if self._may_write_series(round_) else None,
            at=now,
            probe=bool(probes),
            trusted_at=self._retention.time_to_note(),
            forget_deleted_before=self._retention.forget_before,
            activity=rules.activity.entries,
            overdue_activity=self._retention.activity.overdue,
            keys=rules.keys.changes(),
            webhooks=rules.deliveries.changes(),
            resealed=self.resealer.staged if round_ is Round.WHOLE else None,
            removals=removals_of(store.changes),
            removed=self.remover.done,
        )
        if group.is_empty:
            rules.commit()
            return True
        started = time.perf_counter()
        try:
            self._lookout.require_place()
            self._committed.begin(group.changes)
            self._journal.write(group)
        except JournalUnavailable as error:
            self._outage.begin(error)
            self.resealer.put_off()
            self._take_back(calls)
            return False
        self._written = _Written(group, time.perf_counter() - started)
        if round_ is Round.WHOLE:
            self._outage.end_if_shown_by(group)
        self._note_commit(group, round_)
        self._lookout.look_after_commit()
        return True

    def _may_write_series(self, round_: Round) -> bool:
        return round_ is Round.WHOLE and not self._outage.is_on

    def _take_back(self, calls: Sequence[Call]) -> None:
        self._rules.undo()
        for call in calls:
            call.claims = []

    def _note_commit(self, group: Group, round_: Round) -> None:
        """The group is durable: now it may be told."""
        self._committed.end(group.changes)
        self._rules.commit()
        if group.trusted_at is not None:
            self._retention.noted()
        if group.resealed is not None:
            self.resealer.committed()
        self.remover.committed(group.removed)
        if group.removals:
            self.remover.call()
        if round_ is Round.WHOLE:
            # Its deletions were in what could not be written.
            self._retention.committed()

    def _show_what_is_written(self) -> None:
        if self._written is not None:
            self._views.committed(*self._written)
            self._rules.room.drain_rate = self._views.drain_rate.per_second

    def _draw_attention(self) -> None:
        """Wake the workers that could claim more, or have to be told of a cancellation or a key."""
        version = self._rules.keys.version
        for record in self._rules.ledger:
            if record.untold or record.keys_told != version or self._rules.slots.wanted(record):
                record.attention.set()
