"""Values sealed with AES-256-GCM, each bound to what it belongs to and to its field.

A sealed value says under which key it is:

    3 bytes   01 "aw"
    1 byte    "b" (bytes) or "t" (text, in UTF-8)
    1 byte    how long the key's id is, and the id in ASCII
    12 bytes  nonce, random
    rest      ciphertext, and 16 bytes of tag

The key of a value is derived from the operator's by HKDF (RFC 5869) for the task that it belongs
to: random nonces are safe for 2^32 values under one key (NIST SP 800-38D, 8.3), which no task has.
Everything before the nonce, and the field's name, are authenticated with it.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeGuard

from afterwards.encryption_keys import EncryptionKeys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Value = str | bytes | None
Subject = bytes | str
"""The owner of a value: a task or a group of errors by its id in bytes, a schedule by its name.
Ids of tasks and of groups have different lengths."""

_MAGIC: Final = b"\x01aw"
_BYTES: Final = _MAGIC + b"b"
_TEXT: Final = _MAGIC + b"t"
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_LEAST_BYTES: Final = len(_TEXT) + 2 + _NONCE_BYTES + _TAG_BYTES
_FINGERPRINT_BYTES: Final = 32
"""Fewer than a sealed value has. A fingerprint is the only plain value that may begin as a sealed
one does: JSON begins with nothing that is neither printable nor space, and text is no bytes."""

_CACHED: Final = 1_024
"""Derived keys: a task has several values, and is written a few times within a moment."""


class Unsealable(Exception):
    """A sealed value cannot be opened.

    Args:
        problem: why, without the value.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def is_sealed(value: Value) -> TypeGuard[bytes]:
    """Tell a sealed value, or what is left of one, from a plain one."""
    return type(value) is bytes and value[:3] == _MAGIC and len(value) != _FINGERPRINT_BYTES


def key_id_of(value: Value) -> str | None:
    """The id of the key that it is sealed with; None: it is plain, or cut short."""
    if not is_sealed(value) or len(value) < _LEAST_BYTES:
        return None
    return value[5 : 5 + value[4]].decode("ascii", "replace")


def is_under(value: Value, key_id: str | None) -> bool:
    """Tell whether it is sealed with this key, or plain if that is None."""
    return key_id_of(value) == key_id and (key_id is not None or not is_sealed(value))


class Seal:
    """Seals with the key that writes, and opens with any that is given.

    Args:
        keys: without a writer, it seals nothing.
    """

    def __init__(self, keys: EncryptionKeys) -> None:
        # Only here: most services have no key, and all their processes import this module.
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - see above
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - see above

        self._new_cipher, self._not_so = AESGCM, (InvalidTag, ValueError)
        self._keys: Mapping[str, bytes] = keys.by_id
        self.writer = keys.writer
        self._cipher = lru_cache(maxsize=_CACHED)(self._derived)
        self._heads = {
            kind: kind + bytes([len(key_id)]) + key_id.encode()
            for kind in (_BYTES, _TEXT)
            for key_id in ([] if keys.writer is None else [keys.writer])
        }

    def seal(self, value: Value, subject: Subject, field: str) -> Value:
        """The value as it is stored. None, which is no value, is not hidden."""
        if value is None or self.writer is None:
            return value
        if isinstance(value, str):
            head, plain = self._heads[_TEXT], value.encode()
        else:
            head, plain = self._heads[_BYTES], value
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher(self.writer, subject).encrypt(nonce, plain, head + field.encode())
        return b"".join((head, nonce, sealed))

    def open(self, value: Value, subject: Subject, field: str) -> Value:
        """The inverse; a plain value is given as it is.

        Raises:
            Unsealable: its key is not given, or it is not what was sealed for this field.
        """
        if not is_sealed(value):
            return value
        key_id = key_id_of(value)
        if key_id is None:
            raise Unsealable("it was cut short")
        if key_id not in self._keys:
            raise Unsealable(f"it is sealed with the key {key_id!r}, which is not given")
        begin = 5 + value[4]
        head, nonce = value[:begin], value[begin : begin + _NONCE_BYTES]
        try:
            cipher = self._cipher(key_id, subject)
            plain = cipher.decrypt(nonce, value[begin + _NONCE_BYTES :], head + field.encode())
        except self._not_so:
            raise Unsealable("it was changed, or belongs elsewhere") from None
        return plain.decode() if value[:4] == _TEXT else plain

    def resealed(self, value: Value, subject: Subject, field: str) -> Value:
        """The value under the key that writes. Raises as `open`."""
        if value is None or is_under(value, self.writer):
            return value
        return self.seal(self.open(value, subject, field), subject, field)

    def _derived(self, key_id: str, subject: Subject) -> AESGCM:
        whose = b"name:" + subject.encode() if isinstance(subject, str) else b"id:" + subject
        # HKDF-Expand for 32 bytes; the key is random already, so nothing has to be extracted.
        info = b"afterwards journal " + whose + b"\x01"
        return self._new_cipher(hmac.digest(self._keys[key_id], info, "sha256"))
