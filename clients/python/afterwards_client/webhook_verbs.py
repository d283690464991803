"""Verbs for webhooks. `async_webhook_verbs` is their twin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from afterwards_client import webhooks
from afterwards_client.sender import Sender
from afterwards_client.tasks import Task
from afterwards_client.webhooks import Replayed, Webhook


class WebhookVerbs(Sender):
    """The verbs for webhooks, each of which has a name."""

    def webhooks(self, *, limit: int | None = None) -> Iterator[Webhook]:
        """All webhooks by name, up to `limit`."""
        found = webhooks.listing(limit, self._retries)
        while not found.is_over:
            yield from self._run(found.next_page())

    def webhook(self, name: str) -> Webhook:
        """The webhook as it is now. Its deliveries are the tasks with the label `webhook=NAME`."""
        return self._perform(webhooks.get(name))

    def put_webhook(
        self,
        name: str,
        url: str,
        *,
        events: Sequence[str] | None = None,
        types: Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Webhook:
        """Have a URL told of tasks that finish, or replace the webhook of this name.

        A new webhook has its `secret`, which cannot be read again. One that is replaced keeps its
        own.

        Args:
            events: the ends of tasks: `success`, `failed`, `cancelled`; None: all.
            types: the types of tasks; None: all.
            labels: of tasks with all of these; None: of all tasks.

        Raises:
            Conflict: there are as many webhooks as there may be.
            ConnectionFailed, Unavailable: it may have been made all the same. It is not sent again,
                because the secret would be lost; `rotate_webhook_secret` gives another.
        """
        return self._perform(webhooks.put(name, url, events, types, labels))

    def delete_webhook(self, name: str) -> None:
        """Delete a webhook. Its waiting deliveries are cancelled."""
        self._perform(webhooks.delete(name))

    def rotate_webhook_secret(
        self, name: str, *, overlap: float | timedelta | None = None
    ) -> Webhook:
        """Have a webhook with a new `secret`, which cannot be read again.

        Args:
            overlap: how long the former secrets sign as well, a day without it.
        """
        return self._perform(webhooks.rotate(name, overlap))

    def enable_webhook(self, name: str) -> Webhook:
        """Have a webhook told of tasks that finish from now on."""
        return self._perform(webhooks.enable(name))

    def disable_webhook(self, name: str) -> Webhook:
        """Have a webhook told of nothing. Its waiting deliveries are cancelled."""
        return self._perform(webhooks.disable(name))

    def test_webhook(self, name: str) -> Task:
        """Send a notice of no task, and give its delivery, which can be waited for.

        Raises:
            Conflict: the webhook is disabled.
        """
        return self._perform(webhooks.test(name))

    def replay_webhook(
        self,
        name: str,
        *,
        task_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Replayed:
        """Tell a webhook once more of one task, or of all that fit and finished since a time.

        Args:
            task_id: this task; otherwise `since`.
            until: before this time; None: up to now.

        Raises:
            Conflict: the webhook is disabled, or the task is not finished.
            Invalid: more than 10,000 tasks fit.
        """
        return self._perform(webhooks.replay(name, webhooks.replay_body(task_id, since, until)))
