"""The answers to the calls of a group, told once it is committed."""

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
from afterwards.registry.engine.call import Call, Open
from afterwards.registry.engine.outage import Outage
from afterwards.registry.engine.reads import Deferred, Reads
from afterwards.registry.engine.views import Views
from afterwards.registry.protocol.answers import Answer
from afterwards.registry.protocol.key_requests import Share
from afterwards.registry.protocol.requests import (
    ABOUT_THE_WORKER,
    Add,
    AddAll,
    Amend,
    Beat,
    Cancel,
    Delete,
    Get,
    Probe,
    Progress,
    Report,
    Request,
    Retry,
    RunNow,
    Scrape,
    SubmitChildren,
)
from afterwards.registry.state.rules import Rules

log = get_logger(__name__)

_SETTLED_BY_COMMIT: Final = frozenset(
    {Add, AddAll, SubmitChildren, Amend, Cancel, Delete, Retry, RunNow, *get_args(Report)}
)
"""Requests whose answers their changes give."""
_NOTED_AFTER_COMMIT: Final = frozenset({Probe, Progress, Share})
"""No reads, and nothing of them is written with the tasks."""


class Replies:
    """Completes the answers of calls, and answers them, in two steps.

    1. `settle`: a call is whole by the commit alone if it only changes tasks, or gets tasks that
       are in memory. It is answered at once.
    2. `answer_reader`: all others are answered when the group can be seen. What is left in their
       answers by then is a `Deferred`: its asker completes it after the turn.
    """

    def __init__(self, rules: Rules, reads: Reads, views: Views, outage: Outage) -> None:
        self._rules = rules
        self._reads = reads
        self._views = views
        self._outage = outage
        self.after_commit = reads.kinds | _NOTED_AFTER_COMMIT
        """Requests that change nothing that is written; they are answered here."""

    def settle(self, call: Call) -> bool:
        """Fill in what follows from the commit alone; whether the answers are whole by that."""
        if call.worker is not None:
            call.keys = self._rules.keys.version
            call.cancels = self._rules.workers.tell(call.worker, call.connection, call.keys)
        whole = True
        for position, request in enumerate(call.requests):
            if type(request) is Get:
                call.answers[position] = found = self._reads.answer(request)
                whole = whole and type(found) is not Deferred
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
        # Some of it may be a `Deferred`.
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
            call.keys = None

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
            self._note_counts(call, request)
            if call.answers[position] is Open.AFTER_COMMIT:
                call.answers[position] = self._answer(call, request)

    def _answer(self, call: Call, request: Request) -> Answer | Deferred:
        match request:
            case Probe():
                return JournalUnavailable(self._outage.problem) if self._outage.is_on else None
            case Share():
                return self._rules.shares.share(call.worker, request)
            case Progress():
                return self._views.note_progress(request)
            case _:
                return self._reads.answer(request)

    def _doubt(self, call: Call, problem: JournalUnavailable) -> None:
        """The group is in a file that has lost its name meanwhile, and may be lost with it."""
        for position, request in enumerate(call.requests):
            kind = type(request)
            if kind is Probe:
                call.answers[position] = problem
            elif kind in self.after_commit or kind in ABOUT_THE_WORKER:
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
