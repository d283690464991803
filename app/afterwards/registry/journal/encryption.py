"""Which keys a journal is encrypted with, and the change from one to the next.

The journal notes each key under which it may have values, and with it a secret of its own, sealed
with that key: so a key that is missing, or is another one by the same id, is seen at the start. The
secret makes the ids of groups of errors, which stay the same while keys change.

A new writer is adopted at the start, before anything is read. Schedules, webhooks,
groups of errors and the log of activity, of which there are few, are sealed anew then. Everything
of tasks follows while the service works (`afterwards.registry.journal.resealing`).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from afterwards.encryption_keys import EncryptionKeys
from afterwards.errors import JournalError
from afterwards.logs import get_logger
from afterwards.registry.journal import activity, failures, webhook_rows
from afterwards.registry.journal.sealing import Seal, Unsealable
from afterwards.registry.journal.unsealed import named

log = get_logger(__name__)

SINCE: Final = 6
"""The first version of the journal that may be encrypted."""

SETTING: Final = "AFTERWARDS_ENCRYPTION_KEYS"
_SECRET_BYTES: Final = 32
_FIELD: Final = "journal"
"""The name of the secret as a field. It belongs to the journal, which has no id."""

# Without tasks there is nothing to go through.
_PUT_STATE: Final = """
REPLACE INTO encryption SELECT 1, ?, min(ord), coalesce(max(ord), 0), 0 FROM tasks
"""
_FORGET_KEYS: Final = """
DELETE FROM encryption_keys WHERE id IS NOT ? AND NOT EXISTS (SELECT 1 FROM tasks)
"""


class Encryption(NamedTuple):
    """The encryption of one journal."""

    seal: Seal
    secret: bytes
    """It makes the ids of groups of errors; empty: nothing is sealed from now on."""


def key_ids(db: sqlite3.Connection) -> list[str]:
    """The keys under which the journal may have values."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version < SINCE:
        return []
    return [key_id for (key_id,) in db.execute("SELECT id FROM encryption_keys ORDER BY id")]


def adopt(db: sqlite3.Connection, keys: EncryptionKeys, path: Path) -> Encryption | None:
    """See that the keys are there, and have the first one write from now on.

    Returns:
        None: nothing is encrypted, or will be.

    Raises:
        JournalError: a key is missing, or is another one than the journal was written with.
        sqlite3.Error: it cannot be read or written.
    """
    used = dict(db.execute("SELECT id, secret FROM encryption_keys"))
    _require_keys(used, keys, path)
    if not used and keys.writer is None:
        return None
    seal = Seal(keys)
    secret = b""
    for key_id, sealed in used.items():
        try:
            opened = seal.open(sealed, b"", _FIELD)
        except Unsealable:
            problem = f"the key {key_id} in {SETTING} is not the one that it was written with"
            raise JournalError(str(path), problem) from None
        assert isinstance(opened, bytes)
        secret = opened
    former = db.execute("SELECT writer FROM encryption").fetchone()
    if former is None or former[0] != keys.writer:
        secret = secret or os.urandom(_SECRET_BYTES)
        if not used:
            # Pages that were freed, and room within pages, still hold what was deleted.
            db.execute("VACUUM")
        try:
            with _overwriting(db):
                _change_writer(db, seal, secret)
        except Unsealable as error:
            raise JournalError(str(path), error.problem) from None
        log.info("journal has a new key", writer=keys.writer, former_keys=sorted(used))
    return Encryption(seal, b"" if keys.writer is None else secret)


def _require_keys(used: dict[str, bytes], keys: EncryptionKeys, path: Path) -> None:
    missing = sorted(used.keys() - keys.by_id.keys())
    if missing:
        names = ", ".join(missing)
        raise JournalError(
            str(path),
            f"it is encrypted with a key that is not given: {names}; add it to {SETTING}, behind "
            "the key that is to write",
        )


@contextlib.contextmanager
def _overwriting(db: sqlite3.Connection) -> Iterator[None]:
    """Have what the block replaces overwritten: it is plain, or under a key that others may know.

    Not every SQLite does so by itself.
    """
    (before,) = db.execute("PRAGMA secure_delete").fetchone()
    db.execute("PRAGMA secure_delete = ON")
    try:
        yield
    finally:
        db.execute(f"PRAGMA secure_delete = {before}")


def _change_writer(db: sqlite3.Connection, seal: Seal, secret: bytes) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        if seal.writer is not None:
            sealed = seal.seal(secret, b"", _FIELD)
            db.execute("REPLACE INTO encryption_keys VALUES (?, ?)", (seal.writer, sealed))
        _reseal_schedules(db, seal)
        with _naming("an entry of the log of activity"):
            activity.reseal(db, seal)
        with _naming("a webhook, or a notice to one,"):
            webhook_rows.reseal(db, seal)
        with _naming("the message of a group of errors"):
            failures.reseal(db, seal, b"" if seal.writer is None else secret)
        db.execute(_PUT_STATE, (seal.writer,))
        db.execute(_FORGET_KEYS, (seal.writer,))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _reseal_schedules(db: sqlite3.Connection, seal: Seal) -> None:
    names = [name for (name,) in db.execute("SELECT name FROM schedules")]
    for name in names:
        (payload,) = db.execute("SELECT payload FROM schedules WHERE name = ?", (name,)).fetchone()
        with _naming(f"the payload of {named(name)}"):
            sealed = seal.resealed(payload, name, "payload")
        db.execute("UPDATE schedules SET payload = ? WHERE name = ?", (sealed, name))


@contextlib.contextmanager
def _naming(what: str) -> Iterator[None]:
    try:
        yield
    except Unsealable as error:
        raise Unsealable(f"{what} cannot be opened: {error.problem}") from None
