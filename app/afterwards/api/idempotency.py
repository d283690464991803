"""The header `Idempotency-Key`: a client names its submission and may repeat it.

draft-ietf-httpapi-idempotency-key-header. The key is a string of RFC 8941, in quotes; the same
without quotes, as most clients send it, is taken, too.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import Scope

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = (b"idempotent-replayed", b"true")
"""In an answer that tells of a task accepted before, under the same key."""

MAX_KEY_CHARACTERS: Final = 255

EXAMPLE_KEY: Final = '"8e03978e-40d5-43dd-bc93-6894a57f9324"'
INVALID_KEY: Final = (
    f"Send one {HEADER} of 1 to {MAX_KEY_CHARACTERS} ASCII characters, such as a UUID: "
    f"{HEADER}: {EXAMPLE_KEY}"
)

PATTERN: Final = r'^("([ !#-\[\]-~]|\\["\\])+"|[!#-~]+)$'
"""The same as a regular expression of JSON Schema."""

_NAME: Final = HEADER.lower().encode()
_QUOTED: Final = re.compile(rb'"((?:[ !#-\[\]-~]|\\["\\])+)"')
_BARE: Final = re.compile(rb"[!#-~]+")
_ESCAPED: Final = re.compile(r"\\(.)")


def key_of(scope: Scope) -> str | None:
    """The request's idempotency key; None: it has none.

    Raises:
        HTTPException: it is no key (400).
    """
    found = [value for name, value in scope["headers"] if name == _NAME]
    if not found:
        return None
    key = _parsed(found[0]) if len(found) == 1 else None
    if key is None or len(key) > MAX_KEY_CHARACTERS:
        raise HTTPException(400, INVALID_KEY)
    return key


def _parsed(value: bytes) -> str | None:
    value = value.strip()
    if quoted := _QUOTED.fullmatch(value):
        return _ESCAPED.sub(r"\1", quoted[1].decode("ascii"))
    return value.decode("ascii") if _BARE.fullmatch(value) else None
