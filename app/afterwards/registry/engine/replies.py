"""What the calls of a group are told once it is committed."""

from __future__ import annotations

from collections.abc import Sequence

from afterwards.errors import (
    AfterwardsError,
    JournalUnavailable,
    RegistryUnavailable,
    StaleReport,
)
from afterwards.logs import get_logger
from afterwards.registry.engine.call import CHANGES_NOTHING, Call
from afterwards.registry.engine.outage import Outage
from afterwards.registry.engine.views import READS, Readings
from afterwards.registry.journal.base import Journal
from afterwards.registry.protocol.answers import Answer
from afterwards.registry.protocol.requests import (
    ABOUT_THE_WORKER,
    Beat,
    Count,
    Find,
    Get,
    Probe,
    Request,
    Scrape,
)
from afterwards.registry.state.rules import Rules

log = get_logger(__name__)


class Replies:
    """Completes the answers of calls. What the changes themselves gave is in them already.

    Args:
        journal: has what is not in memory; None is the answer to what it has to be asked for.
    """

    def __init__(self, rules: Rules, journal: Journal, readings: Readings, outage: Outage) -> None:
        self._rules = rules
        self._is_durable = journal.durable
        self._readings = readings
        self._outage = outage

    def fill_in(self, calls: Sequence[Call]) -> None:
        """Fill in what follows from the group's outcome: readings, refusals, cancellations."""
        for call in calls:
            for position, request in enumerate(call.requests):
                kind, answer = type(request), call.answers[position]
                if kind in CHANGES_NOTHING:
                    self._note_counts(call, request)
                    call.answers[position] = self._read(request)
                elif kind is Beat:
                    self._note_counts(call, request)
                elif isinstance(answer, StaleReport):
                    self._readings.refused_reports += 1
                    log.warning(
                        "report refused; its attempt is not the running one",
                        task_id=answer.task_id,
                        type=self._type_of(answer.task_id),
                        attempt=answer.attempt,
                        running_attempt=answer.current,
                        state=answer.state,
                        worker=str(call.worker),
                    )
            if call.worker is not None:
                call.cancels = self._rules.attendance.cancellations(call.worker, call.connection)

    def doubt(self, calls: Sequence[Call], problem: JournalUnavailable) -> None:
        """The group is in a file that has lost its name meanwhile, and may be lost with it."""
        for call in calls:
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
        if call.worker and self._rules.attendance.find(call.worker, call.connection):
            self._readings.of_workers.report(str(call.worker), request.counts)

    def _read(self, request: Request) -> Answer:
        """Answer from memory, as committed; None: the journal has to be asked."""
        if type(request) in READS:
            return self._readings.read(request)
        if isinstance(request, Get):
            return self._rules.store.get(request.task_id)
        if isinstance(request, Find) and not self._is_durable:
            return self._rules.store.find(request)
        if isinstance(request, Count):
            return self._count(request)
        if isinstance(request, Probe) and self._outage.is_on:
            return JournalUnavailable(self._outage.problem)
        return None

    def _count(self, query: Count) -> int | None:
        if query.created_after is None and query.created_before is None:
            return self._readings.count(query)
        return None if self._is_durable else self._rules.store.count(query)
