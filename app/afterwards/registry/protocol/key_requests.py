"""The requests about keys and sessions. No token is in any of them: only hashes of secrets are.

Each that changes what a request is allowed raises `Keyring.version`, which every `Reply` tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from afterwards.access.key import Key, Session
from afterwards.access.meters import Use
from afterwards.registry.protocol.activity import By


class CreateKey(NamedTuple):
    """Have a new key, and from then on require one. Idempotent by its id and digest.

    Answer: the `Key` as it is kept; None if it was to be the first and is not.

    Errors: `KeyNameTaken`, `TooManyKeys`, `JournalUnavailable`.
    """

    key: Key
    only_first: bool = False
    """Only if there never was one."""
    by: By | None = None
    """The asker, if it is done by hand: then it leaves an entry in the log of activity."""


class RotateKey(NamedTuple):
    """Have a second key in the place of a valid one, which ends after the overlap.

    The new key has its name, its principal and its rights, and is valid for as long as the old one
    was meant to be. Idempotent by the new id and digest. Answer: the new `Key`.

    Errors: `KeyNotFound`, `KeyNotUsable`, `TooManyKeys`, `JournalUnavailable`.
    """

    key_id: str
    new_id: str
    digest: bytes
    overlap_seconds: float
    by: By | None = None
    """The asker, if it is done by hand: then it leaves an entry in the log of activity."""


class RevokeKey(NamedTuple):
    """End a key for good, with its sessions. Idempotent. Answer: None.

    Errors: `KeyNotFound`, `JournalUnavailable`.
    """

    key_id: str
    by: By | None = None
    """The asker, if it is done by hand: then it leaves an entry in the log of activity."""


class KeysOff(NamedTuple):
    """Revoke all keys, and require none until there is a new one. Idempotent. Answer: None.

    Errors: `JournalUnavailable`.
    """

    by: By | None = None
    """The asker, if it is done by hand: then it leaves an entry in the log of activity."""


class OpenSession(NamedTuple):
    """Let a browser do what a valid key may. Idempotent by the session's digest. Answer: None.

    Errors: `KeyNotFound`, `KeyNotUsable`, `JournalUnavailable`.
    """

    session: Session
    by: By | None = None
    """The asker, if it is done by hand: then it leaves an entry in the log of activity."""


class EndSession(NamedTuple):
    """End a session. Idempotent. Answer: None. Errors: `JournalUnavailable`."""

    digest: bytes
    by: By | None = None
    """The asker, if it is done by hand: then it leaves an entry in the log of activity."""


class Touch(NamedTuple):
    """Remember when keys were used last. Raises no version. Answer: None."""

    used: Mapping[str, float]
    """By the key's id; ids of no key are left out."""


class Share(NamedTuple):
    """A worker's use of keys with limits. It changes nothing that is written.

    Answer: `Left` by the key's id, of the keys in `used` or of all in use; ids of no key with
    limits are left out.
    """

    used: Mapping[str, Use]
    """All keys that it uses, by id; of streams and waits, those that are not there have none."""
    everything: bool = False
    """Tell of all keys that any worker uses."""


class Keys(NamedTuple):
    """Answer: the `Keyring`, with all keys and sessions; or a `RingNews`, if that is enough."""

    since: int | None = None
    """The version of the ring that the asker has; None: it has none."""
