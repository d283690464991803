"""What the calls of a group are told once it is committed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, get_args

from afterwards.errors import (
    AfterwardsError,
    JournalUnavailable,
    RegistryUnavailable,
    StaleReport,
    Unavailable,
)
from afterwards.logs import get_logger
from afterwards.registry.engine.call import CHANGES_NOTHING, Call
from afterwards.registry.engine.outage import Outage
from afterwards.registry.engine.views import READS, Views
from afterwards.registry.journal.base import Journal
from afterwards.registry.protocol.answers import Answer
from afterwards.registry.protocol.requests import (
    ABOUT_THE_WORKER,
    Add,
    AddAll,
    Amend,
    Beat,
    Cancel,
    Count,
    Find,
    Get,
    Probe,
    Report,
    Request,
    Retry,
    Scrape,
)
from afterwards.registry.state.rules import Rules

log = get_logger(__name__)

_SETTLED_BY_COMMIT: Final = frozenset({Add, AddAll, Amend, Cancel, Retry, *get_args(Report)})
"""Requests whose answers their changes give."""


class Replies:
    """Completes the answers of calls, and answers them, in two steps.

    What the changes themselves gave is in the answers already. A call that needs no more than that
    is settled by the commit, and answered at once; one that reads is answered when the group can be
    seen.

    Args:
        journal: has what is not in memory; None is the answer to what it has to be asked for.
    """

    def __init__(self, rules: Rules, journal: Journal, views: Views, outage: Outage) -> None:
        self._rules = rules
        self._is_durable = journal.durable
        self._views = views
        self._outage = outage

    def settle(self, call: Call) -> bool:
        """Fill in what follows from the commit alone; whether the answers are whole by that."""
        if call.worker is not None:
            call.cancels = self._rules.workers.cancellations(call.worker, call.connection)
        whole = True
        for position, request in enumerate(call.requests):
            if type(request) is Get:
                found = self._rules.store.get(request.task_id)
                call.answers[position] = found
                whole = whole and found is not None
            elif type(request) not in _SETTLED_BY_COMMIT:
                whole = False
        return whole

    def answer(self, call: Call, problem: JournalUnavailable | None) -> None:
        """Answer a call that is settled.

        Args:
            problem: the group is in a file that has lost its name meanwhile; None: it is on disk,
                or nothing of it had to be.
        """
        if problem is not None:
            self._doubt(call, problem)
        if call.tell is not None:
            try:
                call.tell(call.reply())
            except Exception:
                log.exception("an answer could not be told in its turn; it is given after it")
        call.finish()

    def answer_reader(self, call: Call, problem: JournalUnavailable | None) -> None:
        """Answer a call that is not settled, now that the group can be seen. As for `answer`."""
        try:
            self._fill_in(call)
        except Exception:
            log.exception("a call cannot be answered; it is refused")
            self.refuse([call], written=True)
        # Some of it may have to be read from the journal first.
        call.tell = None
        self.answer(call, problem)

    def refuse(self, calls: Sequence[Call], *, written: bool) -> None:
        """There is a bug: answer nothing of this.

        Args:
            written: it may have been carried out all the same.
        """
        refused: Unavailable = JournalUnavailable("an internal error; the log has it")
        if written:
            refused = RegistryUnavailable()
        for call in calls:
            call.answers = [refused for _ in call.requests]
            call.claims = []

    def note_refused_reports(self, calls: Sequence[Call]) -> None:
        """Count and log them."""
        for call in calls:
            for answer in call.answers:
                if isinstance(answer, StaleReport):
                    self._views.refused_reports += 1
                    log.warning(
                        "report refused; its attempt is not the running one",
                        task_id=answer.task_id,
                        type=self._type_of(answer.task_id),
                        attempt=answer.attempt,
                        running_attempt=answer.current,
                        state=answer.state,
                        worker=str(call.worker),
                    )

    def _fill_in(self, call: Call) -> None:
        for position, request in enumerate(call.requests):
            kind = type(request)
            if kind in CHANGES_NOTHING and kind is not Get:
                self._note_counts(call, request)
                call.answers[position] = self._read(request)
            elif kind is Beat:
                self._note_counts(call, request)

    def _doubt(self, call: Call, problem: JournalUnavailable) -> None:
        """The group is in a file that has lost its name meanwhile, and may be lost with it."""
        for position, request in enumerate(call.requests):
            kind = type(request)
            if kind is Probe:
                call.answers[position] = problem
            elif kind in CHANGES_NOTHING or kind in ABOUT_THE_WORKER:
                continue
            elif not isinstance(call.answers[position], AfterwardsError):
                call.answers[position] = RegistryUnavailable()

    def _type_of(self, task_id: str) -> str | None:
        task = self._rules.store.get(task_id)
        return None if task is None else task.type

    def _note_counts(self, call: Call, request: Request) -> None:
        if not isinstance(request, Beat | Scrape) or request.counts is None:
            return
        # The counts of a worker that is not joined belong to another service, or are in the sums
        # already because its process has ended.
        if call.worker and self._rules.workers.find(call.worker, call.connection):
            self._views.of_workers.report(str(call.worker), request.counts)

    def _read(self, request: Request) -> Answer:
        """Answer from memory, as committed; None: the journal has to be asked."""
        if type(request) in READS:
            return self._views.read(request)
        if isinstance(request, Find) and not self._is_durable:
            return self._rules.store.find(request)
        if isinstance(request, Count):
            return self._count(request)
        if isinstance(request, Probe) and self._outage.is_on:
            return JournalUnavailable(self._outage.problem)
        return None

    def _count(self, query: Count) -> int | None:
        if query.created_after is None and query.created_before is None:
            return self._views.count(query)
        return None if self._is_durable else self._rules.store.count(query)
