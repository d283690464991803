"""All keys at one moment: what a worker decides by, without asking anybody."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping
from hmac import compare_digest
from typing import Final, NamedTuple, TypeVar

from afterwards.access.key import Key, Session
from afterwards.access.tokens import digest_of, parsed

_Name = TypeVar("_Name")
_Row = TypeVar("_Row")

_NO_DIGEST: Final = secrets.token_bytes(32)
"""The digest that an unknown id's secret is compared with: it takes as long as a known one's."""


class RingNews(NamedTuple):
    """The difference between two rings."""

    since: int
    """The version of the earlier one."""
    version: int
    required: bool
    keys: Mapping[str, Key | None]
    """Those that have changed, by id; None: it is gone."""
    sessions: Mapping[bytes, Session | None]
    """Those that have changed, by digest; None: it has ended."""


class Keyring:
    """A snapshot of all keys and sessions; it never changes.

    Args:
        version: counts the changes of keys and sessions; a higher one is a later snapshot.
        required: whether a request needs a key.
        keys: revoked and expired ones are none that `find` gives, but may be among them.
    """

    __slots__ = ("_keys", "_sessions", "required", "version")

    def __init__(
        self,
        version: int,
        *,
        required: bool,
        keys: Iterable[Key] = (),
        sessions: Iterable[Session] = (),
    ) -> None:
        self.version: Final = version
        self.required: Final = required
        self._keys = {key.id: key for key in keys}
        self._sessions = {session.digest: session for session in sessions}

    def find(self, token: bytes, now: float) -> Key | None:
        """The valid key of a token; None: there is none. Raises on no input.

        The time it takes does not tell whether there is a key with the token's id.
        """
        parts = parsed(token)
        if parts is None:
            return None
        key = self._keys.get(parts.id)
        is_it = compare_digest(parts.digest, _NO_DIGEST if key is None else key.digest)
        return key if key is not None and is_it and key.is_valid(now) else None

    def session(self, cookie: bytes, now: float) -> Key | None:
        """The valid key that a browser has shown; None: its session has ended, or never was."""
        # The cookie is looked up by its hash, so that the time of the lookup tells nothing of it.
        session = self.living(digest_of(cookie), now)
        return None if session is None else self._keys[session.key_id]

    def living(self, digest: bytes, now: float) -> Session | None:
        """The session of this digest; None: it has ended, or its key has."""
        session = self._sessions.get(digest)
        if session is None or now >= session.ends_at or self.key(session.key_id, now) is None:
            return None
        return session

    def renewed(self, news: RingNews) -> Keyring:
        """The ring of another version, of which `news` tells the difference to this one."""
        ring = Keyring(news.version, required=news.required)
        ring._keys = _with(self._keys, news.keys)
        ring._sessions = _with(self._sessions, news.sessions)
        return ring

    @property
    def keys(self) -> Collection[Key]:
        """All of them, revoked and expired ones included."""
        return self._keys.values()

    def key(self, key_id: str, now: float) -> Key | None:
        """The valid key of this id, for a request that goes on; None: there is none any more."""
        key = self._keys.get(key_id)
        return key if key is not None and key.is_valid(now) else None


def _with(rows: Mapping[_Name, _Row], changes: Mapping[_Name, _Row | None]) -> dict[_Name, _Row]:
    changed = {**rows, **{name: row for name, row in changes.items() if row is not None}}
    for name, row in changes.items():
        if row is None:
            changed.pop(name, None)
    return changed


NO_KEYS: Final = Keyring(0, required=False)
"""The ring of a service that never had a key."""
