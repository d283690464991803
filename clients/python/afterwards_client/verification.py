"""Webhooks of the service, verified where they arrive. Nothing here does I/O.

They are signed as Standard Webhooks 1.0 say (`v1`, HMAC-SHA256), so any library of that standard
verifies them, too.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Self

from afterwards_client.errors import InvalidSecret, InvalidWebhook

TOLERANCE_SECONDS: Final = 300.0

_PREFIX: Final = "whsec_"
_BYTES: Final = range(24, 65)
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, kw_only=True)
class WebhookEvent:
    """A verified notice that a task has finished, or a test of the webhook."""

    id: str
    """The same each time that this notice is sent: a receiver that has done it before is done."""
    type: str
    """`task.success`, `task.failed`, `task.cancelled` or `webhook.test`."""
    at: datetime
    """The time at which it happened."""
    sent_at: datetime
    """The time of this attempt to deliver it, to the second."""
    data: Mapping[str, Any] = field(repr=False)
    """The task, without its payload and its result: `id`, `type`, `status`, `error`, `labels`,
    `retries`, `created_at`, `finished_at`."""

    @classmethod
    def of(cls, message_id: str, sent_at: float, document: Mapping[str, Any]) -> Self:
        """Read it from JSON.

        Raises:
            KeyError, TypeError, ValueError: it is no notice of this service.
        """
        data = document["data"]
        if not isinstance(data, dict):
            raise TypeError(data)
        return cls(
            id=message_id,
            type=document["type"],
            at=datetime.fromisoformat(document["timestamp"]),
            sent_at=datetime.fromtimestamp(sent_at, UTC),
            data=data,
        )


def verify_webhook(
    headers: Mapping[str, str],
    body: bytes,
    secrets: str | Sequence[str],
    *,
    tolerance_seconds: float = TOLERANCE_SECONDS,
    now: float | None = None,
) -> WebhookEvent:
    """The event of a request that the service has sent.

    Args:
        headers: those of the request, in upper or lower case.
        body: its bytes as they came. Parsed and written again, they would not verify.
        secrets: the secret of the webhook, or several of them while they are rotated. One has to
            fit.
        tolerance_seconds: the largest difference between the clocks of sender and receiver. It
            bounds how long a request that somebody has recorded can be sent again.
        now: the time, in seconds since 1970; None: it is asked for.

    Raises:
        InvalidWebhook: the request is not the service's, or not of now: answer 400. Its message
            says what is wrong and what to do.
        InvalidSecret: a secret is none, or there is none.
        TypeError: the body is not bytes.
    """
    if not isinstance(body, bytes | bytearray | memoryview):
        raise TypeError(f"body has to be the request's bytes as they came, not {type(body)}")
    body = bytes(body)
    keys = _keys(secrets)
    named = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp, signatures = (
        _header(named, name) for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
    )
    if _TIMESTAMP.fullmatch(timestamp) is None:
        raise InvalidWebhook("the header webhook-timestamp is no number of whole seconds")
    signed = f"{message_id}.{timestamp}.".encode() + body
    if not _is_signed(signed, signatures, keys):
        raise InvalidWebhook(
            "no signature fits: compare the secret with that of the webhook, and verify the bytes "
            "of the body as they came, before anything parses them"
        )
    # Only now: what is not signed says nothing of clocks.
    _check_age(int(timestamp), time.time() if now is None else now, tolerance_seconds)
    try:
        return WebhookEvent.of(message_id, int(timestamp), json.loads(body))
    except (KeyError, TypeError, ValueError, RecursionError, OverflowError) as error:
        raise InvalidWebhook(
            "it is signed, but its body is no event of this client's version"
        ) from error


def _keys(secrets: str | Sequence[str]) -> list[bytes]:
    given = [secrets] if isinstance(secrets, str) else secrets
    if not given:
        raise InvalidSecret("there is none")
    return [key_of(secret) for secret in given]


def key_of(secret: str) -> bytes:
    """The bytes to sign with. Raises `InvalidSecret`."""
    if not secret.startswith(_PREFIX):
        raise InvalidSecret(f"it does not begin with {_PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidSecret(
            f"what follows {_PREFIX} is not base64; a line break at its end is too much, too"
        ) from None
    if len(key) not in _BYTES:
        raise InvalidSecret(f"it has {len(key)} bytes, and 24 to 64 are right")
    return key


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if not value:
        raise InvalidWebhook(
            f"the header {name} is missing: the request is no webhook, or something in between "
            "does not pass the header on"
        )
    return value


def _is_signed(signed: bytes, signatures: str, keys: Sequence[bytes]) -> bool:
    """True if one of the signatures is one of the keys'.

    Each is compared, in a time that depends on their numbers only.
    """
    expected = [b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256")) for key in keys]
    found = False
    for signature in signatures.split(" "):
        # Non-ASCII characters are bytes of no signature.
        sent = signature.encode("utf-8", "replace")
        for one in expected:
            found |= hmac.compare_digest(sent, one)
    return found


def _check_age(timestamp: int, now: float, tolerance_seconds: float) -> None:
    if timestamp < now - tolerance_seconds:
        raise InvalidWebhook(
            f"it was sent {now - timestamp:.0f} s ago, and {tolerance_seconds:g} s are tolerated: "
            "it is a repetition, or a clock is wrong"
        )
    if timestamp > now + tolerance_seconds:
        raise InvalidWebhook(
            f"it was sent {timestamp - now:.0f} s from now, and {tolerance_seconds:g} s are "
            "tolerated: set the clocks of both machines"
        )
