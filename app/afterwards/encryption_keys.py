"""The keys that a journal is encrypted with, as an operator writes them: `id:key, id:key`."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

KEY_BYTES: Final = 32
"""AES-256."""

NONE: Final = "none"
"""In the place of the first key: what is written from now on is not encrypted."""

MOST_KEYS: Final = 32
MOST_CHARACTERS: Final = 8_192
"""The bound of the whole text: far less than a pipe holds."""

_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")


@dataclass(frozen=True)
class EncryptionKeys:
    """Keys by their ids, and which of them writes. Its `repr` does not show them.

    Raises:
        ValueError: an id or a key is wrong; the message shows no key.
    """

    text: str = ""
    """`id:key` separated by commas or line ends, each key 32 bytes in base64. The first writes;
    `none` in its place writes plain. Empty: nothing is encrypted."""

    def __post_init__(self) -> None:
        if len(self.text) > MOST_CHARACTERS:
            raise ValueError(f"must have at most {MOST_CHARACTERS} characters")
        parts = [part.strip() for part in re.split(r"[,\n]", self.text) if part.strip()]
        plain = not parts or parts[0] == NONE
        found: dict[str, bytes] = {}
        for part in parts[1:] if parts and plain else parts:
            key_id, key = _parsed(part)
            if key_id in found:
                raise ValueError(f"must have each id once (got {key_id} again)")
            found[key_id] = key
        if len(found) > MOST_KEYS:
            raise ValueError(f"must have at most {MOST_KEYS} keys (got {len(found)})")
        object.__setattr__(self, "_keys", found)
        object.__setattr__(self, "_writer", None if plain else next(iter(found)))

    @property
    def by_id(self) -> Mapping[str, bytes]:
        """All of them."""
        keys: Mapping[str, bytes] = self.__dict__["_keys"]
        return keys

    @property
    def writer(self) -> str | None:
        """The id of the key that writes; None: what is written is not encrypted."""
        writer: str | None = self.__dict__["_writer"]
        return writer

    def __repr__(self) -> str:
        return f"EncryptionKeys({', '.join(self.by_id)}; writer={self.writer})"


def _parsed(part: str) -> tuple[str, bytes]:
    key_id, colon, text = part.partition(":")
    key_id = key_id.strip()
    if not colon or _ID.fullmatch(key_id) is None or key_id == NONE:
        # It may be a key without an id, and is not shown.
        raise ValueError(
            "must be id:key, separated by commas; an id has up to 32 lower-case letters, digits, "
            "'.', '_' and '-', and none stands first or nowhere"
        )
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(
            f"must have keys of {KEY_BYTES} bytes in base64, as `openssl rand -base64 32` prints "
            f"them (the key {key_id} is none)"
        )
    return key_id, key
