"""Keys and sessions: the only place that makes, changes and ends them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from afterwards.access.key import (
    MOST_KEYS,
    MOST_SESSIONS,
    MOST_SESSIONS_OF_A_KEY,
    Key,
    Session,
)
from afterwards.access.keyring import Keyring, RingNews
from afterwards.errors import KeyNameTaken, KeyNotFound, KeyNotUsable, TooManyKeys
from afterwards.registry.journal.keys import KeyChanges, KeyState
from afterwards.registry.protocol.clock import Clock
from afterwards.registry.protocol.key_requests import (
    CreateKey,
    EndSession,
    Keys,
    KeysOff,
    OpenSession,
    RevokeKey,
    RotateKey,
    Touch,
)
from afterwards.registry.state.quotas import KeyTable
from afterwards.registry.state.table import Table

_MINUTE: Final = 60.0
_MOST_CHANGES: Final = 1_000
"""The changes that are remembered, and those that one of them may consist of. A worker that
has missed more gets all keys."""


class KeyBook:
    """All keys and sessions.

    `version` counts what changes the rights of anybody, and `required` tells whether requests need
    a key.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys = KeyTable()
        self.bounding = self._keys.bounding
        self._sessions: Table[bytes, Session] = Table()
        self.version = 0
        self.required = False
        self._changed: deque[_Changed] = deque(maxlen=_MOST_CHANGES)
        """The last changes of `version`, without a gap."""
        self._before: tuple[int, bool] | None = None
        """Both as they were before the group at work; None: it has changed neither."""
        self.verbs: Mapping[type, Callable[[Any], Any]] = {
            CreateKey: self._create,
            RotateKey: self._rotate,
            RevokeKey: self._revoke,
            KeysOff: self._turn_off,
            OpenSession: self._open,
            EndSession: self._end,
            Touch: self._touch,
        }

    # -- reading -------------------------------------------------------------------------------

    def ring(self, request: Keys) -> Keyring | RingNews:
        """A snapshot, or what has changed since the one that the asker has."""
        if request.since == self.version:
            return RingNews(self.version, self.version, self.required, {}, {})
        changes = [one for one in self._changed if one.since >= (request.since or 0)]
        if not changes or changes[0].since != request.since:
            return self._whole_ring()
        keys = {key_id: self._keys.rows.get(key_id) for one in changes for key_id in one.keys}
        sessions = {
            digest: self._sessions.rows.get(digest) for one in changes for digest in one.sessions
        }
        return RingNews(changes[0].since, self.version, self.required, keys, sessions)

    def _whole_ring(self) -> Keyring:
        return Keyring(
            self.version,
            required=self.required,
            keys=self._keys.rows.values(),
            sessions=self._sessions.rows.values(),
        )

    def find(self, key_id: str) -> Key | None:
        """A key by its id, whether or not it is valid."""
        return self._keys.rows.get(key_id)

    def name_of(self, key_id: str) -> str:
        """The name of a key; its id if there is none."""
        key = self._keys.rows.get(key_id)
        return key_id if key is None else key.name

    def name_of_session(self, digest: bytes) -> str:
        """The name of the key of a session; empty if there is none."""
        session = self._sessions.rows.get(digest)
        return "" if session is None else self.name_of(session.key_id)

    # -- the verbs -----------------------------------------------------------------------------

    def _create(self, request: CreateKey) -> Key | None:
        if self._is_there(request.key.id, request.key.digest):
            return self._keys.rows[request.key.id]
        if request.only_first and (self.required or self._keys.rows):
            return None
        now = self._clock.wall()
        namesake = next((key for key in self._valid(now) if key.name == request.key.name), None)
        if namesake is not None:
            raise KeyNameTaken(namesake.name, namesake.id)
        key = replace(request.key, created_at=now)
        self._add(key)
        return key

    def _rotate(self, request: RotateKey) -> Key:
        if self._is_there(request.new_id, request.digest):
            return self._keys.rows[request.new_id]
        now = self._clock.wall()
        old = self._usable(request.key_id, now)
        if old.replaced_by is not None:
            raise KeyNotUsable(old.id, f"was rotated before; rotate {old.replaced_by} instead")
        lifetime = None if old.expires_at is None else old.expires_at - old.created_at
        new = replace(
            old,
            id=request.new_id,
            digest=request.digest,
            created_at=now,
            expires_at=None if lifetime is None else now + lifetime,
            last_used_at=None,
        )
        self._add(new)
        ends_at = now + max(0.0, request.overlap_seconds)
        if old.expires_at is not None:
            ends_at = min(ends_at, old.expires_at)
        self._keys.put(old.id, replace(old, expires_at=ends_at, replaced_by=new.id))
        return new

    def _revoke(self, request: RevokeKey) -> None:
        key = self._known(request.key_id)
        if key.revoked_at is not None:
            return
        self._end_key(key)
        self._raise_version(required=self.required)

    def _turn_off(self, _: KeysOff) -> None:
        if not self.required:
            return
        for key in [*self._keys.rows.values()]:
            if key.revoked_at is None:
                self._end_key(key)
        self._raise_version(required=False)

    def _open(self, request: OpenSession) -> None:
        session = request.session
        if session.digest in self._sessions.rows:
            return
        now = self._clock.wall()
        self._usable(session.key_id, now)
        for one in [*self._sessions.rows.values()]:
            if one.ends_at <= now:
                self._sessions.put(one.digest, None)
        sessions = self._sessions.rows.values()
        self._make_room([one for one in sessions if one.key_id == session.key_id], session)
        self._make_room(sessions, session, most=MOST_SESSIONS)
        self._sessions.put(session.digest, session)
        self._raise_version(required=self.required)

    def _end(self, request: EndSession) -> None:
        if request.digest in self._sessions.rows:
            self._sessions.put(request.digest, None)
            self._raise_version(required=self.required)

    def _touch(self, request: Touch) -> None:
        now = self._clock.wall()
        for key_id, at in request.used.items():
            key = self._keys.rows.get(key_id)
            minute = min(at, now) // _MINUTE * _MINUTE
            if key is not None and (key.last_used_at is None or key.last_used_at < minute):
                self._keys.put(key_id, replace(key, last_used_at=minute))

    # -- how -----------------------------------------------------------------------------------

    def _is_there(self, key_id: str, digest: bytes) -> bool:
        known = self._keys.rows.get(key_id)
        return known is not None and known.digest == digest

    def _known(self, key_id: str) -> Key:
        key = self._keys.rows.get(key_id)
        if key is None:
            raise KeyNotFound(key_id)
        return key

    def _usable(self, key_id: str, now: float) -> Key:
        key = self._known(key_id)
        if not key.is_valid(now):
            problem = "has expired" if key.revoked_at is None else "is revoked"
            raise KeyNotUsable(key_id, f"{problem}; create a new one")
        return key

    def _valid(self, now: float) -> Iterable[Key]:
        return (key for key in self._keys.rows.values() if key.is_valid(now))

    def _add(self, key: Key) -> None:
        """Have a key, in the place of the one that ended first if there are too many."""
        keys = self._keys.rows
        if key.id in keys:
            raise KeyNameTaken(keys[key.id].name, key.id)
        if len(keys) >= MOST_KEYS:
            now = self._clock.wall()
            ended = [one for one in keys.values() if not one.is_valid(now)]
            if not ended:
                raise TooManyKeys(MOST_KEYS)
            self._keys.put(min(ended, key=_ended_at).id, None)
        self._keys.put(key.id, key)
        self._raise_version(required=True)

    def _end_key(self, key: Key) -> None:
        self._keys.put(key.id, replace(key, revoked_at=self._clock.wall()))
        for session in [*self._sessions.rows.values()]:
            if session.key_id == key.id:
                self._sessions.put(session.digest, None)

    def _make_room(
        self, sessions: Iterable[Session], new: Session, most: int = MOST_SESSIONS_OF_A_KEY
    ) -> None:
        there = [*sessions]
        if len(there) >= most:
            self._sessions.put(min(there, key=lambda one: one.ends_at).digest, None)

    def _raise_version(self, *, required: bool) -> None:
        if self._before is None:
            self._before = (self.version, self.required)
        self.version, self.required = self.version + 1, required

    # -- the journal ---------------------------------------------------------------------------

    def load(self, state: KeyState) -> None:
        """Take in what is in the journal."""
        self.version, self.required = state.version, state.required
        self._keys.load(state.keys)
        self._sessions.rows = {session.digest: session for session in state.sessions}

    def changes(self) -> KeyChanges | None:
        """The changes of the group at work; None: there are none."""
        if self._before is None and not self._keys.before:
            return None
        return KeyChanges(
            self._keys.changes(), self._sessions.changes(), self.version, self.required
        )

    def commit(self) -> None:
        """The group is durable."""
        if self._before is not None:
            changed = _Changed(
                self._before[0], tuple(self._keys.before), tuple(self._sessions.before)
            )
            if len(changed.keys) + len(changed.sessions) > _MOST_CHANGES:
                self._changed.clear()
            else:
                self._changed.append(changed)
        self._before = None
        self._keys.before.clear()
        self._sessions.before.clear()

    def undo(self) -> None:
        """The group could not be written: be as before it."""
        if self._before is not None:
            self.version, self.required = self._before
        self._before = None
        self._keys.undo()
        self._sessions.undo()


class _Changed(NamedTuple):
    """A group that has raised the version."""

    since: int
    """The version before."""
    keys: tuple[str, ...]
    sessions: tuple[bytes, ...]


def _ended_at(key: Key) -> float:
    ends = (key.revoked_at, key.expires_at)
    return min(at for at in ends if at is not None)
