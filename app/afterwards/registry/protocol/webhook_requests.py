"""The requests about webhooks; rule 27 in `protocol.base`."""

from __future__ import annotations

from typing import NamedTuple

from afterwards.registry.protocol.activity import By
from afterwards.webhooks.webhook import Webhook


class PutWebhook(NamedTuple):
    """Make a webhook, or replace the one of this name. Idempotent. Answer: the `Webhook` as kept.

    A new one has the secret that is given. One that is replaced keeps its secrets, so the answer's
    secret is the given one if, and only if, it is new. Its state and its times are the registry's
    to say: a replaced one that is disabled stays so.

    Errors: `TooManyWebhooks`, `JournalUnavailable`.
    """

    webhook: Webhook
    by: By | None = None
    """The author, if it is asked for by hand: then it leaves an entry in the log of activity."""


class RotateSecret(NamedTuple):
    """Sign with a new secret, and with the former ones until the end of the overlap.

    Idempotent by the secret. Answer: the `Webhook`.

    Errors: `WebhookNotFound`, `JournalUnavailable`.
    """

    name: str
    secret: str
    overlap_seconds: float
    by: By | None = None
    """The author, if it is asked for by hand: then it leaves an entry in the log of activity."""

    def __repr__(self) -> str:
        return f"RotateSecret({self.name!r}, ..., {self.overlap_seconds})"


class EnableWebhook(NamedTuple):
    """Let a webhook be told of tasks, or disable it. Idempotent. Answer: the `Webhook`.

    One that is enabled begins anew: its failures are forgotten. One that is disabled is told of no
    task that finishes from now on, and its waiting deliveries are cancelled.

    Errors: `WebhookNotFound`, `JournalUnavailable`.
    """

    name: str
    enabled: bool
    by: By | None = None
    """The author, if it is asked for by hand: then it leaves an entry in the log of activity."""


class DeleteWebhook(NamedTuple):
    """Remove a webhook. Its waiting deliveries are cancelled. Answer: None.

    Errors: `WebhookNotFound`, `JournalUnavailable`.
    """

    name: str
    by: By | None = None
    """The author, if it is asked for by hand: then it leaves an entry in the log of activity."""


class ReplayWebhook(NamedTuple):
    """Tell a webhook of a finished task once more, as it is now. Answer: the task.

    Whether the webhook's conditions fit is not asked: to replay all since a time is to `Find` the
    tasks that fit, and to send this for each, as other calls for many do (`By.bulk`). The notice
    has the `webhook-id` that it had, and waits for room as all notices do.

    Errors: `WebhookNotFound`, `WebhookDisabled`, `TaskNotFound`, `TaskDeleted`, `IllegalTransition`
    (it is not finished, or a delivery itself), `JournalUnavailable`.
    """

    name: str
    task_id: str
    by: By | None = None
    """The author, if it is asked for by hand: then it leaves an entry in the log of activity."""


class SendTest(NamedTuple):
    """Send a notice of no task to a webhook. Idempotent by the id. Answer: the delivery, a task.

    Errors: `WebhookNotFound`, `WebhookDisabled`, `TooManyUnfinished`, `JournalUnavailable`.
    """

    name: str
    task_id: str
    """The id of the delivery."""
    by: By | None = None
    """The author, if it is asked for by hand: then it leaves an entry in the log of activity."""


class GetWebhook(NamedTuple):
    """Answer: the `Webhook`. Errors: `WebhookNotFound`."""

    name: str


class ListWebhooks(NamedTuple):
    """Answer: all of them, a list by name."""
