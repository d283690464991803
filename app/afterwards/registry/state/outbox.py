"""The notices that wait to become deliveries: written with the end of their task (rule 27).

Each receiver has a queue of its own, so that a backlog of one holds up no other. The oldest of
each are in memory, and the rest is in the journal alone, however many there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from afterwards.errors import JournalUnavailable, TooManyUnfinished
from afterwards.lifecycle import Task
from afterwards.logs import get_logger
from afterwards.registry.protocol.clock import Clock
from afterwards.registry.state.webhooks import WebhookBook
from afterwards.webhooks.notice import CALLBACKS, Notice, notice_of
from afterwards.webhooks.webhook import DELIVERY, Callback, Webhook

log = get_logger(__name__)

IN_MEMORY: Final = 100
"""Notices to one receiver."""

RETRY_SECONDS: Final = 0.25
"""The time until notices for which there was no room are tried again."""


class Stored(Protocol):
    """The notices in the journal."""

    def notices(self, receiver: str, after: int, limit: int) -> Sequence[Notice]:
        """As `Journal.notices`."""


@dataclass(slots=True)
class _Queue:
    """The notices to one receiver, the oldest first."""

    head: deque[Notice] = field(default_factory=deque)
    behind: int = 0
    """The number of those that come after them, and are in the journal alone."""
    last: int = 0
    """The number of the latest that was in memory."""

    def __len__(self) -> int:
        return len(self.head) + self.behind

    def add(self, notice: Notice) -> None:
        if self.behind or len(self.head) >= IN_MEMORY:
            self.behind += 1
        else:
            self.head.append(notice)
            self.last = notice.number

    def remove_last(self, notice: Notice) -> None:
        """Take back what was added last."""
        if self.behind:
            self.behind -= 1
        else:
            self.head.pop()
            self.last = self.head[-1].number if self.head else notice.number - 1

    def refill(self, stored: Stored, receiver: str) -> None:
        """Bring the next ones into memory. Those of the group at work are not in the journal yet.

        Raises:
            JournalUnavailable: it cannot be read.
        """
        if self.head or not self.behind:
            return
        found = stored.notices(receiver, self.last, IN_MEMORY)
        self.head.extend(found)
        if found:
            self.last = found[-1].number
        # Without a journal those that were too many are gone.
        self.behind = self.behind - len(found) if found else 0


class Outbox:
    """All waiting notices.

    Args:
        deliver: makes the delivery of a notice. Raises `TooManyUnfinished`: there is no room for
            any. False: there is none for further ones to this receiver.
    """

    def __init__(
        self,
        clock: Clock,
        webhooks: WebhookBook,
        stored: Stored,
        deliver: Callable[[Notice, Webhook | None], bool],
    ) -> None:
        self._clock = clock
        self._webhooks = webhooks
        self._stored = stored
        self._deliver = deliver
        self._queues: dict[str, _Queue] = {}
        """The queues of the receivers that have any."""
        self._next_number = 1
        self._due = 0.0
        """The time (`elapsed` clock) at which the next step is worth while."""
        self.added: list[Notice] = []
        """By the group at work."""
        self.taken: list[Notice] = []
        """By the group at work: they have become deliveries, or have no receiver any more."""

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def next_due(self) -> float | None:
        """The time (`elapsed` clock) at which the next step is worth while; None: none waits."""
        return self._due if self._queues else None

    # -- in ------------------------------------------------------------------------------------

    def note(self, task: Task) -> None:
        """A task has ended: write down which receivers are to be told."""
        if task.callback is None and not self._webhooks.rows:
            return
        if task.type == DELIVERY:
            return
        for webhook in self._webhooks.taking(task):
            self.tell(webhook, task)
        if task.callback is not None and task.state in Callback.decode(task.callback).events:
            self._add(CALLBACKS, task, notice_of(task, None), task.callback)

    def tell(self, webhook: Webhook, task: Task) -> None:
        """Write down that a webhook is to be told of a task that has ended."""
        self._add(webhook.id, task, notice_of(task, webhook.name))

    def _add(self, receiver: str, task: Task, payload: bytes, callback: str | None = None) -> None:
        notice = Notice(receiver, self._next_number, task.id, payload, callback)
        self._next_number += 1
        self.added.append(notice)
        self._queues.setdefault(receiver, _Queue()).add(notice)
        self._due = 0.0

    # -- out -----------------------------------------------------------------------------------

    def step(self, at_most: int) -> None:
        """Turn notices into deliveries, `at_most` in all, as far as there is room.

        It has to come before anything else of a group: what this one adds is not in the journal.
        """
        now = self._clock.elapsed()
        if not self._queues or now < self._due:
            return
        for receiver in [receiver for receiver, queue in self._queues.items() if not queue]:
            del self._queues[receiver]
        goes_on = False
        try:
            for receiver in [*self._queues]:
                goes_on |= self._serve(receiver, max(1, at_most // len(self._queues)))
        except TooManyUnfinished:
            goes_on = False
        except JournalUnavailable as error:
            log.warning("waiting notices cannot be read; trying again", error=str(error))
            goes_on = False
        self._due = now if goes_on else now + RETRY_SECONDS

    def _serve(self, receiver: str, at_most: int) -> bool:
        """Deliver what there is room for; whether a further step would deliver more."""
        queue = self._queues[receiver]
        queue.refill(self._stored, receiver)
        webhook = None if receiver == CALLBACKS else self._webhooks.by_id(receiver)
        has_receiver = receiver == CALLBACKS or (webhook is not None and webhook.is_enabled)
        for _ in range(min(at_most, len(queue.head))):
            if has_receiver and not self._deliver(queue.head[0], webhook):
                return False
            self.taken.append(queue.head.popleft())
            # It is the last that is served next time, if there is room for few.
            self._queues[receiver] = self._queues.pop(receiver)
        return bool(queue)

    # -- the journal ---------------------------------------------------------------------------

    def load(self, waiting: Mapping[str, int], next_number: int) -> None:
        """Take in what is in the journal."""
        self._next_number = next_number
        self._queues = {receiver: _Queue(behind=number) for receiver, number in waiting.items()}

    def commit(self) -> None:
        """The group is durable."""
        if self.added or self.taken:
            self.added, self.taken = [], []

    def undo(self) -> None:
        """The group could not be written: be as before it."""
        # What was added is behind what was there, and was taken first.
        for notice in reversed(self.added):
            self._queues[notice.receiver].remove_last(notice)
        for notice in reversed(self.taken):
            self._queues[notice.receiver].head.appendleft(notice)
        if self.taken:
            self._due = 0.0
        self.commit()
