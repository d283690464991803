"""The journal's buckets of series: what happened in the past, in three steps of time."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple


class Key(NamedTuple):
    """Which bucket."""

    step: int
    """The length of the bucket in seconds."""
    at: int
    """The time at which it begins."""
    type: str
    """Empty: of all types."""


@dataclass(frozen=True)
class SeriesChanges:
    """The changes of series in a group."""

    rows: Mapping[Key, bytes]
    """In the place of those that there are."""
    kept: Mapping[int, tuple[int, int]]
    """By step: the buckets that begin before the first time, or after the second, are deleted."""


Found = list[tuple[int, bytes]]
"""Times and buckets, in order."""

# One look into the table for each bucket: those of other types lie between.
_OF_TYPE: Final = """
WITH RECURSIVE times (at) AS (
    SELECT :first UNION ALL SELECT at + :step FROM times WHERE at + :step <= :last
)
SELECT at, data FROM times CROSS JOIN series USING (at)
WHERE series.step = :step AND series.type = :type
"""


def write(db: sqlite3.Connection, changes: SeriesChanges) -> None:
    """Write the changes as a part of the transaction at work."""
    db.executemany(
        "INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?)",
        [(*key, data) for key, data in changes.rows.items()],
    )
    for step, (first, last) in changes.kept.items():
        db.execute("DELETE FROM series WHERE step = ? AND at < ?", (step, first))
        db.execute("DELETE FROM series WHERE step = ? AND at > ?", (step, last))


def of_type(db: sqlite3.Connection, key: Key, last: int) -> Found:
    """The buckets of a type from this one to that which begins at `last`."""
    step, first, type_name = key
    values = {"step": step, "first": first, "last": last, "type": type_name}
    return db.execute(_OF_TYPE, values).fetchall()


def of_time(db: sqlite3.Connection, step: int, at: int) -> dict[str, bytes]:
    """The buckets of all types that begin at one time, by type."""
    rows = db.execute("SELECT type, data FROM series WHERE step = ? AND at = ?", (step, at))
    return dict(rows.fetchall())


def latest(db: sqlite3.Connection, step: int) -> tuple[int, bytes] | None:
    """The last bucket of all types; None: there is none."""
    found: tuple[int, bytes] | None = db.execute(
        "SELECT at, data FROM series WHERE step = ? AND type = '' ORDER BY at DESC LIMIT 1", (step,)
    ).fetchone()
    return found


@dataclass
class MemorySeries:
    """The same without a file."""

    _steps: dict[int, dict[int, dict[str, bytes]]] = field(default_factory=dict)

    def write(self, changes: SeriesChanges) -> None:
        """As `write` does."""
        for (step, at, type_name), data in changes.rows.items():
            self._steps.setdefault(step, {}).setdefault(at, {})[type_name] = data
        for step, (first, last) in changes.kept.items():
            times = self._steps.get(step, {})
            for at in [at for at in times if not first <= at <= last]:
                del times[at]

    def of_type(self, key: Key, last: int) -> Found:
        """As `of_type` gives them."""
        # The committer may add to it meanwhile.
        times = sorted(self._steps.get(key.step, {}))
        found = (
            (at, self._steps[key.step].get(at, {}).get(key.type))
            for at in times
            if key.at <= at <= last
        )
        return [(at, data) for at, data in found if data is not None]
