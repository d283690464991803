"""The log of what people do by hand: in the journal, or in memory where there is none."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Final

from afterwards.registry.journal.sealing import Seal
from afterwards.registry.protocol.activity import ActivityPage, Entry
from afterwards.registry.protocol.requests import Activity

MOST_ENTRIES: Final = 1_000_000
MOST_IN_MEMORY: Final = 10_000
STEP_ENTRIES: Final = 1_000
"""Deleted at once."""

SUBJECT: Final = "log of activity"
"""The owner of sealed values; no schedule has fields of these names."""
_SEALED: Final = ("name", "detail")

_COLUMNS: Final = ", ".join(Entry._fields)
_PUT: Final = f"""
INSERT INTO activity ({_COLUMNS}) VALUES ({", ".join("?" * len(Entry._fields))})
ON CONFLICT (bulk) WHERE bulk IS NOT NULL DO UPDATE SET
    affected = affected + excluded.affected, outcome = excluded.outcome, detail = excluded.detail
"""
_PAGE: Final = f"SELECT number, {_COLUMNS} FROM activity WHERE number < ? ORDER BY number DESC"
# Oldest first, and only so far: no index on the time, which every entry would pay for.
_OVERDUE: Final = f"""
SELECT number FROM (SELECT number, at FROM activity ORDER BY number LIMIT {STEP_ENTRIES})
WHERE at < ? OR number <= (SELECT max(number) FROM activity) - ?
"""
_STEP: Final = f"""
SELECT name, detail, number FROM activity WHERE number > ? ORDER BY number LIMIT {STEP_ENTRIES}
"""
_HIGHEST: Final = 2**63 - 1


def write(
    db: sqlite3.Connection,
    entries: Iterable[Entry],
    overdue: Sequence[int],
    seal: Seal | None = None,
) -> None:
    """Write entries, and delete others, as a part of the transaction at work.

    Args:
        seal: seals what may tell of a payload, such as the text of a search; None: none is.
    """
    if seal is not None:
        entries = [_sealed(entry, seal) for entry in entries]
    db.executemany(_PUT, entries)
    db.executemany("DELETE FROM activity WHERE number = ?", [(number,) for number in overdue])


def _sealed(entry: Entry, seal: Seal) -> Entry:
    # As the table has it, in which a sealed text is no text.
    sealed: dict[str, Any] = {
        field: seal.seal(getattr(entry, field), SUBJECT, field) for field in _SEALED
    }
    return entry._replace(**sealed)


def reseal(db: sqlite3.Connection, seal: Seal) -> None:
    """Have all entries under the key that writes, as a part of the transaction at work.

    Raises:
        Unsealable: one cannot be opened.
    """
    number = 0
    while step := db.execute(_STEP, (number,)).fetchall():
        renewed = [
            (seal.resealed(name, SUBJECT, "name"), seal.resealed(detail, SUBJECT, "detail"), number)
            for name, detail, number in step
        ]
        db.executemany("UPDATE activity SET name = ?, detail = ? WHERE number = ?", renewed)
        number = step[-1][-1]


def page(db: sqlite3.Connection, query: Activity) -> ActivityPage:
    """A page of the log."""
    before = _HIGHEST if query.before is None else query.before
    rows = db.execute(f"{_PAGE} LIMIT ?", (before, query.limit + 1)).fetchall()
    entries = [Entry._make(row[1:]) for row in rows[: query.limit]]
    return ActivityPage(entries, rows[query.limit - 1][0] if len(rows) > query.limit else None)


def overdue(db: sqlite3.Connection, before: float) -> list[int]:
    """The numbers of some entries that are older, or more than are kept."""
    return [number for (number,) in db.execute(_OVERDUE, (before, MOST_ENTRIES))]


class ActivityInMemory:
    """The same without a journal; gone with its process. One thread writes, any may read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[int, Entry] = {}
        """By number, oldest first."""
        self._bulk: dict[str, int] = {}
        """Numbers of entries that more may be added to."""
        self._next = 1

    def write(self, entries: Iterable[Entry], overdue: Sequence[int]) -> None:
        """As `write`."""
        with self._lock:
            for entry in entries:
                self._put(entry)
            for number in overdue:
                self._drop(number)
            while len(self._entries) > MOST_IN_MEMORY:
                self._drop(next(iter(self._entries)))

    def page(self, query: Activity) -> ActivityPage:
        """As `page`."""
        before = _HIGHEST if query.before is None else query.before
        with self._lock:
            numbers = (number for number in reversed(self._entries) if number < before)
            found = list(islice(numbers, query.limit + 1))
            entries = [self._entries[number] for number in found[: query.limit]]
        return ActivityPage(entries, found[query.limit - 1] if len(found) > query.limit else None)

    def overdue(self, before: float) -> list[int]:
        """As `overdue`."""
        oldest = islice(self._entries.items(), STEP_ENTRIES)
        return [number for number, entry in oldest if entry.at < before]

    def _put(self, entry: Entry) -> None:
        number = None if entry.bulk is None else self._bulk.get(entry.bulk)
        if number is not None:
            first = self._entries[number]
            affected = first.affected + entry.affected
            self._entries[number] = first._replace(
                affected=affected, outcome=entry.outcome, detail=entry.detail
            )
            return
        if entry.bulk is not None:
            self._bulk[entry.bulk] = self._next
        self._entries[self._next] = entry
        self._next += 1

    def _drop(self, number: int) -> None:
        entry = self._entries.pop(number, None)
        if entry is not None and entry.bulk is not None:
            self._bulk.pop(entry.bulk, None)
