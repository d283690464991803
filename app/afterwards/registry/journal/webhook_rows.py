"""Webhooks, and the notices that wait to become deliveries, in the journal."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NamedTuple

from afterwards.lifecycle import TaskState
from afterwards.registry.journal.sealing import Seal, Value
from afterwards.webhooks.notice import Notice
from afterwards.webhooks.webhook import Secret, Webhook

_WEBHOOK: Final = (
    "name", "id", "url", "secrets", "events", "types", "labels", "created_at", "failing_since",
    "disabled_since", "disabled_because",
)  # fmt: skip
_SEALED_OF_WEBHOOK: Final = ("url", "secrets", "disabled_because")
_SEALED_OF_NOTICE: Final = ("payload", "callback")
_STEP: Final = 1_000

SELECT_NOTICES: Final = """
SELECT receiver, number, task, payload, callback FROM notices
WHERE receiver = ? AND number > ? ORDER BY number LIMIT ?
"""


@dataclass(frozen=True)
class WebhookChanges:
    """The changes of a group to webhooks and notices."""

    webhooks: Mapping[str, Webhook | None]
    """New values by name; None: deleted."""
    added: Sequence[Notice]
    taken: Sequence[Notice]
    """Notices that have become deliveries, or have no receiver any more."""


class WebhookState(NamedTuple):
    """Webhooks and notices, as they were committed last."""

    webhooks: Sequence[Webhook] = ()
    waiting: Mapping[str, int] = {}
    """The number of notices by receiver."""
    next_number: int = 1
    """The number of the notice that is written next."""


def subject_of_webhook(webhook_id: str) -> str:
    """The owner of a webhook's sealed values; no schedule has such a name."""
    return f"webhook {webhook_id}"


def subject_of_notices(receiver: str) -> str:
    """The owner of the sealed values of all notices to a receiver."""
    return f"notices to {receiver}"


def write(db: sqlite3.Connection, changes: WebhookChanges, seal: Seal | None = None) -> None:
    """Write the changes as a part of the transaction at work.

    Args:
        seal: seals URLs, secrets and what notices say; None: nothing is sealed.
    """
    for name, webhook in changes.webhooks.items():
        if webhook is None:
            db.execute("DELETE FROM webhooks WHERE name = ?", (name,))
        else:
            places = ", ".join("?" * len(_WEBHOOK))
            db.execute(f"REPLACE INTO webhooks VALUES ({places})", _row_of(webhook, seal))
    if changes.added:
        rows = [_row_of_notice(notice, seal) for notice in changes.added]
        db.executemany("INSERT INTO notices VALUES (?, ?, ?, ?, ?)", rows)
    if changes.taken:
        # One may have come and gone in this very group.
        db.executemany(
            "DELETE FROM notices WHERE receiver = ? AND number = ?",
            [(notice.receiver, notice.number) for notice in changes.taken],
        )


def load(db: sqlite3.Connection) -> WebhookState:
    """The content of the journal. `db` sees open values."""
    webhooks = [
        _to_webhook(row) for row in db.execute(f"SELECT {', '.join(_WEBHOOK)} FROM webhooks")
    ]
    waiting = dict(db.execute("SELECT receiver, count(*) FROM notices GROUP BY receiver"))
    (highest,) = db.execute("SELECT coalesce(max(number), 0) FROM notices").fetchone()
    return WebhookState(webhooks, waiting, highest + 1)


def notices(db: sqlite3.Connection, receiver: str, after: int, limit: int) -> list[Notice]:
    """The oldest notices to a receiver with higher numbers. `db` sees open values."""
    return [Notice._make(row) for row in db.execute(SELECT_NOTICES, (receiver, after, limit))]


def reseal(db: sqlite3.Connection, seal: Seal) -> None:
    """Have everything under the key that writes, as a part of the transaction at work.

    Raises:
        Unsealable: a value cannot be opened.
    """
    columns = ", ".join(_SEALED_OF_WEBHOOK)
    for name, webhook_id, *values in db.execute(
        f"SELECT name, id, {columns} FROM webhooks"
    ).fetchall():
        subject = subject_of_webhook(webhook_id)
        renewed = [
            seal.resealed(value, subject, field)
            for field, value in zip(_SEALED_OF_WEBHOOK, values, strict=True)
        ]
        db.execute(
            "UPDATE webhooks SET url = ?, secrets = ?, disabled_because = ? WHERE name = ?",
            (*renewed, name),
        )
    _reseal_notices(db, seal)


def _reseal_notices(db: sqlite3.Connection, seal: Seal) -> None:
    place: tuple[str, int] = ("", -1)
    while step := db.execute(
        "SELECT receiver, number, payload, callback FROM notices "
        f"WHERE (receiver, number) > (?, ?) ORDER BY receiver, number LIMIT {_STEP}",
        place,
    ).fetchall():
        for receiver, number, *values in step:
            subject = subject_of_notices(receiver)
            renewed = [
                seal.resealed(value, subject, of_notice(field, number))
                for field, value in zip(_SEALED_OF_NOTICE, values, strict=True)
            ]
            db.execute(
                "UPDATE notices SET payload = ?, callback = ? WHERE receiver = ? AND number = ?",
                (*renewed, receiver, number),
            )
        place = step[-1][:2]


def of_notice(field: str, number: int) -> str:
    """The name of a notice's field."""
    return f"{field} of notice {number}"


def _row_of(webhook: Webhook, seal: Seal | None) -> list[Any]:
    changed: dict[str, Any] = {
        "secrets": json.dumps([[one.value, one.ends_at] for one in webhook.secrets]),
        "events": json.dumps(sorted(webhook.events)),
        "types": json.dumps(sorted(webhook.types)),
        "labels": json.dumps(webhook.labels),
    }
    row = {name: changed.get(name, getattr(webhook, name)) for name in _WEBHOOK}
    if seal is not None:
        subject = subject_of_webhook(webhook.id)
        for field in _SEALED_OF_WEBHOOK:
            row[field] = seal.seal(row[field], subject, field)
    return list(row.values())


def _to_webhook(row: Sequence[Any]) -> Webhook:
    members = dict(zip(_WEBHOOK, row, strict=True))
    members |= {
        "secrets": tuple(Secret(*one) for one in json.loads(members["secrets"])),
        "events": frozenset(map(TaskState, json.loads(members["events"]))),
        "types": frozenset(json.loads(members["types"])),
        "labels": tuple(json.loads(members["labels"])),
    }
    return Webhook(**members)


def _row_of_notice(notice: Notice, seal: Seal | None) -> tuple[Value | int, ...]:
    receiver, number, task, payload, callback = notice
    if seal is None:
        return notice
    subject = subject_of_notices(receiver)
    return (
        receiver,
        number,
        task,
        seal.seal(payload, subject, of_notice("payload", number)),
        seal.seal(callback, subject, of_notice("callback", number)),
    )


class NoticesInMemory:
    """The waiting notices without a journal; gone with its process. The oldest make room."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._notices: dict[tuple[str, int], Notice] = {}

    def write(self, changes: WebhookChanges) -> None:
        """As `write`."""
        for notice in changes.added:
            self._notices[notice.receiver, notice.number] = notice
        for notice in changes.taken:
            self._notices.pop((notice.receiver, notice.number), None)
        while len(self._notices) > self._most:
            del self._notices[next(iter(self._notices))]

    def notices(self, receiver: str, after: int, limit: int) -> list[Notice]:
        """As `notices`."""
        fitting = (
            notice
            for (of, number), notice in self._notices.items()
            if of == receiver and number > after
        )
        return list(islice(fitting, limit))
