"""The log of activity: entries are written with what they tell of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from afterwards.registry.postgresql.columns import storable
from afterwards.registry.postgresql.database import Database, Statement
from afterwards.registry.protocol.activity import ActivityPage, Entry
from afterwards.registry.protocol.requests import Activity

_COLUMNS: Final = ", ".join(Entry._fields)
_PUT: Final = f"""
INSERT INTO afterwards.activity AS old ({_COLUMNS})
SELECT {_COLUMNS} FROM json_to_recordset(%s::json) AS new (
    place int, at float8, verb text, object text, name text, affected bigint, outcome text,
    detail text, actor text, request_id text, address text, bulk text, key_id text
) ORDER BY place
ON CONFLICT (bulk) WHERE bulk IS NOT NULL DO UPDATE SET
    affected = old.affected + excluded.affected, outcome = excluded.outcome,
    detail = excluded.detail
"""
_PAGE: Final = f"""
SELECT number, {_COLUMNS} FROM afterwards.activity WHERE number < %s ORDER BY number DESC LIMIT %s
"""
_HIGHEST: Final = 2**63 - 1


def written(entries: Sequence[Entry]) -> list[Statement]:
    """The statement for the entries of a transaction, in their order; none if there are none."""
    if not entries:
        return []
    rows = [
        {
            **entry._asdict(),
            "place": place,
            "name": storable(entry.name),
            "detail": storable(entry.detail),
        }
        for place, entry in enumerate(entries)
    ]
    return [(_PUT, (orjson.dumps(rows).decode(),))]


class ActivityReads:
    """Answers reads of the log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, request: Activity) -> ActivityPage:
        """A page of the log, newest first."""
        before = _HIGHEST if request.before is None else request.before
        [rows] = self._database.read((_PAGE, (before, request.limit + 1)))
        entries = [Entry._make(row[1:]) for row in rows[: request.limit]]
        more = len(rows) > request.limit
        return ActivityPage(entries, rows[request.limit - 1][0] if more else None)
