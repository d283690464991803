"""Why the journal cannot be used, in words for clients; all else is for the log alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from afterwards.errors import JournalLocked, JournalUnavailable
from afterwards.logs import get_logger

log = get_logger(__name__)

PRIMARY: Final = 0xFF
"""The low byte of an extended result code (https://www.sqlite.org/rescode.html)."""

_LOCKED: Final = "it is locked by another process"

_REASONS: Final[Mapping[int, str]] = MappingProxyType(
    {
        sqlite3.SQLITE_FULL: "database or disk is full",
        sqlite3.SQLITE_READONLY: "attempt to write a readonly database",
        sqlite3.SQLITE_BUSY: _LOCKED,
        sqlite3.SQLITE_LOCKED: _LOCKED,
        sqlite3.SQLITE_IOERR: "disk I/O error",
        sqlite3.SQLITE_CANTOPEN: "unable to open database file",
        sqlite3.SQLITE_CORRUPT: "database disk image is malformed",
        sqlite3.SQLITE_NOTADB: "file is not a database",
        sqlite3.SQLITE_PERM: "access permission denied",
        sqlite3.SQLITE_NOMEM: "out of memory",
    }
)
"""Errors that can befall any journal, by SQLite's primary code. Every other error is about the
statement, and its text may name tables, columns and values."""


def code_of(error: sqlite3.Error) -> int:
    """SQLite's extended result code."""
    # The module's own errors have none.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)


def name_of(error: sqlite3.Error) -> str:
    """The name of its code."""
    return getattr(error, "sqlite_errorname", type(error).__name__)


def reason_of(error: sqlite3.Error, place: str) -> str:
    """The reason that a client is told; the rest is logged.

    Args:
        place: the journal's path, for the log.
    """
    reason = _REASONS.get(code_of(error) & PRIMARY)
    if reason is None:
        reason = "an unexpected error; the log has it"
        log.error(
            "unexpected error of the journal", error=str(error), code=name_of(error), journal=place
        )
    return reason


def refusal(error: sqlite3.Error, place: str) -> JournalUnavailable:
    """The answer to a request to write."""
    if code_of(error) & PRIMARY == sqlite3.SQLITE_BUSY:
        return JournalLocked(_LOCKED, place)
    return JournalUnavailable(reason_of(error, place), place)
