"""A stand so small that a measurement takes seconds, and a look into what it leaves."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from loadtests.bench.sizes import Sizes
from loadtests.bench.stand import Stand

SMALL = Sizes(
    workers=1,
    rounds=1,
    seconds=1,
    warmup_seconds=0,
    connections=4,
    crowd=8,
    batches=3,
    requests=30,
    one_by_one=10,
    readable=50,
    registered=300,
    scrapes=3,
    views=2,
    # More than are submitted: a unique key that comes again may still be taken.
    keys=10_000,
    calls=200,
    executor_workers=2,
    waiting=60,
    waiting_seconds=0.3,
    stored=(0, 300),
    synced=3,
)

needs_wrk = pytest.mark.skipif(
    shutil.which("wrk") is None, reason="wrk is not there; make tools gets it"
)


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(SMALL, tmp_path)


class Journal:
    """The journal of a service, read without any of its code."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def states(self) -> dict[str, int]:
        return dict(self._rows("SELECT state, count(*) FROM tasks GROUP BY state"))

    def took_seconds(self) -> list[float]:
        """From the start to the end of each task."""
        return [took for (took,) in self._rows("SELECT finished_at - started_at FROM tasks")]

    def key_counts(self, column: str) -> tuple[int, int]:
        """The number of finished tasks with a key, and of different ones among these."""
        counts = f"count({column}), count(DISTINCT {column})"
        [found] = self._rows(f"SELECT {counts} FROM tasks WHERE state = 'success'")
        return found

    def _rows(self, sql: str) -> Iterator[tuple]:  # type: ignore[type-arg] # of any columns
        with closing(sqlite3.connect(self._file)) as db:
            yield from db.execute(sql).fetchall()


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """The journal of the only service that the test has had on its stand."""
    return Journal(tmp_path / "service-0" / "data" / "journal.sqlite3")
