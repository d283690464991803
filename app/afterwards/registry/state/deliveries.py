"""Deliveries: made of notices when there is room, aimed when claimed, withdrawn with their webhook.

The deliveries to one webhook leave the greater part of the room to all others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Final

from afterwards.errors import IllegalTransition
from afterwards.lifecycle import WAITING_STATES, Task
from afterwards.registry.journal.webhook_rows import WebhookChanges, WebhookState
from afterwards.registry.protocol.clock import Clock
from afterwards.registry.protocol.webhook_requests import ReplayWebhook, SendTest
from afterwards.registry.state.acceptance import Acceptance, Room
from afterwards.registry.state.outbox import Outbox, Stored
from afterwards.registry.state.store import TaskStore
from afterwards.registry.state.webhooks import WebhookBook
from afterwards.task_ids import new_id
from afterwards.webhooks.delivery import delivery, receiver_of
from afterwards.webhooks.notice import CALLBACKS, Notice, trial_notice
from afterwards.webhooks.webhook import DELIVERY, Callback, Target, Webhook

AT_ONCE: Final = 200
"""Notices that become deliveries in one group, and deliveries that are withdrawn; the rest follow
in the next, so that no call waits long."""

SHARE_OF_A_WEBHOOK: Final = 16
"""The deliveries to one webhook take at most the n-th part of the room for unfinished tasks."""

SHARE_OF_CALLBACKS: Final = 8
"""The same for those to all callbacks together."""


class Deliveries:
    """The deliveries of all webhooks and callbacks.

    Args:
        stored: the notices in the journal.
        find: a task by its id. Raises `TaskNotFound`.
        tell: as for `WebhookBook`.
    """

    def __init__(
        self,
        clock: Clock,
        store: TaskStore,
        room: Room,
        acceptance: Acceptance,
        *,
        stored: Stored,
        find: Callable[[str], Task],
        tell: Callable[[Webhook], None],
    ) -> None:
        self._clock = clock
        self._store = store
        self._room = room
        self._acceptance = acceptance
        self._find = find
        self._more_to_withdraw = False
        self.webhooks = WebhookBook(clock, tell)
        self.outbox = Outbox(clock, self.webhooks, stored, self._deliver)
        store.at_end.append(self.outbox.note)
        self.verbs: Mapping[type, Callable[[Any], Any]] = {
            **self.webhooks.verbs,
            ReplayWebhook: self._replay,
            SendTest: self._send_test,
        }

    # -- the verbs -----------------------------------------------------------------------------

    def _replay(self, request: ReplayWebhook) -> Task:
        webhook = self.webhooks.get_enabled(request.name)
        task = self._find(request.task_id)
        if task.type == DELIVERY:
            verb = "be told of to a webhook, because it is a delivery itself; retry it"
            raise IllegalTransition(task.id, task.state.value, verb)
        if not task.state.is_final:
            verb = "be told of to a webhook before it is finished"
            raise IllegalTransition(task.id, task.state.value, verb)
        self.outbox.tell(webhook, task)
        return task

    def _send_test(self, request: SendTest) -> Task:
        webhook = self.webhooks.get_enabled(request.name)
        now = self._clock.wall()
        payload = trial_notice(request.task_id, webhook.name, now)
        trial = delivery(request.task_id, payload, now, receiver=webhook.id, name=webhook.name)
        return self._acceptance.make_once(trial)

    # -- the time ------------------------------------------------------------------------------

    def advance(self, *, accepting: bool) -> None:
        """Withdraw what has no receiver any more, and turn notices into deliveries.

        It has to come before anything else of a group (`Outbox.step`).

        Args:
            accepting: whether there may be new tasks.
        """
        if accepting:
            self.outbox.step(AT_ONCE)
        self._more_to_withdraw = False
        left = AT_ONCE
        for receiver in self._store.deliveries.receivers():
            why = self._why_none(receiver)
            if why is not None:
                left -= self._withdraw(receiver, why, left)
        self._more_to_withdraw = left <= 0

    def next_due(self) -> float | None:
        """The time (`elapsed` clock) at which `advance` has something to do."""
        return self._clock.elapsed() if self._more_to_withdraw else self.outbox.next_due()

    def _deliver(self, notice: Notice, webhook: Webhook | None) -> bool:
        part = SHARE_OF_A_WEBHOOK if webhook is not None else SHARE_OF_CALLBACKS
        most = max(1, self._room.max_tasks // part)
        if self._store.deliveries.count(notice.receiver) >= most:
            return False
        self._acceptance.make_beside_others(
            delivery(
                new_id(),
                notice.payload,
                self._clock.wall(),
                receiver=notice.receiver,
                callback=notice.callback,
                name=None if webhook is None else webhook.name,
                about=notice.task,
            )
        )
        return True

    def _withdraw(self, receiver: str, why: str, at_most: int) -> int:
        """Withdraw waiting deliveries, and give how many. Those that run end by themselves."""
        tasks = (self._store.get(task_id) for task_id in self._store.deliveries.of(receiver))
        waiting = (task for task in tasks if task is not None and task.state in WAITING_STATES)
        chosen = [*islice(waiting, max(0, at_most))]
        now = self._clock.wall()
        for task in chosen:
            self._store.put(task, task.withdraw(why, now))
        return len(chosen)

    # -- attempts ------------------------------------------------------------------------------

    def why_not(self, task: Task) -> str | None:
        """Why no attempt at a delivery may start; None: one may."""
        receiver = receiver_of(task)
        if receiver == CALLBACKS:
            return "It has no receiver" if task.callback is None else None
        return self._why_none(receiver)

    def target(self, task: Task) -> Target:
        """The receiver of a delivery that may start, as it is now."""
        webhook = self.webhooks.by_id(receiver_of(task))
        if webhook is not None:
            return Target(webhook.url, webhook.valid_secrets(self._clock.wall()))
        assert task.callback is not None, "what has no receiver does not start"
        callback = Callback.decode(task.callback)
        return Target(callback.url, () if callback.secret is None else (callback.secret,))

    def succeeded(self, task: Task) -> None:
        """An attempt at a delivery has succeeded."""
        self.webhooks.reached(receiver_of(task))

    def failed(self, task: Task, error: str, *, gone: bool) -> None:
        """An attempt at a delivery has failed.

        Args:
            gone: the receiver has answered 410.
        """
        self.webhooks.missed(receiver_of(task), error, gone=gone)

    def _why_none(self, receiver: str) -> str | None:
        if receiver == CALLBACKS:
            return None
        webhook = self.webhooks.by_id(receiver)
        if webhook is None:
            return "The webhook was deleted"
        if webhook.is_enabled:
            return None
        return f"The webhook {webhook.name} is disabled: {webhook.disabled_because}"

    # -- the journal ---------------------------------------------------------------------------

    def load(self, state: WebhookState) -> None:
        """Take in what is in the journal."""
        self.webhooks.load(state.webhooks)
        self.outbox.load(state.waiting, state.next_number)

    def changes(self) -> WebhookChanges | None:
        """The changes of the group at work; None: there are none."""
        webhooks, outbox = self.webhooks.changes(), self.outbox
        if not (webhooks or outbox.added or outbox.taken):
            return None
        return WebhookChanges(webhooks, outbox.added, outbox.taken)

    def commit(self) -> None:
        """The group is durable."""
        self.webhooks.commit()
        self.outbox.commit()

    def undo(self) -> None:
        """The group could not be written: be as before it."""
        self.webhooks.undo()
        self.outbox.undo()
