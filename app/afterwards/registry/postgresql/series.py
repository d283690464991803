"""Series of the whole service: what has been added to the counts, by spans of time.

The counts are sums over all processes, and are kept anyway. The leader keeps, for each step of
time, how they stood when the present bucket began. So the present bucket is their difference to
now, whichever process is asked, and a leader that dies loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from afterwards.buckets import (
    COUNTED,
    STEPS,
    TOTAL,
    VECTOR_SIZE,
    Bucket,
    Step,
    difference,
    vectors_of,
)
from afterwards.counts import TASK_SECONDS
from afterwards.metrics import TaskMetrics
from afterwards.registry.postgresql import measures
from afterwards.registry.postgresql.database import Database, Rows, Statement, Transaction
from afterwards.registry.postgresql.measures import Measures
from afterwards.registry.postgresql.statistics import SUM_COUNTS
from afterwards.registry.protocol.answers import SeriesRows
from afterwards.registry.protocol.requests import Series

MAX_TYPES: Final = 200
"""Types with series of their own; the others are in the total only."""

SCHEMA: Final = """
CREATE TABLE afterwards.series (
    step int NOT NULL,
    at bigint NOT NULL,
    type text NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (step, type, at)
);
CREATE TABLE afterwards.series_types (type text PRIMARY KEY);
CREATE TABLE afterwards.series_begun (
    step int PRIMARY KEY,
    at bigint NOT NULL,
    runs_since bigint NOT NULL,
    vectors json NOT NULL
) WITH (fillfactor = 20);
"""
_WALL: Final[Statement] = ("SELECT afterwards.wall()", ())
_BEGUN: Final[Statement] = ("SELECT step, at, runs_since, vectors FROM afterwards.series_begun", ())
_TYPES: Final[Statement] = ("SELECT type FROM afterwards.series_types", ())
_PUT_BUCKETS: Final = """
INSERT INTO afterwards.series SELECT %s, %s, * FROM unnest(%s::text[], %b::bytea[])
ON CONFLICT (step, type, at) DO UPDATE SET data = excluded.data
"""
_PUT_TYPES: Final = "INSERT INTO afterwards.series_types SELECT unnest(%s::text[])"
_PUT_BEGUN: Final = """
INSERT INTO afterwards.series_begun VALUES (%s, %s, %s, %s::json)
ON CONFLICT (step) DO UPDATE SET
    at = excluded.at, runs_since = excluded.runs_since, vectors = excluded.vectors
"""
# One range of the index for each type: buckets of one time are deleted together.
_DELETE: Final = """
DELETE FROM afterwards.series USING (
    SELECT type FROM afterwards.series_types UNION ALL SELECT ''
) AS known WHERE series.type = known.type AND step = %s AND (at < %s OR at > %s)
"""
_SELECT: Final = """
SELECT at, data FROM afterwards.series
WHERE step = %s AND type = %s AND at BETWEEN %s AND %s ORDER BY at
"""

Vectors = Mapping[str, Sequence[int]]
"""By type: all counts so far, and after them the histograms."""
_NOTHING: Final = (0,) * (VECTOR_SIZE + 2 * (len(TASK_SECONDS) + 1))


class _Begun(NamedTuple):
    """The bucket of a step that is not over yet."""

    at: int
    """The time at which it has begun."""
    runs_since: int
    """As `SeriesRows.runs_since`."""
    vectors: Vectors
    """As they were then."""

    def changes(self, now: Vectors, known: set[str]) -> dict[str, Bucket]:
        """The bucket of each of these types that has changed, and that of all types."""
        found: dict[str, Bucket] = {}
        total = Bucket.empty()
        for name, vector in now.items():
            before = self.vectors.get(name, _NOTHING)
            if [*vector] != [*before]:
                change = difference(vector, before)
                total.add(change)
                if name in known:
                    found[name] = change
                found[TOTAL] = total
        total.stored = _stored(now)
        return found

    def encoded(self, changes: Mapping[str, Bucket], step: Step) -> dict[str, bytes]:
        """Buckets as they are stored."""
        if TOTAL in changes:
            changes[TOTAL].quiet = max(0, self.at - self.runs_since) // step.seconds
        return {name: bucket.encode() for name, bucket in changes.items()}


def _first(step: Step, now: float) -> _Begun:
    """The first bucket of all, of which the service may have been down for a part."""
    at = step.start_of(now)
    return _Begun(at, at + step.seconds, {})


def roll(transaction: Transaction) -> float:
    """Store the buckets that are over, as a part of the leader's transaction at work.

    Returns:
        The seconds until the next one is over.
    """
    [(now,)], begun, types, counts, cells = transaction.run(
        [_WALL, _BEGUN, _TYPES, SUM_COUNTS, measures.SELECT_CELLS]
    )
    present, vectors = _by_step(begun), _vectors(counts, cells)
    known = {name for (name,) in types}
    new = [name for name in sorted(vectors) if name not in known][: MAX_TYPES - len(known)]
    written: list[Statement] = [(_PUT_TYPES, (new,))] if new else []
    for step in STEPS.values():
        written += _rolled(step, present.get(step.seconds), now, vectors, known.union(new))
    if written:
        transaction.run(written)
    finest = min(STEPS.values(), key=lambda step: step.seconds)
    seconds: float = finest.start_of(now) + finest.seconds - now
    return seconds


def _rolled(
    step: Step, begun: _Begun | None, now: float, vectors: Vectors, known: set[str]
) -> list[Statement]:
    if begun is None:
        return [_put(step, _first(step, now))]
    at = step.start_of(now)
    if at == begun.at:
        return []
    changes = begun.changes(vectors, known)
    has_stopped = at != begun.at + step.seconds
    if has_stopped and not changes and begun.runs_since <= begun.at:
        # Up to here it ran; that has to be in a bucket, or would be forgotten.
        changes[TOTAL] = Bucket.empty(_stored(vectors))
    runs_since = at if has_stopped or changes else begun.runs_since
    written: list[Statement] = []
    if changes:
        names, data = zip(*begun.encoded(changes, step).items(), strict=True)
        written.append((_PUT_BUCKETS, (step.seconds, begun.at, list(names), list(data))))
    oldest = at - step.seconds * (step.buckets - 1)
    written.append((_DELETE, (step.seconds, oldest, at)))
    return [*written, _put(step, _Begun(at, runs_since, vectors))]


def _put(step: Step, begun: _Begun) -> Statement:
    document = orjson.dumps(begun.vectors).decode()
    return _PUT_BEGUN, (step.seconds, begun.at, begun.runs_since, document)


def read(database: Database, own: Measures, request: Series) -> SeriesRows:
    """The buckets of a type, or of all, the present one included.

    Args:
        own: what this process has measured is written first.
    """
    own.flush()
    step, name = STEPS[request.range], request.type or TOTAL
    with database.transaction(snapshot=True) as transaction:
        [(now,)], begun, types, counts, cells = transaction.run(
            [_WALL, _BEGUN, _TYPES, SUM_COUNTS, measures.SELECT_CELLS]
        )
        present = _by_step(begun).get(step.seconds) or _first(step, now)
        span = (present.at - step.seconds * (step.buckets - 1), present.at)
        rows, totals = transaction.run(
            [(_SELECT, (step.seconds, one, *span)) for one in (name, TOTAL)]
        )
    vectors = _vectors(counts, cells)
    is_kept = not name or (name,) in types or len(types) < MAX_TYPES
    changes = present.changes(vectors, {name} if is_kept else set())
    last = present.encoded(changes, step)
    vector = vectors.get(name, _NOTHING)
    return SeriesRows(
        step.seconds,
        name,
        last=present.at,
        rows=_with_last(rows, present.at, last.get(name)),
        totals=_with_last(totals, present.at, last.get(TOTAL)),
        runs_since=present.runs_since,
        stored=[*vector[len(COUNTED) : VECTOR_SIZE]] if name else _stored(vectors),
        is_kept=is_kept,
    )


def _with_last(rows: Rows, at: int, data: bytes | None) -> list[tuple[int, bytes]]:
    found: dict[int, bytes] = dict(rows)
    return sorted((found | ({} if data is None else {at: data})).items())


def _by_step(rows: Rows) -> dict[int, _Begun]:
    return {seconds: _Begun(*begun) for seconds, *begun in rows}


def _vectors(counts: Rows, cells: Rows) -> dict[str, list[int]]:
    metrics = TaskMetrics(measures.kept_of([], cells).histograms)
    vectors = vectors_of({(counter, name, label): n for counter, name, label, n in counts})
    for name, vector in vectors.items():
        for numbers in metrics.task_seconds(name):
            vector.extend(numbers)
    return vectors


def _stored(vectors: Vectors) -> list[int]:
    columns: list[Any] = [*zip(*vectors.values(), strict=True)][len(COUNTED) : VECTOR_SIZE]
    return [sum(numbers) for numbers in columns] or [0] * (VECTOR_SIZE - len(COUNTED))
