"""Keys, as an administrator makes and ends them. The secret of a new one leaves with the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from afterwards.access.key import Key, Session
from afterwards.access.keyring import Keyring
from afterwards.access.tokens import new_token
from afterwards.registry.protocol.activity import By
from afterwards.registry.protocol.key_requests import (
    CreateKey,
    EndSession,
    Keys,
    OpenSession,
    RevokeKey,
    RotateKey,
)


class IssuedKey(NamedTuple):
    """A new key, with its token, which cannot be read again."""

    key: Key
    token: str


class KeyVerbs:
    """The verbs of an administrator. Every method may raise `errors.Unavailable`.

    `by` is who asks: it is remembered together with what was done.

    Args:
        call: has a request carried out.
    """

    def __init__(self, call: Callable[[Any], Awaitable[Any]]) -> None:
        self._call = call

    async def all(self) -> Sequence[Key]:
        """All keys, the newest first, revoked and expired ones included."""
        ring: Keyring = await self._call(Keys())
        return sorted(ring.keys, key=lambda key: (key.created_at, key.id), reverse=True)

    async def are_required(self) -> bool:
        """True once there has been a key."""
        ring: Keyring = await self._call(Keys())
        return ring.required

    async def create(self, make: Callable[[str, bytes], Key], by: By) -> IssuedKey:
        """Have a new key.

        Args:
            make: gives the key with an id and a digest.

        Raises:
            KeyNameTaken: a valid key has its name.
            TooManyKeys: the limit is reached.
        """
        token = new_token()
        key: Key = await self._call(CreateKey(make(token.id, token.digest), by=by))
        return IssuedKey(key, token.text)

    async def rotate(self, key_id: str, overlap_seconds: float, by: By) -> IssuedKey:
        """Have a second key in the place of one that ends after the overlap.

        Raises:
            KeyNotFound: there is none with this id.
            KeyNotUsable: it is expired, revoked or rotated already.
            TooManyKeys: the limit is reached.
        """
        token = new_token()
        key: Key = await self._call(RotateKey(key_id, token.id, token.digest, overlap_seconds, by))
        return IssuedKey(key, token.text)

    async def revoke(self, key_id: str, by: By) -> None:
        """End a key for good. Raises `KeyNotFound`."""
        await self._call(RevokeKey(key_id, by))

    async def open_session(self, session: Session, by: By) -> None:
        """Let a browser do what a key may.

        Raises:
            KeyNotFound: there is no key with its id any more.
            KeyNotUsable: it was revoked or has expired by now.
        """
        await self._call(OpenSession(session, by))

    async def end_session(self, digest: bytes, by: By) -> None:
        """End a session. Nothing happens if it has ended."""
        await self._call(EndSession(digest, by))
