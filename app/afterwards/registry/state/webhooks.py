"""Webhooks: the only place that makes, changes, disables and removes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from afterwards.errors import TooManyWebhooks, WebhookDisabled, WebhookNotFound
from afterwards.lifecycle import Task
from afterwards.logs import get_logger
from afterwards.registry.protocol.clock import Clock
from afterwards.registry.protocol.filters import pairs_of
from afterwards.registry.protocol.webhook_requests import (
    DeleteWebhook,
    EnableWebhook,
    PutWebhook,
    RotateSecret,
)
from afterwards.registry.state.table import Table
from afterwards.task_ids import new_id
from afterwards.webhooks.delivery import GIVE_UP_SECONDS
from afterwards.webhooks.webhook import (
    DISABLED_BY_HAND,
    MOST_SECRETS,
    MOST_WEBHOOKS,
    Secret,
    Webhook,
    takes,
)

log = get_logger(__name__)

GONE: Final = "its receiver has answered 410 Gone"


class WebhookTable(Table[str, Webhook]):
    """Webhooks by name. They are found by their id, too."""

    def __init__(self) -> None:
        super().__init__()
        self.by_id: dict[str, Webhook] = {}

    def load(self, webhooks: Iterable[Webhook]) -> None:
        """Take in what is in the journal."""
        for webhook in webhooks:
            self._set(webhook.name, webhook)

    def _set(self, name: str, row: Webhook | None) -> None:
        before = self.rows.get(name)
        if before is not None:
            del self.by_id[before.id]
        super()._set(name, row)
        if row is not None:
            self.by_id[row.id] = row


class WebhookBook:
    """All webhooks.

    Args:
        tell: is told of each that was disabled by itself, in the group that does it.
    """

    def __init__(self, clock: Clock, tell: Callable[[Webhook], None]) -> None:
        self._clock = clock
        self._tell = tell
        self._table = WebhookTable()
        self.rows = self._table.rows
        """All of them by name."""
        self._disabled: list[Webhook] = []
        """By the group at work, because of failures."""
        self.verbs: Mapping[type, Callable[[Any], Any]] = {
            PutWebhook: self._put,
            RotateSecret: self._rotate,
            EnableWebhook: self._enable,
            DeleteWebhook: self._delete,
        }

    # -- reading -------------------------------------------------------------------------------

    def find(self, name: str) -> Webhook | None:
        """The webhook of this name; None: there is none."""
        return self.rows.get(name)

    def get(self, name: str) -> Webhook:
        """The webhook of this name.

        Raises:
            WebhookNotFound: there is none.
        """
        webhook = self.rows.get(name)
        if webhook is None:
            raise WebhookNotFound(name)
        return webhook

    def get_enabled(self, name: str) -> Webhook:
        """The same, if it is enabled.

        Raises:
            WebhookNotFound: there is none.
            WebhookDisabled: it is not.
        """
        webhook = self.get(name)
        if not webhook.is_enabled:
            raise WebhookDisabled(name, webhook.disabled_because or "")
        return webhook

    def by_id(self, webhook_id: str) -> Webhook | None:
        """The webhook of this id; None: there is none any more."""
        return self._table.by_id.get(webhook_id)

    def all(self) -> list[Webhook]:
        """All of them, by name."""
        return sorted(self.rows.values(), key=lambda webhook: webhook.name)

    def disabled(self) -> int:
        """The number of those that are told of nothing."""
        return sum(not webhook.is_enabled for webhook in self.rows.values())

    def taking(self, task: Task) -> list[Webhook]:
        """Those that are to be told that a task has ended."""
        pairs = pairs_of(task.labels)
        return [one for one in self.rows.values() if takes(one, task.state, task.type, pairs)]

    # -- the verbs -----------------------------------------------------------------------------

    def _put(self, request: PutWebhook) -> Webhook:
        given = request.webhook
        old = self.find(given.name)
        if old is None:
            if len(self.rows) >= MOST_WEBHOOKS:
                raise TooManyWebhooks(MOST_WEBHOOKS)
            new = Webhook(
                name=given.name,
                url=given.url,
                secrets=given.secrets,
                events=given.events,
                types=given.types,
                labels=given.labels,
                id=new_id(),
                created_at=self._clock.wall(),
            )
        else:
            new = replace(
                old, url=given.url, events=given.events, types=given.types, labels=given.labels
            )
        if new != old:
            self._table.put(new.name, new)
        return new

    def _rotate(self, request: RotateSecret) -> Webhook:
        webhook = self.get(request.name)
        if any(one.value == request.secret for one in webhook.secrets):
            return webhook
        now = self._clock.wall()
        overlap_ends = now + max(0.0, request.overlap_seconds)
        ends = [
            (one.value, overlap_ends if one.ends_at is None else min(one.ends_at, overlap_ends))
            for one in webhook.secrets
        ]
        former = [Secret(value, ends_at) for value, ends_at in ends if ends_at > now]
        secrets = (Secret(request.secret), *former[: MOST_SECRETS - 1])
        return self._change(webhook, secrets=secrets)

    def _enable(self, request: EnableWebhook) -> Webhook:
        webhook = self.get(request.name)
        if webhook.is_enabled == request.enabled:
            return webhook
        if not request.enabled:
            return self._disable(webhook, DISABLED_BY_HAND)
        return self._change(webhook, disabled_since=None, disabled_because=None, failing_since=None)

    def _delete(self, request: DeleteWebhook) -> None:
        self._table.put(self.get(request.name).name, None)

    # -- what attempts tell of it --------------------------------------------------------------

    def reached(self, webhook_id: str) -> None:
        """An attempt has succeeded."""
        webhook = self.by_id(webhook_id)
        if webhook is not None and webhook.failing_since is not None:
            self._change(webhook, failing_since=None)

    def missed(self, webhook_id: str, error: str, *, gone: bool) -> None:
        """An attempt has failed.

        Args:
            gone: the receiver has answered 410.
        """
        webhook = self.by_id(webhook_id)
        if webhook is None or not webhook.is_enabled:
            return
        now = self._clock.wall()
        if gone:
            self._give_up(webhook, GONE)
        elif webhook.failing_since is None:
            self._change(webhook, failing_since=now)
        elif now - webhook.failing_since >= GIVE_UP_SECONDS:
            since = datetime.fromtimestamp(webhook.failing_since, UTC)
            told = since.isoformat(timespec="seconds")
            self._give_up(webhook, f"no attempt has succeeded since {told}; the last: {error}")

    # -- changes -------------------------------------------------------------------------------

    def _give_up(self, webhook: Webhook, why: str) -> None:
        disabled = self._disable(webhook, why)
        self._disabled.append(disabled)
        self._tell(disabled)

    def _disable(self, webhook: Webhook, why: str) -> Webhook:
        return self._change(webhook, disabled_since=self._clock.wall(), disabled_because=why)

    def _change(self, webhook: Webhook, **changes: Any) -> Webhook:
        changed = replace(webhook, **changes)
        self._table.put(webhook.name, changed)
        return changed

    def load(self, webhooks: Iterable[Webhook]) -> None:
        """Take in what is in the journal."""
        self._table.load(webhooks)

    def changes(self) -> dict[str, Webhook | None]:
        """The new values of those that the group at work has changed; None: deleted."""
        return self._table.changes()

    def commit(self) -> None:
        """The group is durable."""
        self._table.before.clear()
        if self._disabled:
            for webhook in self._disabled:
                log.error(
                    "webhook disabled; it is told of nothing until it is enabled",
                    webhook=webhook.name,
                    reason=webhook.disabled_because,
                )
            self._disabled.clear()

    def undo(self) -> None:
        """The group could not be written: be as before it."""
        self._table.undo()
        self._disabled.clear()
