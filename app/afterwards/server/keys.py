"""Keys, made and ended on this machine: by the running registry, or in the journal without one.

A user who may write the data directory decides who may use the service, so no token is asked for
here. Root does nothing in a directory of another user that this user could not do.
"""

from __future__ import annotations

import os
import pwd
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from afterwards.access.key import Key
from afterwards.access.keyring import NO_KEYS, Keyring
from afterwards.encryption_keys import EncryptionKeys
from afterwards.errors import AfterwardsError, JournalError, RegistryUnavailable
from afterwards.registry.journal import keys
from afterwards.registry.journal.base import Group
from afterwards.registry.journal.file import inspect, journal_path, reading
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.registry.process.lock import holder_of, unserved
from afterwards.registry.process.manager import connect
from afterwards.registry.protocol.activity import By
from afterwards.registry.protocol.clock import SystemClock
from afterwards.registry.protocol.key_requests import (
    CreateKey,
    Keys,
    KeysOff,
    RevokeKey,
    RotateKey,
)
from afterwards.registry.state.acceptance import Limits
from afterwards.registry.state.rules import Rules
from afterwards.system.owners import as_owner_of

_Request = CreateKey | RotateKey | RevokeKey | KeysOff | Keys


def create(data_dir: Path, key: Key, journal_keys: EncryptionKeys | None = None) -> Key:
    """Have a new key. Raises as `CreateKey`, and `RegistryLocked`, `JournalError`.

    Args:
        journal_keys: the keys of the journal, if it is encrypted; so for all functions.
    """
    created: Key = _carry_out(data_dir, CreateKey(key, by=_whoever_is_here()), journal_keys)
    return created


def rotate(
    data_dir: Path,
    key_id: str,
    new: tuple[str, bytes],
    overlap_seconds: float,
    journal_keys: EncryptionKeys | None = None,
) -> Key:
    """Have a second key in the place of one. Raises as `RotateKey` and `create`.

    Args:
        new: the id and the digest of the new token.
    """
    request = RotateKey(key_id, *new, overlap_seconds, _whoever_is_here())
    rotated: Key = _carry_out(data_dir, request, journal_keys)
    return rotated


def revoke(data_dir: Path, key_id: str, journal_keys: EncryptionKeys | None = None) -> None:
    """End a key for good. Raises as `RevokeKey` and `create`."""
    _carry_out(data_dir, RevokeKey(key_id, _whoever_is_here()), journal_keys)


def turn_off(data_dir: Path, journal_keys: EncryptionKeys | None = None) -> None:
    """Revoke all keys, and require none. Raises as `create`."""
    _carry_out(data_dir, KeysOff(_whoever_is_here()), journal_keys)


def all_keys(data_dir: Path, journal_keys: EncryptionKeys | None = None) -> Keyring:
    """The keys there are, as of now. Raises as `create`."""
    ring: Keyring = _carry_out(data_dir, Keys(), journal_keys)
    return ring


def is_served(data_dir: Path) -> bool:
    """True if a service runs on the directory now, so that what is done here is in force there."""
    try:
        with as_owner_of(data_dir):
            return holder_of(data_dir) is not None
    except OSError as error:
        raise JournalError(str(journal_path(data_dir)), error.strerror or str(error)) from None


def _carry_out(data_dir: Path, request: _Request, journal_keys: EncryptionKeys | None) -> Any:
    try:
        with as_owner_of(data_dir):
            answer = _answer(data_dir, request, journal_keys)
    except OSError as error:
        raise JournalError(str(journal_path(data_dir)), error.strerror or str(error)) from None
    if isinstance(answer, AfterwardsError):
        raise answer
    return answer


def _answer(data_dir: Path, request: _Request, journal_keys: EncryptionKeys | None) -> Any:
    holder = holder_of(data_dir)
    if holder is not None:
        try:
            return connect(holder.endpoint).exchange(None, 0, [request]).answers[0]
        except (OSError, EOFError):
            raise RegistryUnavailable from None
    if isinstance(request, Keys) and not journal_path(data_dir).exists():
        return NO_KEYS
    # A journal that is made here is as private as the registry would make it.
    before = os.umask(0o077)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with unserved(data_dir), closing(_journal(data_dir, journal_keys)) as journal:
            return _answer_alone(journal, request)
    finally:
        os.umask(before)


def _journal(data_dir: Path, keys: EncryptionKeys | None) -> SqliteJournal:
    return SqliteJournal(journal_path(data_dir), check=False, keys=keys)


def _answer_alone(journal: SqliteJournal, request: _Request) -> Any:
    """As the registry would, which does not run; no task is touched."""
    rules = Rules("", SystemClock(), journal, Limits())
    contents = journal.load()
    rules.load(contents.plans, contents.keys, contents.webhooks)
    del contents
    if isinstance(request, Keys):
        return rules.keys.ring(request)
    try:
        answer: Any = rules.apply(None, 0, request)
    except AfterwardsError as error:
        answer = error
    journal.write(
        Group(
            [],
            Counter(),
            at=time.time(),
            activity=rules.activity.entries,
            keys=rules.keys.changes(),
        )
    )
    return answer


def will_be_required(data_dir: Path, *, by_file: bool) -> bool:
    """True if requests will need a key once a service has started on the directory.

    Earlier versions have no keys.

    Args:
        by_file: the service has a file with the first key, which counts if there never was one.

    Raises:
        JournalError: the journal cannot be read.
    """
    journal = journal_path(data_dir)
    try:
        with as_owner_of(data_dir):
            if not inspect(journal, check=False):
                return by_file
            with closing(reading(journal)) as db:
                if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'keys'").fetchone():
                    return by_file
                state = keys.load(db)
    except (OSError, sqlite3.Error) as error:
        raise JournalError(str(journal), str(error)) from None
    return state.required or (by_file and not state.keys)


def _whoever_is_here() -> By:
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return By(actor=f"{name} on this machine")
