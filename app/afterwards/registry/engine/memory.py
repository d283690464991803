"""The registry within one process: rules, group commit and views put together.

`MemoryRegistry` without a journal is `--registry memory`: all rules, no disk, gone with its
process. With a journal it is what the registry process hosts
(`afterwards.registry.process.body`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from afterwards.counts import ENDED
from afterwards.lifecycle import Task
from afterwards.logs import get_logger
from afterwards.registry.engine.committed import CommittedTasks
from afterwards.registry.engine.committer import Committer
from afterwards.registry.engine.counts_file import CountsFile
from afterwards.registry.engine.key_holders import KeyHolders
from afterwards.registry.engine.reads import Reads, completed
from afterwards.registry.engine.views import Views
from afterwards.registry.engine.watches import Killer, Watches
from afterwards.registry.journal.base import Contents, Journal
from afterwards.registry.journal.nowhere import NullJournal
from afterwards.registry.protocol.answers import Answer, Events, Reply
from afterwards.registry.protocol.base import Worker
from afterwards.registry.protocol.clock import Clock, SystemClock
from afterwards.registry.protocol.incarnation import end, is_alive, when_gone
from afterwards.registry.protocol.mapping import TaskMapping
from afterwards.registry.protocol.requests import (
    Alive,
    Beat,
    Changes,
    DeclareSchedules,
    Join,
    PauseSchedule,
    PutSchedule,
    ReadById,
    Request,
)
from afterwards.registry.state.acceptance import Limits
from afterwards.registry.state.ages import TrustedTime
from afterwards.registry.state.retention import Retention
from afterwards.registry.state.rules import Rules

log = get_logger(__name__)

LONGEST_WATCH_SECONDS = 30.0


@dataclass(frozen=True)
class Surroundings:
    """The machine as a registry sees it; tests bring their own."""

    clock: Clock = field(default_factory=SystemClock)
    is_alive: Callable[[Worker], bool] = is_alive
    end: Callable[[Worker], None] = end
    """Kills the worker's process, that very one, if it still runs. Raises OSError or MemoryError if
    something has run out: it may still run, and its tasks must not begin elsewhere."""
    when_gone: Callable[[Worker, Callable[[], None]], None] = when_gone
    """Calls back once, from any thread, when the worker's process has ended. What it raises when
    something has run out is survived, and it is asked again."""


class MemoryRegistry(TaskMapping):
    """A `Registry`, and a read-only mapping of ids to tasks.

    Args:
        service: which service's workers may join.
        limits: what bounds it.
        retention_seconds: how long finished tasks are kept.
        activity_seconds: how long what people have done by hand is remembered.
        clock_confirmed: the wall clock is right, whatever it has jumped.
        journal: where changes are written before they are told; None: nowhere.
        counts_file: where what is counted in memory is kept before it is shown; None: nowhere.
        output_dir: where tasks have their files, which go with them; None: nowhere.
        ran: when the registry before, of the same service, has begun and died; None: none has.
        threaded: False leaves what time brings to the caller (`committer.turns.step`), for tests.
    """

    def __init__(
        self,
        service: str,
        limits: Limits | None = None,
        *,
        retention_seconds: float = 7 * 24 * 3600.0,
        activity_seconds: float = 90 * 24 * 3600.0,
        clock_confirmed: bool = False,
        journal: Journal | None = None,
        counts_file: Path | None = None,
        output_dir: Path | None = None,
        surroundings: Surroundings | None = None,
        ran: tuple[float, float] | None = None,
        threaded: bool = True,
    ) -> None:
        self._journal = journal or NullJournal()
        self._surroundings = surroundings or Surroundings()
        self._watches = Watches(self._surroundings.when_gone, self._worker_gone)
        self._killer = Killer(
            self._surroundings.end, self._surroundings.is_alive, self._worker_gone
        )
        clock = self._surroundings.clock
        contents = self._journal.load()
        self.rules = _rules(service, clock, self._journal, limits or Limits(), contents)
        self._counts_file = CountsFile(counts_file)
        self.views = Views(
            self.rules,
            clock,
            contents.counts,
            self._counts_file.load(),
            journal=self._journal,
            ran=ran,
        )
        holders = KeyHolders(self.rules.store.key_lines.allowed)
        self._committed = CommittedTasks(holders, durable=self._journal.durable)
        self._reads = Reads(
            self._committed, self.rules, self.views, self._journal, self._counts_file
        )
        self._add_up_ended()
        self._take_in(contents.unfinished)
        time = TrustedTime(clock, contents.trusted_at, confirmed=clock_confirmed)
        self.committer = Committer(
            self.rules,
            self._journal,
            self._committed,
            self.views,
            self._reads,
            retention=Retention(self._journal, clock, time, retention_seconds, activity_seconds),
            end_silent=self._killer.end,
            output_dir=output_dir,
        )
        self._thread = threading.Thread(
            target=self.committer.turns.run, name="committer", daemon=True
        )
        self._begin(threaded=threaded)

    def _begin(self, *, threaded: bool) -> None:
        for record in self.rules.ledger:
            if not record.gone:
                self._watches.watch(record.worker)
        if threaded:
            self._thread.start()
            self.committer.resealer.start()
            self.committer.remover.start()

    def _take_in(self, unfinished: Iterator[Task]) -> None:
        """Load the journal's tasks; claims of dead or foreign workers are lost (rule 8)."""
        loaded = 0
        for task in unfinished:
            loaded += 1
            suspect = task.crowd == 1 and task.lost_attempts > 0
            if task.worker is not None:
                suspect = not self._is_held_on(task.worker)
            self.rules.store.load(task, may_end_the_service=suspect)
            self._committed.load(task)
        if loaded:
            interrupted = sum(len(record.held) for record in self.rules.ledger if record.gone)
            log.info("unfinished tasks loaded", tasks=loaded, interrupted=interrupted)

    def _add_up_ended(self) -> None:
        """Add up kept counts of workers that may have died with the registry before."""
        for worker in self.views.of_workers.by_worker():
            if worker != ENDED and not self._surroundings.is_alive(Worker.parse(worker)):
                self.views.of_workers.worker_gone(worker)

    def _is_held_on(self, name: str) -> bool:
        """Enter a holder of claims, and whether it lives on and belongs to this service."""
        record = self.rules.ledger.find(name)
        if record is not None:
            return not record.gone
        holder = Worker.parse(name)
        if holder.service == self.rules.workers.service and self._surroundings.is_alive(holder):
            self.rules.workers.restore(holder)
            return True
        # Of an earlier service it may still run, with nobody left to report to, and what it holds
        # would run twice at a time.
        self._surroundings.end(holder)
        self.rules.workers.mark_dead(holder)
        return False

    # -- Registry ------------------------------------------------------------------------------

    def exchange(
        self,
        worker: Worker | None,
        connection: int,
        requests: Sequence[Request],
        tell: Callable[[Reply], None] | None = None,
    ) -> Reply:
        """See `Registry.exchange`.

        Args:
            tell: is given the same reply first if it is whole as soon as the group is committed. It
                holds up everybody else's group, so it must not block.
        """
        if len(requests) == 1 and type(requests[0]) is Alive:
            return Reply([self.rules.workers.hear(worker, connection)], [], [])
        for request in requests:
            if isinstance(request, PutSchedule | PauseSchedule | DeclareSchedules):
                # Some due times take milliseconds to find, and the turn is everybody's.
                self.rules.schedules.foresee(request)
        call = self.committer.call(worker, connection, requests, tell)
        kinds = {type(request) for request in requests}
        # Only now: the death of a worker that the rules do not know yet would go unnoticed.
        if worker is not None and Join in kinds:
            self._watches.watch(worker)
        if Beat in kinds:
            self._watches.try_again()
        answers = [completed(answer) for answer in call.answers]
        return Reply(answers, call.claims, call.cancels, call.keys)

    def read(self, requests: Sequence[ReadById]) -> Sequence[Answer]:
        return [completed(self._reads.answer(request)) for request in requests]

    def watch(self, worker: Worker, connection: int, timeout_seconds: float) -> bool:
        record = self.rules.ledger.find(str(worker))
        if record is None or not record.joined or record.connection != connection:
            return False
        called = record.attention.wait(min(timeout_seconds, LONGEST_WATCH_SECONDS))
        record.attention.clear()
        return called

    def follow(self, epoch: str, after: int, timeout_seconds: float) -> Events:
        log = self.views.events
        found = log.follow(epoch, after, min(timeout_seconds, LONGEST_WATCH_SECONDS))
        if found is not None:
            return Events(log.epoch, log.sequence, found, False)
        # By the committer: the counts have to be those of the very sequence.
        [answer] = self.committer.call(None, 0, [Changes(epoch, after)]).answers
        assert isinstance(answer, Events)
        return answer

    def has_workers(self) -> bool:
        """True if a worker that has joined still runs, and has not left or still holds claims."""
        return any(
            not record.gone and (record.over is None or record.held) for record in self.rules.ledger
        )

    def close(self) -> None:
        """Commit what has come in, then stop."""
        self.views.events.close()
        self.committer.resealer.close()
        self.committer.remover.close()
        self.committer.post(self.views.series.finish)
        self.committer.turns.close()
        if self._thread.is_alive():
            self._thread.join()
        self._counts_file.save(self.views.kept())
        self._journal.close()

    def _worker_gone(self, worker: Worker) -> None:
        def mark_dead() -> None:
            self.rules.workers.worker_gone(worker)
            self.views.of_workers.worker_gone(str(worker))

        self.committer.post(mark_dead)


def _rules(
    service: str, clock: Clock, journal: Journal, limits: Limits, contents: Contents
) -> Rules:
    """The rules of a registry that begins with these contents, but for the unfinished tasks."""
    rules = Rules(
        service,
        clock,
        journal,
        limits,
        next_order=contents.next_order,
        last_created_at=contents.last_created_at,
    )
    rules.load(contents.plans, contents.keys, contents.webhooks)
    return rules
