"""Tokens: what a client shows to be known by. Only the SHA-256 of their secret part is stored.

A token is `aw_<id>_<secret>`. The id finds its key and is no secret. The secret has 256 random
bits, which no list of likely passwords has, so a slow hash would protect nothing.
"""

from __future__ import annotations

import re
import secrets
import string
from hashlib import sha256
from typing import Final, NamedTuple

_PREFIX: Final = "aw"
_ID_CHARACTERS: Final = string.ascii_lowercase + string.digits
ID_LENGTH: Final = 12
SECRET_BYTES: Final = 32
_SECRET_LENGTH: Final = 43
"""The length of `SECRET_BYTES` in base64url without padding (RFC 4648, section 5)."""
_TOKEN: Final = re.compile(
    rf"{_PREFIX}_([a-z0-9]{{{ID_LENGTH}}})_([A-Za-z0-9_-]{{{_SECRET_LENGTH}}})".encode()
)


class NewToken(NamedTuple):
    """A token that was just drawn. Its text is shown once and never stored."""

    text: str
    id: str
    digest: bytes


class Parsed(NamedTuple):
    """The parts of a token that a key is found and checked by."""

    id: str
    digest: bytes


def new_token() -> NewToken:
    """A token that was never given before."""
    key_id = "".join(secrets.choice(_ID_CHARACTERS) for _ in range(ID_LENGTH))
    secret = secrets.token_urlsafe(SECRET_BYTES)
    return NewToken(f"{_PREFIX}_{key_id}_{secret}", key_id, digest_of(secret.encode()))


def parsed(token: bytes) -> Parsed | None:
    """The parts of a token; None: it is none. Raises on no input."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        return None
    return Parsed(found[1].decode("ascii"), sha256(found[2]).digest())


def digest_of(secret: bytes) -> bytes:
    """The part of a secret that is stored: its SHA-256."""
    return sha256(secret).digest()
