"""A worker's side of the registry: requests from coroutines and executors, batched.

    coroutines --call--> outbox --> conversation --exchange--> registry
    executors --report->            |
                                    +--> claims to their holder, answers to the coroutines

A call is put into the outbox and a future is awaited. What gathers in the outbox during one
exchange goes in the next. Who exchanges is in `afterwards.registry.client.conversation`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from afterwards.errors import JournalLocked, NotJoined, Unavailable
from afterwards.registry.client.presence import Presence
from afterwards.registry.client.reader import Reader
from afterwards.registry.client.ring import Ring
from afterwards.registry.client.send_queue import Outbox, Pending, awaited_tasks
from afterwards.registry.client.waiting_calls import Answered, WaitingCalls, may_be_tried_again
from afterwards.registry.client.worker_side import ClaimHolder, CountsSource, SelfReporter, TaskCode
from afterwards.registry.protocol.answers import Reply
from afterwards.registry.protocol.key_requests import Keys, Share
from afterwards.registry.protocol.requests import (
    Drain,
    Leave,
    Progress,
    ReadById,
    Report,
    Request,
    Scrape,
)

PROGRESS_SECONDS: Final = 0.1
"""The least time between two messages with progress."""
_MAX_PROGRESS: Final = 500
"""In one batch."""


class RegistryClient:
    """The service's and the dispatcher's way to the registry, one for each worker.

    `call` belongs to the event loop, `report` to any thread, and the rest to the thread that has
    the connection.

    Args:
        holder: where claims are put.
        counts: what this worker counts.
        code: what this worker can run, until `announce` says otherwise.
        settled: hears of each task that was reported, once that is answered. From any thread.
        itself: has what it says of its process and its hosts; None: nothing.
        ring: is given the keys, and whenever they have changed; None: they are not wanted.
    """

    def __init__(
        self,
        holder: ClaimHolder,
        counts: CountsSource,
        code: TaskCode | None = None,
        settled: Callable[[str], None] = lambda _: None,
        itself: SelfReporter | None = None,
        *,
        ring: Ring | None = None,
    ) -> None:
        self._ring = ring or Ring(lambda _: None)
        self._holder = holder
        self._settled = settled
        self._counts = counts
        self._presence = Presence(holder, counts, code or TaskCode(), itself)
        self._calls = WaitingCalls()
        self._outbox = Outbox()
        self._progress: dict[str, Progress] = {}
        """The last word of each attempt that is not sent yet; there are no more than claims."""
        self._progress_due = 0.0
        self._nudged = False
        self._wake: Callable[[], None] = _nobody
        self._draining = False
        self._leaving = False
        self.has_left = False
        """True once the registry has answered the `Leave`."""
        self._reader: Reader | None = None

    # -- for the event loop --------------------------------------------------------------------

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take calls from this loop."""
        self._calls.bind(loop)

    def unbind(self) -> None:
        """Take no more calls; what still waits is refused."""
        self._calls.unbind()

    async def call(self, request: Request) -> Any:
        """Have a request carried out and committed.

        Raises:
            AfterwardsError: what the request's docstring names; `RegistryUnavailable` if there is
                no answer within `WAIT_SECONDS`, and then it is not known whether it was carried
                out.
        """
        self._calls.require_room(self._outbox.incoming())
        return await self._calls.answer_to(request, self._put)

    async def read(self, request: ReadById) -> Any:
        """Have a read answered as committed, without waiting for a commit.

        It sees everything that any worker was answered before. Raises as `call`.
        """
        reader = self._reader
        if reader is None:
            return await self.call(request)
        self._calls.require_room_to_read(reader.waiting())
        return await self._calls.answer_to(request, reader.put)

    def read_by(self, reader: Reader | None) -> None:
        """Read over this connection from now on; None: with the exchanges."""
        self._reader = reader

    async def scrape(self) -> bytes:
        """The metrics of the whole service, in Prometheus' text format."""
        text: bytes = await self.call(Scrape(self._counts.counts()))
        return text

    # -- for any thread ------------------------------------------------------------------------

    def report(self, report: Report) -> None:
        """Send a report until it is answered."""
        self._put(Pending(report))

    def slots_changed(self) -> None:
        """Tell the registry of the slots before it gets what is reported from now on."""
        self._presence.hurry()

    def announce(self, code: TaskCode) -> None:
        """Tell the registry soon that this worker runs this from now on."""
        self._presence.announce(code)
        self.nudge()

    def progress(
        self, task_id: str, attempt: int, fraction: float, message: str | None = None
    ) -> None:
        """Tell how far an attempt is, soon and at most once.

        Of what is told of a task in quick succession, the last word is sent.
        """
        self._progress[task_id] = Progress(task_id, attempt, fraction, message)

    def drain(self) -> None:
        """Have the registry give this worker no more claims."""
        self._draining = True
        self._put(Pending(Drain()))

    def leave(self) -> None:
        """Leave the registry once everything else is sent and answered."""
        self._leaving = True
        self.nudge()

    def nudge(self) -> None:
        """Make an exchange soon: the registry has something for this worker."""
        self._nudged = True
        self._wake()

    def read_with_exchanges(self, pending: Pending) -> None:
        """Have a read that was not answered go with the next exchange."""
        self._put(pending)

    def _put(self, pending: Pending) -> None:
        self._outbox.put(pending)
        self._wake()

    # -- for the connection --------------------------------------------------------------------

    def first_batch(self) -> list[Pending]:
        """The first batch of a connection: join with the claims at hand, then the unanswered."""
        batch = [Pending(self._presence.join()), Pending(Keys())]
        if self._draining:
            batch.append(Pending(Drain()))
        self._presence.begin()
        self._outbox.recover(self._calls.refuse_from_thread)
        return self._outbox.fill(batch, leaving=self._leaving)

    def listen(self, wake: Callable[[], None] | None) -> None:
        """Have `wake` called, from any thread, when there is something to send; None: nothing."""
        self._wake = wake or _nobody

    def next_batch(self) -> list[Pending] | None:
        """The next batch to send.

        Returns:
            None: nothing. An empty batch is sent all the same: its reply brings what the registry
            has for this worker.
        """
        nudged = self._nudged
        if nudged:
            # Only then: one that comes just now must not be taken for none.
            self._nudged = False
        batch: list[Pending] = []
        if self._progress:
            self._add_progress(batch)
        self._outbox.fill(batch, leaving=self._leaving)
        # With the last batch too: it carries the HTTP metrics up to the end. Made after the reports
        # were taken, so that it has the slots that `slots_changed` was called for before them.
        is_beat_due = self._leaving or self._presence.is_beat_due()
        if share := self._ring.share(beat=is_beat_due):
            batch.append(Pending(share))
        if is_beat_due:
            batch.insert(0, Pending(self._presence.beat()))
            if uses := self._ring.uses():
                batch.append(Pending(uses))
        if not self._presence.is_announced:
            # On a connection that has joined it says the same again, and what is new.
            batch.insert(0, Pending(self._presence.join()))
        if self._ring.is_outdated:
            batch.append(Pending(self._ring.request()))
        return batch or ([] if nudged else None)

    def settle(self, batch: Sequence[Pending], reply: Reply) -> Answered:
        """An exchange was answered.

        Returns:
            For `resolve`, on the event loop.

        Raises:
            NotJoined: the registry does not know this connection; nothing was carried out.
        """
        for answer in reply.answers:
            if isinstance(answer, NotJoined):
                raise answer
        self._outbox.answered()
        # The table first: if a route is cancelled now, its claim is known all the same (rule 4).
        if reply.claims:
            self._holder.take(reply.claims, awaited_tasks(batch))
        for held in reply.cancels:
            self._holder.cancel(held)
        answered: list[tuple[asyncio.Future[Any], Any]] = []
        for pending, answer in zip(batch, reply.answers, strict=True):
            if pending.future is None:
                self._settle_own(pending, answer)
            elif isinstance(answer, JournalLocked) and may_be_tried_again(pending):
                # Only delayed: another process has the journal's lock.
                self._outbox.defer(pending)
            else:
                answered.append((pending.future, answer))
        self._ring.heard(reply.keys)
        return answered

    def _settle_own(self, pending: Pending, answer: Any) -> None:
        """A request of the worker itself was answered."""
        request = pending.request
        if isinstance(request, Report):
            self._settle_report(pending, request, answer)
        elif isinstance(request, Leave):
            self.has_left = True
        elif isinstance(request, Keys):
            self._ring.take(answer)
        elif isinstance(request, Share):
            self._ring.shared(answer)

    def _settle_report(self, pending: Pending, report: Report, answer: Any) -> None:
        if isinstance(answer, Unavailable):
            # The journal cannot be written: the report is kept until it can.
            self._outbox.defer(pending)
        else:
            self._holder.settle(report.task_id, report.attempt)
            self._settled(report.task_id)

    def _add_progress(self, batch: list[Pending]) -> None:
        now = time.monotonic()
        if now < self._progress_due:
            return
        self._progress_due = now + PROGRESS_SECONDS
        # Others add to it meanwhile.
        while self._progress and len(batch) < _MAX_PROGRESS:
            batch.append(Pending(self._progress.popitem()[1]))


def _nobody() -> None:
    """There is no connection: what is to be sent waits for the next one."""
