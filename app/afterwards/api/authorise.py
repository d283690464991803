"""The check of keys: each request is held against the needs of the route that has matched it.

The routes call this before they read a body (`routing.Route`, `direct.Shortcut`). Nothing here
looks at a path: however one is written, it leads to a route, and the route says whom it is for.
"""

from __future__ import annotations

import re
import time
from typing import Final, Protocol

from starlette.types import Scope

from afterwards.access.key import Key, Session
from afterwards.access.keyring import NO_KEYS, Keyring
from afterwards.access.meters import Meters
from afterwards.access.principal import ANYONE, Principal
from afterwards.access.roles import Role
from afterwards.api.cookies import session_of
from afterwards.api.lapses import Lapses
from afterwards.api.limits import admit
from afterwards.api.roles import Needs
from afterwards.errors import (
    InvalidKey,
    KeysUnknown,
    NotAllowed,
    NotAuthenticated,
    SessionEnded,
    TokenInUrl,
)

MOST_REMEMBERED: Final = 10_000
"""Decisions for a key and a route. To decide again costs a microsecond."""

_SCHEME: Final = b"bearer "
_IN_URL: Final = re.compile(rb"(?:^|&)(?:access_)?token=")


class Declared(Protocol):
    """A route."""

    @property
    def needs(self) -> Needs | None:
        """Whom it is for."""


class Gate:
    """Lets requests in, by the keys as this worker knows them.

    Args:
        ring: None: they are not known yet, and no request is let in.
    """

    def __init__(self, ring: Keyring | None = NO_KEYS) -> None:
        self.used: dict[str, float] = {}
        """The last use of each key, by its id, until they are taken away to be remembered."""
        self.meters = Meters()
        """The use of keys with limits."""
        self.renew(ring)
        self.lapses: Final = Lapses(self.holds)
        """The keys that something goes on with."""

    def renew(self, ring: Keyring | None) -> None:
        """Decide by this ring from now on."""
        self._ring = ring
        self.meters.renew(() if ring is None else ring.keys)
        self._decided: dict[tuple[str | bytes, int], tuple[Principal, bool]] = {}
        self.is_open = ring is not None and not ring.required
        """True while no key is required."""
        self.asks_for_keys = ring is not None and ring.required
        """True while one is; neither is true while it is not known."""

    def holds(self, principal: Principal) -> bool:
        """True if what a principal was let in for may go on."""
        if self._ring is None or not self._ring.required:
            return True
        now, session, key_id = time.time(), principal.session, principal.key_id
        if session is not None:
            return self._ring.living(session.digest, now) is not None
        return key_id is not None and self._ring.key(key_id, now) is not None

    def let_in(self, needs: Needs, scope: Scope) -> None:
        """Note the sender of a request in its scope, if it may what the route needs.

        `scope["own_only"]` is True if it may that for tasks of its own, and for no others.

        Raises:
            NotAuthenticated: it has shown no valid key.
            NotAllowed: its key does not reach so far.
            LimitReached: it has sent too many requests of late.
            KeysUnknown: it is not known.
        """
        key, session = self._shown(scope)
        if meters := self.meters.by_key:
            meter = meters.get(key.id)
            if meter is not None:
                admit(meter, scope)
        # What routes need lasts as long as they do, and hashes slowly: its identity will do.
        what = key.id if session is None else session.digest, id(needs)
        decided = self._decided.get(what)
        if decided is None or decided[0].key is not key:
            if len(self._decided) >= MOST_REMEMBERED:
                self._decided.clear()
            # Also of a refused request: the log of activity says who has sent it.
            scope["principal"] = Principal(key, session)
            decided = self._decided[what] = _decide(scope["principal"], needs)
        scope["principal"], scope["own_only"] = decided

    def sender(self, scope: Scope) -> Principal:
        """The sender of a request to a public route. Raises as `let_in`, but never `NotAllowed`."""
        return ANYONE if self.is_open else Principal(*self._shown(scope))

    def bearer(self, token: bytes) -> Key | None:
        """The valid key of a token; None: there is none. Raises `KeysUnknown`."""
        if self._ring is None:
            raise KeysUnknown
        return self._ring.find(token, time.time())

    def living(self, digest: bytes) -> Session | None:
        """The session of this digest, as far as this worker knows."""
        return None if self._ring is None else self._ring.living(digest, time.time())

    def _shown(self, scope: Scope) -> tuple[Key, Session | None]:
        """The valid key that a request shows, and the session if that stands for it."""
        if self._ring is None:
            raise KeysUnknown
        if scope["query_string"] and _IN_URL.search(scope["query_string"]):
            raise TokenInUrl
        now, session = time.time(), None
        token = _token(scope)
        if token is None:
            digest = session_of(scope)
            if digest is None:
                raise NotAuthenticated
            session = self._ring.living(digest, now)
            if session is None:
                raise SessionEnded
            key = self._ring.key(session.key_id, now)
        else:
            key = self._ring.find(token, now)
        if key is None:
            raise InvalidKey
        self.used[key.id] = now
        return key, session


def _decide(principal: Principal, needs: Needs) -> tuple[Principal, bool]:
    """The principal, and whether it may for its own tasks only. Raises `NotAllowed`."""
    own_only = not principal.may(needs)
    if own_only and not principal.may_for_own(needs):
        raise NotAllowed(f"This needs the role {needs.role.value}; {described(principal)}")
    return principal, own_only


def authorise(route: Declared, scope: Scope) -> None:
    """Let a request to a route in, and note its sender as `scope["principal"]`.

    A public route asks for no key: nothing is noted, and it reaches no task.

    Raises:
        As `Gate.let_in`.
    """
    needs = route.needs
    if needs is None:
        raise TypeError("the route was added after the start and declares no role: see `needs`")
    if needs.role is Role.PUBLIC:
        return
    gate: Gate = scope["app"].state.gate
    if gate.is_open:
        scope["principal"] = ANYONE
    else:
        gate.let_in(needs, scope)


def require_still(scope: Scope) -> None:
    """Raise `InvalidKey` if the key that let a request in has ended since."""
    principal = scope.get("principal")
    if principal is None:
        return  # public
    gate: Gate = scope["app"].state.gate
    if not gate.is_open and not gate.holds(principal):
        raise InvalidKey


def _token(scope: Scope) -> bytes | None:
    """The token that the request shows (RFC 6750, 2.1); None: it shows nothing of that kind."""
    found = [value for name, value in scope["headers"] if name == b"authorization"]
    if not found:
        return None
    # With two of them, a proxy before the service may have looked at the other one.
    if len(found) > 1 or found[0][: len(_SCHEME)].lower() != _SCHEME:
        raise InvalidKey
    token: bytes = found[0][len(_SCHEME) :].strip()
    return token


def described(principal: Principal) -> str:
    """A key and its role, for the client that has shown it."""
    key = principal.key
    assert key is not None
    if key.role is not None:
        return f"the key {key.name!r} has the role {key.role.value}"
    grants = " and ".join(sorted(grant.value for grant in key.grants)) or "nothing"
    return f"the key {key.name!r} has no role and may only {grants}"
