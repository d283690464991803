"""Keys and sessions as rows of the database.

All that change them have a lock in common. What changes the bounds of anybody's tasks also waits
until no exchange of a worker is at work (the lock of the plans), so that each process may remember
keys under their version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, NamedTuple

import orjson

from afterwards.access.key import Key, Limits, Session
from afterwards.access.keyring import Keyring, RingNews
from afterwards.access.meters import is_metered
from afterwards.access.roles import Grant, Role
from afterwards.registry.journal.keys import KeyState
from afterwards.registry.postgresql.database import Database, Rows, Statement, Transaction
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
from afterwards.registry.protocol.requests import Request
from afterwards.registry.state.keys import KeyBook
from afterwards.registry.state.quotas import bounds_tasks

_CHANGES_BOUNDS: Final = (CreateKey, RotateKey, RevokeKey, KeysOff)
_CHANGES: Final = (*_CHANGES_BOUNDS, OpenSession, EndSession, Touch)
_MOST_CHANGES: Final = 1_000
"""The changes that are remembered, and the rows that one of them may be about. A worker that has
missed more gets all keys."""

_KEY: Final = (
    "id, name, principal, said, created_at, expires_at, revoked_at, last_used_at, replaced_by, "
    "digest"
)
LOCK: Final[Statement] = ("SELECT pg_advisory_xact_lock(1634104425, 1)", ())
SELECT_STATE: Final[Statement] = (
    "SELECT keys_version, keys_required FROM afterwards.service",
    (),
)
SELECT_KEYS: Final[Statement] = (f"SELECT {_KEY} FROM afterwards.keys", ())
SELECT_SESSIONS: Final[Statement] = (
    "SELECT digest, key_id, opened_at, ends_at FROM afterwards.sessions",
    (),
)
_PUT_KEY: Final = f"""
INSERT INTO afterwards.keys ({_KEY}) VALUES (%s, %s, %s, %s::json, %s, %s, %s, %s, %s, %b)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, principal = excluded.principal,
    said = excluded.said, created_at = excluded.created_at, expires_at = excluded.expires_at,
    revoked_at = excluded.revoked_at, last_used_at = excluded.last_used_at,
    replaced_by = excluded.replaced_by, digest = excluded.digest
"""
_DELETE_KEY: Final = "DELETE FROM afterwards.keys WHERE id = %s"
_PUT_SESSION: Final = """
INSERT INTO afterwards.sessions (digest, key_id, opened_at, ends_at) VALUES (%b, %s, %s, %s)
ON CONFLICT (digest) DO UPDATE SET key_id = excluded.key_id, opened_at = excluded.opened_at,
    ends_at = excluded.ends_at
"""
_DELETE_SESSIONS: Final = "DELETE FROM afterwards.sessions WHERE digest = ANY (%b::bytea[])"
_PUT_STATE: Final = "UPDATE afterwards.service SET keys_version = %s, keys_required = %s"
_NOTE_CHANGE: Final = "INSERT INTO afterwards.key_changes VALUES (%s, %s, %s, %b::bytea[])"
_FORGET_CHANGES: Final = """
DELETE FROM afterwards.key_changes WHERE since < (
    SELECT since FROM afterwards.key_changes ORDER BY since DESC OFFSET %s LIMIT 1
)
"""
_FORGET_ALL_CHANGES: Final[Statement] = ("DELETE FROM afterwards.key_changes", ())


class KnownKeys(NamedTuple):
    """The keys of one version that limit anything; of their last use it may not know."""

    version: int = 0
    bounding: Mapping[str, Sequence[Key]] = {}
    """Those that bound the tasks of their principal, by it."""
    metered: Sequence[Key] = ()
    """Those whose requests, streams or waits are bounded."""


def load(transaction: Transaction) -> KnownKeys:
    """The keys as they are in this transaction."""
    [[(version, _)], rows] = transaction.run([SELECT_STATE, SELECT_KEYS])
    bounding: dict[str, list[Key]] = {}
    found = [_to_key(row) for row in rows]
    for key in found:
        if bounds_tasks(key):
            bounding.setdefault(key.principal, []).append(key)
    return KnownKeys(version, bounding, [key for key in found if is_metered(key.limits)])


def statements(requests: Iterable[Request]) -> dict[str, Statement]:
    """Locks and reads keys and sessions, by the name of their part, if requests change any."""
    if not any(isinstance(request, _CHANGES) for request in requests):
        return {}
    return {
        "key lock": LOCK,
        "key state": SELECT_STATE,
        "keys": SELECT_KEYS,
        "sessions": SELECT_SESSIONS,
    }


def change_bounds(requests: Iterable[Request]) -> bool:
    """True if any of the requests may change the bounds of anybody's tasks."""
    return any(isinstance(request, _CHANGES_BOUNDS) for request in requests)


def to_state(state: Rows, keys: Rows, sessions: Rows) -> KeyState:
    """All of it, from the rows of `statements`."""
    version, required = state[0]
    found = [
        Session(digest=row[0], key_id=row[1], opened_at=row[2], ends_at=row[3]) for row in sessions
    ]
    return KeyState(version, required, [_to_key(row) for row in keys], found)


def written(book: KeyBook, version_before: int) -> list[Statement]:
    """Statements for what a transaction has changed."""
    changes = book.changes()
    if changes is None:
        return []
    statements: list[Statement] = []
    for key_id, key in changes.keys.items():
        put = (_DELETE_KEY, (key_id,)) if key is None else (_PUT_KEY, _key_row(key))
        statements.append(put)
    ended = [digest for digest, session in changes.sessions.items() if session is None]
    if ended:
        statements.append((_DELETE_SESSIONS, (ended,)))
    statements += [
        (_PUT_SESSION, (one.digest, one.key_id, one.opened_at, one.ends_at))
        for one in changes.sessions.values()
        if one is not None
    ]
    if changes.version == version_before:
        return statements
    statements.append((_PUT_STATE, (changes.version, changes.required)))
    keys, sessions = [*changes.keys], [*changes.sessions]
    if len(keys) + len(sessions) > _MOST_CHANGES:
        return [*statements, _FORGET_ALL_CHANGES]
    noted = (version_before, changes.version, keys, sessions)
    return [*statements, (_NOTE_CHANGE, noted), (_FORGET_CHANGES, (_MOST_CHANGES - 1,))]


def _key_row(key: Key) -> tuple[Any, ...]:
    said = {
        "role": key.role,
        "grants": sorted(key.grants),
        "types": None if key.types is None else sorted(key.types),
        "labels": None if key.labels is None else dict(key.labels),
        "payloads": key.payloads,
        "limits": asdict(key.limits),
    }
    return (
        key.id,
        key.name,
        key.principal,
        orjson.dumps(said).decode(),
        key.created_at,
        key.expires_at,
        key.revoked_at,
        key.last_used_at,
        key.replaced_by,
        key.digest,
    )


def _to_key(row: Sequence[Any]) -> Key:
    key_id, name, principal, said, created_at, *times, replaced_by, digest = row
    expires_at, revoked_at, last_used_at = times
    types = said["types"]
    return Key(
        id=key_id,
        name=name,
        principal=principal,
        role=None if said["role"] is None else Role(said["role"]),
        grants=frozenset(map(Grant, said["grants"])),
        types=None if types is None else frozenset(types),
        labels=said["labels"],
        payloads=said["payloads"],
        limits=Limits(**said["limits"]),
        created_at=created_at,
        expires_at=expires_at,
        revoked_at=revoked_at,
        last_used_at=last_used_at,
        replaced_by=replaced_by,
        digest=digest,
    )


# -- reading ---------------------------------------------------------------------------------------

_CHANGES_SINCE: Final = """
SELECT since, version, keys, sessions FROM afterwards.key_changes WHERE since >= %s ORDER BY since
"""


class KeyReads:
    """Answers reads of keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ring(self, request: Keys) -> Keyring | RingNews:
        """A snapshot, or what has changed since the one that the asker has."""
        since = request.since
        with self._database.transaction(snapshot=True) as transaction:
            state, changes = transaction.run(
                [SELECT_STATE, (_CHANGES_SINCE, (-1 if since is None else since,))]
            )
            version, required = state[0]
            if since == version:
                return RingNews(version, version, required, {}, {})
            rows = transaction.run([SELECT_STATE, SELECT_KEYS, SELECT_SESSIONS])
        found = to_state(*rows)
        if since is None or not _follow_each_other(changes, since, version):
            return Keyring(version, required=required, keys=found.keys, sessions=found.sessions)
        keys: dict[str, Key | None] = {one: None for change in changes for one in change[2]}
        sessions: dict[bytes, Session | None] = {
            one: None for change in changes for one in change[3]
        }
        keys |= {key.id: key for key in found.keys if key.id in keys}
        sessions |= {one.digest: one for one in found.sessions if one.digest in sessions}
        return RingNews(since, version, required, keys, sessions)


def _follow_each_other(changes: Rows, since: int, version: int) -> bool:
    """True if nothing is missing between the two versions."""
    at = since
    for before, after, *_ in changes:
        if before != at:
            return False
        at = after
    return at == version
