"""Notices of a fake service: signed as the service signs them, and handed to the test."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from afterwards_client.testing.record import Record
from afterwards_client.verification import key_of

_NEW_BYTES: Final = 32


@dataclass(frozen=True)
class Delivery:
    """A request that the service would send to a receiver of notices: POST this to it."""

    url: str
    webhook: str | None
    """The name of the webhook; None: it is the callback of a task."""
    headers: Mapping[str, str]
    """With the signature."""
    body: bytes = field(repr=False)


@dataclass
class FakeWebhook:
    """A receiver of notices."""

    name: str
    url: str
    events: tuple[str, ...]
    types: tuple[str, ...]
    labels: dict[str, str]
    created_at: datetime
    secrets: list[str]
    """The newest first."""
    disabled_at: datetime | None = None

    def takes(self, record: Record) -> bool:
        """True if it is told of this end."""
        return (
            self.disabled_at is None
            and record.status in self.events
            and (not self.types or record.type in self.types)
            and self.labels.items() <= record.labels.items()
        )


def new_secret() -> str:
    """A secret that was never given before."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(_NEW_BYTES)).decode("ascii")


def notice_of(record: Record) -> tuple[str, dict[str, Any]]:
    """The id and the content of the notice that a task has ended."""
    assert record.finished_at is not None
    data = {
        "id": record.id,
        "type": record.type,
        "status": record.status,
        "labels": dict(record.labels),
        "retries": record.retries,
        "created_at": _rfc3339(record.created_at),
        "finished_at": _rfc3339(record.finished_at),
        "error": record.error,
    }
    at = _rfc3339(record.finished_at)
    event = {"type": f"task.{record.status}", "timestamp": at, "data": data}
    return f"{record.id}_{record.retries}_{record.status}", event


def trial_notice(delivery_id: str, webhook: str, now: datetime) -> tuple[str, dict[str, Any]]:
    """The id and the content of a test of a webhook."""
    data = {"webhook": webhook, "message": "This is a test; no task has finished."}
    event = {"type": "webhook.test", "timestamp": _rfc3339(now), "data": data}
    return f"{delivery_id}_test", event


def signed(
    notice: tuple[str, Mapping[str, Any]],
    url: str,
    webhook: str | None,
    valid_secrets: Sequence[str],
) -> Delivery:
    """The request of a notice, signed now by the machine's clock, as the receiver's goes."""
    message_id, event = notice
    body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    timestamp = str(int(time.time()))
    content = b".".join((message_id.encode(), timestamp.encode(), body))
    digests = (hmac.digest(key_of(secret), content, "sha256") for secret in valid_secrets)
    signatures = " ".join(f"v1,{base64.b64encode(one).decode('ascii')}" for one in digests)
    headers = {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": signatures,
    }
    return Delivery(url, webhook, headers, body)


def _rfc3339(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")[:-6] + "Z"
