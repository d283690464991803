"""Keys and sessions in the journal."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

from afterwards.access.key import Key, Limits, Session
from afterwards.access.roles import Grant, Role

_KEY: Final = (
    "id", "name", "principal", "role", "grants", "types", "labels", "payloads", "limits",
    "created_at", "expires_at", "revoked_at", "last_used_at", "replaced_by", "digest",
)  # fmt: skip
_SESSION: Final = ("digest", "key_id", "opened_at", "ends_at")


@dataclass(frozen=True)
class KeyChanges:
    """The changes of a group to keys and sessions."""

    keys: Mapping[str, Key | None]
    """New values by id; None: it made room."""
    sessions: Mapping[bytes, Session | None]
    """New values by digest; None: it has ended."""
    version: int
    required: bool


class KeyState(NamedTuple):
    """Keys and sessions, as they were committed last."""

    version: int = 0
    required: bool = False
    keys: Sequence[Key] = ()
    sessions: Sequence[Session] = ()


def write(db: sqlite3.Connection, changes: KeyChanges) -> None:
    """Write the changes as a part of the transaction at work."""
    for key_id, key in changes.keys.items():
        if key is None:
            db.execute("DELETE FROM keys WHERE id = ?", (key_id,))
        else:
            _put(db, "keys", _KEY, _key_columns(key))
    for digest, session in changes.sessions.items():
        if session is None:
            db.execute("DELETE FROM sessions WHERE digest = ?", (digest,))
        else:
            _put(db, "sessions", _SESSION, [getattr(session, name) for name in _SESSION])
    _put(db, "keys_state", ("one", "version", "required"), (1, changes.version, changes.required))


def load(db: sqlite3.Connection) -> KeyState:
    """The content of the journal."""
    state = db.execute("SELECT version, required FROM keys_state").fetchone() or (0, False)
    keys = db.execute(f"SELECT {', '.join(_KEY)} FROM keys")
    sessions = db.execute(f"SELECT {', '.join(_SESSION)} FROM sessions")
    return KeyState(
        state[0],
        bool(state[1]),
        [_to_key(dict(zip(_KEY, row, strict=True))) for row in keys],
        [Session(**dict(zip(_SESSION, row, strict=True))) for row in sessions],
    )


def _put(
    db: sqlite3.Connection, table: str, columns: Sequence[str], values: Sequence[object]
) -> None:
    places = ", ".join("?" * len(columns))
    db.execute(f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}) VALUES ({places})", values)


def _key_columns(key: Key) -> list[Any]:
    changed = {
        "grants": _listed(key.grants),
        "types": _listed(key.types),
        "labels": None if key.labels is None else json.dumps(dict(key.labels)),
        "limits": json.dumps(asdict(key.limits)),
    }
    return [changed[name] if name in changed else getattr(key, name) for name in _KEY]


def _listed(names: Collection[str] | None) -> str | None:
    return None if names is None else json.dumps(sorted(names))


def _to_key(row: dict[str, Any]) -> Key:
    role, types, labels = row["role"], row["types"], row["labels"]
    row |= {
        "role": None if role is None else Role(role),
        "grants": frozenset(map(Grant, json.loads(row["grants"]))),
        "types": None if types is None else frozenset(json.loads(types)),
        "labels": None if labels is None else json.loads(labels),
        "payloads": bool(row["payloads"]),
        "limits": Limits(**json.loads(row["limits"])),
    }
    return Key(**row)
