"""Verbs for webhooks, of the client with an event loop: `webhook_verbs`, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta

from afterwards_client import webhooks
from afterwards_client.async_sender import AsyncSender
from afterwards_client.tasks import Task
from afterwards_client.webhooks import Replayed, Webhook


class AsyncWebhookVerbs(AsyncSender):
    """The verbs for webhooks, each of which has a name."""

    async def webhooks(self, *, limit: int | None = None) -> AsyncIterator[Webhook]:
        """All webhooks by name, up to `limit`."""
        found = webhooks.listing(limit, self._retries)
        while not found.is_over:
            for one in await self._run(found.next_page()):
                yield one

    async def webhook(self, name: str) -> Webhook:
        """The webhook as it is now. Its deliveries are the tasks with the label `webhook=NAME`."""
        return await self._perform(webhooks.get(name))

    async def put_webhook(
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
        return await self._perform(webhooks.put(name, url, events, types, labels))

    async def delete_webhook(self, name: str) -> None:
        """Delete a webhook. Its waiting deliveries are cancelled."""
        await self._perform(webhooks.delete(name))

    async def rotate_webhook_secret(
        self, name: str, *, overlap: float | timedelta | None = None
    ) -> Webhook:
        """Have a webhook with a new `secret`, which cannot be read again.

        Args:
            overlap: how long the former secrets sign as well, a day without it.
        """
        return await self._perform(webhooks.rotate(name, overlap))

    async def enable_webhook(self, name: str) -> Webhook:
        """Have a webhook told of tasks that finish from now on."""
        return await self._perform(webhooks.enable(name))

    async def disable_webhook(self, name: str) -> Webhook:
        """Have a webhook told of nothing. Its waiting deliveries are cancelled."""
        return await self._perform(webhooks.disable(name))

    async def test_webhook(self, name: str) -> Task:
        """Send a notice of no task, and give its delivery, which can be waited for.

        Raises:
            Conflict: the webhook is disabled.
        """
        return await self._perform(webhooks.test(name))

    async def replay_webhook(
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
        return await self._perform(
            webhooks.replay(name, webhooks.replay_body(task_id, since, until))
        )
