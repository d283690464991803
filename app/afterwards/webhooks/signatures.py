"""Signatures of webhooks: Standard Webhooks 1.0, symmetric (`v1`, HMAC-SHA256).

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

PREFIX: Final = "whsec_"
_NEW_BYTES: Final = 32
_LEAST_BYTES: Final = 24
_MOST_BYTES: Final = 64

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"

_MESSAGE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""Without a full stop, which separates the id from the rest of what is signed."""


def new_secret() -> str:
    """A secret that was never given before."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_NEW_BYTES)).decode("ascii")


def key_of(secret: str) -> bytes:
    """The bytes to sign with.

    Raises:
        ValueError: it is no secret; the message does not show it.
    """
    expected = f"a secret is {PREFIX} and {_LEAST_BYTES} to {_MOST_BYTES} bytes in base64"
    if not secret.startswith(PREFIX):
        raise ValueError(expected)
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(expected) from None
    if not _LEAST_BYTES <= len(key) <= _MOST_BYTES:
        raise ValueError(f"{expected} (got {len(key)} bytes)")
    return key


def signed_headers(
    message_id: str, sent_at: float, body: bytes, valid_secrets: Sequence[str]
) -> Mapping[str, str]:
    """The headers that let a receiver verify a message.

    Args:
        message_id: the same at each attempt, so that a receiver knows a repetition.
        sent_at: the time of this attempt, in seconds since 1970; receivers refuse old ones.
        body: exactly what is sent.
        valid_secrets: one or more, the newest first. Each makes a signature.

    Raises:
        ValueError: the id has other characters than `A-Z`, `a-z`, `0-9`, `_` and `-`, there is no
            secret, or one is none.
    """
    if _MESSAGE_ID.fullmatch(message_id) is None:
        raise ValueError(f"a message's id has 1 to 128 of A-Z, a-z, 0-9, _ and -: {message_id!r}")
    if not valid_secrets:
        raise ValueError("a message needs a secret to be signed with")
    timestamp = str(int(sent_at))
    signed = b".".join((message_id.encode("ascii"), timestamp.encode("ascii"), body))
    signatures = (hmac.digest(key_of(secret), signed, "sha256") for secret in valid_secrets)
    return {
        ID: message_id,
        TIMESTAMP: timestamp,
        SIGNATURE: " ".join(
            f"v1,{base64.b64encode(signature).decode('ascii')}" for signature in signatures
        ),
    }
