"""The counts that no transaction has to be exact about: of HTTP, and how long things took.

A worker's own counts are written with its beat. Those of the processes that speak to the database
are kept in memory, and written from time to time and before they are shown, each as rows of its
own; what all have measured together is the sum.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from afterwards.counts import (
    ENDED,
    HTTP_SECONDS,
    NO_COUNTS,
    Cells,
    Kept,
    WorkerCounts,
    WorkerTotals,
    total,
)
from afterwards.lifecycle import Change
from afterwards.metrics import TaskMetrics
from afterwards.registry.postgresql.database import Database, Rows, Statement, Transaction

FLUSH_SECONDS: Final = 1.0
_REFUSED: Final = "reports_refused"

SCHEMA: Final = """
CREATE TABLE afterwards.worker_counts (worker text PRIMARY KEY, counts json NOT NULL)
    WITH (fillfactor = 50);
CREATE TABLE afterwards.histograms (
    name text NOT NULL,
    label text NOT NULL,
    writer text NOT NULL,
    cells float8[] NOT NULL,
    PRIMARY KEY (name, label, writer)
) WITH (fillfactor = 50);
"""
_PUT_WORKER: Final = """
INSERT INTO afterwards.worker_counts VALUES (%s, %s::json)
ON CONFLICT (worker) DO UPDATE SET counts = excluded.counts
"""
_PUT_CELLS: Final = """
INSERT INTO afterwards.histograms
SELECT name, label, %s, ARRAY(SELECT json_array_elements_text(cells)::float8)
FROM json_to_recordset(%s::json) AS new (name text, label text, cells json)
ON CONFLICT (name, label, writer) DO UPDATE SET cells = excluded.cells
"""
SELECT_WORKERS: Final[Statement] = ("SELECT worker, counts FROM afterwards.worker_counts", ())
SELECT_CELLS: Final[Statement] = ("SELECT name, label, cells FROM afterwards.histograms", ())
# A worker that has left its row, or whose process has ended, reports no more.
_TAKE_ENDED: Final = f"""
WITH ended AS (
    DELETE FROM afterwards.worker_counts AS c WHERE worker <> '{ENDED}' AND NOT EXISTS (
        SELECT FROM afterwards.workers AS w WHERE w.name = c.worker AND NOT w.gone
    ) RETURNING worker, counts
) SELECT worker, counts FROM ended UNION ALL
SELECT worker, counts FROM afterwards.worker_counts
WHERE worker = '{ENDED}' AND EXISTS (SELECT FROM ended)
"""


class Measures:
    """The measures of this process. From any thread.

    Args:
        writer: this process, unlike any other.
    """

    def __init__(self, database: Database, writer: str) -> None:
        self._database = database
        self._writer = writer
        self._metrics = TaskMetrics()
        self._refused = 0
        self._of_workers = WorkerTotals()
        self._lock = threading.Lock()
        self._has_news = False
        self._flushed_at = time.monotonic()

    def committed(self, changes: Sequence[Change], refused: int, seconds: float) -> None:
        """A transaction is committed, in so many seconds; so many of its reports were refused."""
        if not changes and not refused:
            return
        with self._lock:
            if changes:
                self._metrics.committed(changes, seconds)
            self._refused += refused
            self._has_news = True

    def report(self, worker: str, counts: WorkerCounts) -> Statement:
        """The statement that writes what a worker that has joined says of itself.

        This process alone speaks for it, so it knows what it has said before.
        """
        with self._lock:
            self._of_workers.report(worker, counts)
            known = self._of_workers.by_worker()[worker]
        return _put(worker, known)

    def flush(self, *, now: bool = True) -> None:
        """Write what is measured here.

        Args:
            now: False: unless it was done a moment ago.
        """
        moment = time.monotonic()
        with self._lock:
            if not self._has_news or not (now or moment - self._flushed_at >= FLUSH_SECONDS):
                return
            self._has_news = False
            self._flushed_at = moment
            cells = {**self._metrics.cells(), _REFUSED: {"": [float(self._refused)]}}
            rows = [
                {"name": name, "label": label, "cells": numbers}
                for name, histogram in cells.items()
                for label, numbers in histogram.items()
            ]
            try:
                # By one thread at a time: what was measured later must not be written over.
                with self._database.transaction() as transaction:
                    put = (_PUT_CELLS, (self._writer, orjson.dumps(rows).decode()))
                    transaction.commit([put])
            except BaseException:
                self._has_news = True
                raise


def kept_of(workers: Rows, cells: Rows) -> Kept:
    """All that is measured, from rows of `SELECT_WORKERS` and `SELECT_CELLS`."""
    sums: dict[str, dict[str, list[float]]] = {}
    for name, label, numbers in cells:
        histogram = sums.setdefault(name, {})
        before = histogram.get(label)
        histogram[label] = numbers if before is None else _added(before, numbers)
    [refused] = sums.pop(_REFUSED, {}).get("", [0.0])
    histograms: Mapping[str, Cells] = sums
    of_workers = {worker: _parse(document) for worker, document in workers}
    return Kept(0, of_workers, histograms, int(refused))


def add_up_ended(transaction: Transaction) -> None:
    """Keep the counts of workers that will not report again in one row."""
    [rows] = transaction.run([(_TAKE_ENDED, ())])
    if rows:
        transaction.run([_put(ENDED, total(_parse(document) for _, document in rows))])


def _added(one: Sequence[float], two: Sequence[float]) -> list[float]:
    """The sums of cells; where another version has other buckets, the more of them."""
    return [a + b for a, b in zip(one, two, strict=True)] if len(one) == len(two) else [*two]


def _put(worker: str, counts: WorkerCounts) -> Statement:
    # JSON has no keys of several parts.
    document = {
        "requests": [[*key, number] for key, number in counts.requests.items()],
        "seconds": [[*key, *cells] for key, cells in counts.seconds.items()],
        "hosts": [[*key, number] for key, number in counts.hosts.items()],
    }
    return _PUT_WORKER, (worker, orjson.dumps(document).decode())


def _parse(document: Mapping[str, Iterable[Any]]) -> WorkerCounts:
    size = len(HTTP_SECONDS) + 2
    return NO_COUNTS._replace(
        requests={tuple(key): number for *key, number in document["requests"]},
        seconds={
            (method, route): cells
            for method, route, *cells in document["seconds"]
            # Another version may have other buckets.
            if len(cells) == size
        },
        hosts={tuple(key): number for *key, number in document["hosts"]},
    )
