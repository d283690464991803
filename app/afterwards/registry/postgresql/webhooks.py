"""Webhooks, and the notices that wait to become deliveries, as rows of the database.

Webhooks are changed by hand while no exchange of a worker is at work (the lock of the plans), and
by reports about deliveries, which have a lock in common. So each process may remember them under
their version.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import orjson

from afterwards.errors import WebhookNotFound
from afterwards.lifecycle import TaskState
from afterwards.registry.journal.webhook_rows import WebhookState
from afterwards.registry.postgresql.columns import storable
from afterwards.registry.postgresql.database import Database, Statement, Transaction
from afterwards.registry.protocol.answers import Answer
from afterwards.registry.protocol.requests import Request
from afterwards.registry.protocol.webhook_requests import (
    DeleteWebhook,
    EnableWebhook,
    GetWebhook,
    ListWebhooks,
    PutWebhook,
    RotateSecret,
)
from afterwards.registry.state.deliveries import Deliveries
from afterwards.webhooks.notice import Notice
from afterwards.webhooks.webhook import Secret, Webhook

CHANGES_BY_HAND: Final = (PutWebhook, RotateSecret, EnableWebhook, DeleteWebhook)

_COLUMNS: Final = (
    "name, id, url, secrets, events, types, labels, created_at, failing_since, disabled_since, "
    "disabled_because"
)
_LOCK: Final[Statement] = ("SELECT pg_advisory_xact_lock(1634104425, 2)", ())
_SELECT: Final = f"""
SELECT s.webhooks_version, {_COLUMNS}
FROM afterwards.service AS s LEFT JOIN afterwards.webhooks ON true
"""
_PUT: Final = f"""
INSERT INTO afterwards.webhooks ({_COLUMNS})
VALUES (%s, %s, %s, %s::json, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (name) DO UPDATE SET id = excluded.id, url = excluded.url, secrets = excluded.secrets,
    events = excluded.events, types = excluded.types, labels = excluded.labels,
    created_at = excluded.created_at, failing_since = excluded.failing_since,
    disabled_since = excluded.disabled_since, disabled_because = excluded.disabled_because
"""
_DELETE: Final = "DELETE FROM afterwards.webhooks WHERE name = %s"
_CHANGED: Final[Statement] = (
    "UPDATE afterwards.service SET webhooks_version = webhooks_version + 1",
    (),
)
_ADD_NOTICES: Final = """
INSERT INTO afterwards.notices (receiver, task, payload, callback)
SELECT receiver, task, payload, callback FROM unnest(
    %s::text[], %s::text[], %b::bytea[], %s::text[]
) WITH ORDINALITY AS new (receiver, task, payload, callback, place) ORDER BY place
"""
_TAKE_NOTICES: Final = """
DELETE FROM afterwards.notices AS n USING unnest(%s::text[], %s::bigint[]) AS t (receiver, number)
WHERE n.receiver = t.receiver AND n.number = t.number
"""


class KnownWebhooks(NamedTuple):
    """The webhooks of one version."""

    version: int = 0
    webhooks: Sequence[Webhook] = ()


def load(transaction: Transaction, *, locked: bool = False) -> KnownWebhooks:
    """The webhooks as they are in this transaction.

    Args:
        locked: no other transaction changes them until this one ends.
    """
    *_, rows = transaction.run([_LOCK, (_SELECT, ())] if locked else [(_SELECT, ())])
    return KnownWebhooks(rows[0][0], [_to_webhook(row[1:]) for row in rows if row[1] is not None])


def take_in(deliveries: Deliveries, known: KnownWebhooks) -> None:
    """Have the rules know them, and no notice."""
    deliveries.load(WebhookState(known.webhooks))


def changed_by_hand(requests: Iterable[Request]) -> bool:
    """True if any of the requests changes a webhook."""
    return any(isinstance(request, CHANGES_BY_HAND) for request in requests)


def written(deliveries: Deliveries) -> list[Statement]:
    """Statements for what a transaction has changed, notices included."""
    changes = deliveries.changes()
    if changes is None:
        return []
    statements: list[Statement] = []
    for name, webhook in changes.webhooks.items():
        # The one of this name may have been another one, with another id.
        statements.append((_DELETE, (name,)) if webhook is None else (_PUT, _row_of(webhook)))
    if changes.webhooks:
        statements.append(_CHANGED)
    if changes.added:
        receivers, _, tasks, payloads, callbacks = zip(*changes.added, strict=True)
        values = (list(receivers), list(tasks), list(payloads), list(callbacks))
        statements.append((_ADD_NOTICES, values))
    if changes.taken:
        receivers, numbers, *_ = zip(*changes.taken, strict=True)
        statements.append((_TAKE_NOTICES, (list(receivers), list(numbers))))
    return statements


def _row_of(webhook: Webhook) -> tuple[Any, ...]:
    return (
        webhook.name,
        webhook.id,
        webhook.url,
        orjson.dumps([[one.value, one.ends_at] for one in webhook.secrets]).decode(),
        sorted(str.__str__(event) for event in webhook.events),
        sorted(webhook.types),
        list(webhook.labels),
        webhook.created_at,
        webhook.failing_since,
        webhook.disabled_since,
        storable(webhook.disabled_because),
    )


def _to_webhook(row: Sequence[Any]) -> Webhook:
    name, webhook_id, url, secrets, events, types, labels, created_at, *states = row
    failing_since, disabled_since, disabled_because = states
    return Webhook(
        name=name,
        id=webhook_id,
        url=url,
        secrets=tuple(Secret(*one) for one in secrets),
        events=frozenset(map(TaskState, events)),
        types=frozenset(types),
        labels=tuple(labels),
        created_at=created_at,
        failing_since=failing_since,
        disabled_since=disabled_since,
        disabled_because=disabled_because,
    )


# -- notices that wait -----------------------------------------------------------------------------

_NOTICES: Final = """
SELECT receiver, number, task, payload, callback FROM afterwards.notices
WHERE receiver = %s ORDER BY number LIMIT %s
"""
# One look into the index for each receiver, however many notices it has.
_RECEIVERS: Final = """
WITH RECURSIVE receivers AS (
    SELECT min(receiver) AS receiver FROM afterwards.notices
    UNION ALL SELECT (SELECT min(n.receiver) FROM afterwards.notices AS n
        WHERE n.receiver > r.receiver) FROM receivers AS r WHERE r.receiver IS NOT NULL
)
SELECT receiver FROM receivers WHERE receiver IS NOT NULL
"""


def waiting(transaction: Transaction, at_most: int) -> list[Notice]:
    """The oldest notices to each receiver, `at_most` of each, in the order of their numbers."""
    [receivers] = transaction.run([(_RECEIVERS, ())])
    if not receivers:
        return []
    found = transaction.run([(_NOTICES, (receiver, at_most)) for (receiver,) in receivers])
    return [Notice._make(row) for rows in found for row in rows]


# -- reading ---------------------------------------------------------------------------------------

_GET: Final = f"SELECT {_COLUMNS} FROM afterwards.webhooks WHERE name = %s"
_LIST: Final = f'SELECT {_COLUMNS} FROM afterwards.webhooks ORDER BY name COLLATE "C"'


class WebhookReads:
    """Answers reads of webhooks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def one(self, request: GetWebhook) -> Answer:
        """The webhook of a name."""
        [rows] = self._database.read((_GET, (request.name,)))
        return _to_webhook(rows[0]) if rows else WebhookNotFound(request.name)

    def all(self, _: ListWebhooks) -> list[Webhook]:
        """All of them, by name."""
        [rows] = self._database.read((_LIST, ()))
        return [_to_webhook(row) for row in rows]
