"""Webhooks, as an operator of the service makes, tries out and ends them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from afterwards.errors import WebhookDisabled
from afterwards.lifecycle import Task, TaskState
from afterwards.registry.protocol.activity import By
from afterwards.registry.protocol.filters import Filter
from afterwards.registry.protocol.webhook_requests import (
    DeleteWebhook,
    EnableWebhook,
    GetWebhook,
    ListWebhooks,
    PutWebhook,
    ReplayWebhook,
    RotateSecret,
    SendTest,
)
from afterwards.service.bulk import BulkVerbs, Selection, Tally
from afterwards.task_ids import new_id
from afterwards.webhooks.signatures import new_secret
from afterwards.webhooks.webhook import DELIVERY, Secret, Webhook

MOST_REPLAYED: Final = 10_000
"""Tasks that one call replays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedWebhook:
    """A webhook as it is asked for."""

    name: str
    url: str
    events: frozenset[TaskState]
    types: frozenset[str]
    labels: tuple[str, ...]


class KeptWebhook(NamedTuple):
    """A webhook that was put."""

    webhook: Webhook
    new_secret: str | None
    """The secret to show this once; None: it has replaced one, whose secrets it keeps."""


class ReplaySpan(NamedTuple):
    """Which tasks to tell a webhook of once more: those that finished in a span of time."""

    name: str
    """The webhook."""
    since: float
    until: float | None
    what: str
    """The same in words, for the log of activity."""


class Replayed(NamedTuple):
    """The outcome of a replay."""

    matched: int
    tally: Tally | None = None
    """None: more tasks match than one call replays, and none was."""


class WebhookVerbs:
    """The verbs of webhooks. Every method may raise `errors.Unavailable`.

    `by` is who asks: it is remembered together with what was done.

    Args:
        call: has a request carried out.
        bulk: does something to many tasks.
    """

    def __init__(self, call: Callable[[Any], Awaitable[Any]], bulk: BulkVerbs) -> None:
        self._call = call
        self._bulk = bulk

    async def all(self) -> Sequence[Webhook]:
        """All webhooks, by name."""
        found: Sequence[Webhook] = await self._call(ListWebhooks())
        return found

    async def get(self, name: str) -> Webhook:
        """A webhook. Raises `WebhookNotFound`."""
        webhook: Webhook = await self._call(GetWebhook(name))
        return webhook

    async def put(self, wanted: WantedWebhook, by: By) -> KeptWebhook:
        """Make a webhook, or replace the one of this name, which keeps its secrets.

        Raises:
            TooManyWebhooks: the limit is reached.
        """
        secret = new_secret()
        webhook = Webhook(
            name=wanted.name,
            url=wanted.url,
            secrets=(Secret(secret),),
            events=wanted.events,
            types=wanted.types,
            labels=wanted.labels,
        )
        kept: Webhook = await self._call(PutWebhook(webhook, by))
        is_new = kept.secrets[0].value == secret
        return KeptWebhook(kept, secret if is_new else None)

    async def rotate(self, name: str, overlap_seconds: float, by: By) -> KeptWebhook:
        """Sign with a new secret, and until the end of the overlap with the former ones, too.

        Raises:
            WebhookNotFound: there is none of this name.
        """
        secret = new_secret()
        kept: Webhook = await self._call(RotateSecret(name, secret, overlap_seconds, by))
        return KeptWebhook(kept, secret)

    async def enable(self, name: str, *, enabled: bool, by: By) -> Webhook:
        """Let a webhook be told of tasks, or disable it. Raises `WebhookNotFound`."""
        webhook: Webhook = await self._call(EnableWebhook(name, enabled, by))
        return webhook

    async def delete(self, name: str, by: By) -> None:
        """Remove a webhook; its waiting deliveries are cancelled. Raises `WebhookNotFound`."""
        await self._call(DeleteWebhook(name, by))

    async def test(self, name: str, by: By) -> Task:
        """Send a notice of no task, and give its delivery.

        Raises:
            WebhookNotFound: there is none of this name.
            WebhookDisabled: it is not told of anything.
            TooManyUnfinished: there is no room for the delivery.
        """
        delivery: Task = await self._call(SendTest(name, new_id(), by))
        return delivery

    async def replay_one(self, name: str, task_id: str, by: By) -> None:
        """Tell a webhook of a finished task once more.

        Raises:
            WebhookNotFound, TaskNotFound, TaskDeleted: there is none.
            WebhookDisabled: it is not told of anything.
            IllegalTransition: the task is not finished, or is a delivery itself.
        """
        await self._call(ReplayWebhook(name, task_id, by))

    async def replay(self, wanted: ReplaySpan, known_types: frozenset[str], by: By) -> Replayed:
        """Tell a webhook once more of all tasks that fit it and finished in a span of time.

        Args:
            known_types: the types of tasks there are; tasks of others are left out.

        Raises:
            WebhookNotFound: there is none of this name.
            WebhookDisabled: it is not told of anything.
        """
        webhook = await self.get(wanted.name)
        if not webhook.is_enabled:
            raise WebhookDisabled(webhook.name, webhook.disabled_because or "")
        conditions = Filter(
            types=(webhook.types or known_types) - {DELIVERY},
            labels=webhook.labels,
            finished_after=wanted.since,
            finished_before=wanted.until,
        )
        chosen = Selection(list(webhook.events), MOST_REPLAYED, conditions, what=wanted.what)
        matched = await self._bulk.count(chosen)
        if matched > MOST_REPLAYED or not conditions.types:
            return Replayed(matched)
        return Replayed(matched, await self._bulk.replay(chosen, webhook.name, by))
