"""Series that the leader keeps, on a clock that is turned by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from afterwards.registry.postgresql import series
from afterwards.registry.postgresql.database import Database
from afterwards.registry.postgresql.measures import Measures
from afterwards.registry.postgresql.migrations import migrate
from afterwards.registry.protocol.requests import Series
from afterwards.service.series_columns import columns
from tests.postgresql import Server

pytestmark = [pytest.mark.machines, pytest.mark.processes]

START = 1_750_000_000 // 3_600 * 3_600


class Kept:
    """A database on a clock of the test's own."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.own = Measures(database, "own")

    def roll(self, seconds: float) -> float:
        """Let the leader look at the time."""
        self.execute(
            "CREATE OR REPLACE FUNCTION afterwards.wall() RETURNS float8 LANGUAGE sql "
            f"AS 'SELECT {START + seconds}::float8'"
        )
        with self.database.transaction() as transaction:
            left = series.roll(transaction)
            transaction.commit()
        return left

    def submit(self, number: int, type_name: str = "note") -> None:
        self.execute(
            "INSERT INTO afterwards.counts AS old SELECT counter, %s, label, 'w', %s "
            "FROM (VALUES ('submitted', ''), ('tasks', 'pending')) AS v (counter, label) "
            "ON CONFLICT (counter, type, label, writer) "
            "DO UPDATE SET number = old.number + excluded.number",
            (type_name, number),
        )

    def read(self, span: str = "1h", type_name: str | None = None) -> dict[str, Any]:
        found = series.read(self.database, self.own, Series(span, type_name))
        document: dict[str, Any] = json.loads(columns(span, type_name, found))
        return document

    def submitted(self, number: int, span: str = "1h", type_name: str | None = None) -> list[Any]:
        """The last spans of time."""
        column: list[Any] = self.read(span, type_name)["submitted"]
        return column[-number:]

    def execute(self, sql: str, values: tuple[Any, ...] = ()) -> None:
        with self.database.transaction() as transaction:
            transaction.commit([(sql, values)])


@pytest.fixture
def kept(postgresql: Server) -> Iterator[Kept]:
    database = Database(postgresql.create("series"))
    with database.connect() as connection:
        migrate(connection)
    yield Kept(database)
    database.close()


def test_what_happens_is_counted_where_it_happens(kept: Kept) -> None:
    assert kept.roll(2.5) == 7.5
    kept.submit(2)
    assert kept.submitted(2) == [None, 2]
    for seconds in (10, 20):
        kept.roll(seconds)
    kept.submit(1)
    for seconds in (30, 40, 50, 60):
        kept.roll(seconds)

    found = kept.read()

    assert found["submitted"][-8:] == [None, 2, 0, 1, 0, 0, 0, 0]
    assert found["tasks"]["pending"][-7:] == [2, 2, 3, 3, 3, 3, 3]
    assert kept.submitted(2, "24h") == [3, 0]
    assert kept.submitted(1, "30d") == [3]
    assert found == {**kept.read("1h", "note"), "type": None}


def test_a_time_without_a_leader_is_a_gap_and_what_happened_before_it_is_kept(kept: Kept) -> None:
    kept.roll(0)
    kept.roll(10)
    kept.roll(20)
    kept.submit(3)
    kept.roll(70)

    assert kept.submitted(8) == [None, 0, 3, None, None, None, None, 0]
    assert kept.submitted(2, "24h") == [3, 0]


def test_the_quiet_before_a_gap_is_not_taken_for_one(kept: Kept) -> None:
    for seconds in (0, 10, 20, 30, 70):
        kept.roll(seconds)

    assert kept.submitted(8) == [None, 0, 0, 0, None, None, None, 0]


def test_a_service_that_rests_stores_no_buckets(kept: Kept) -> None:
    kept.roll(0)
    kept.submit(1)
    for seconds in range(10, 300, 10):
        kept.roll(seconds)
    count = "SELECT count(*) FROM afterwards.series WHERE step = 10"

    assert kept.database.read((count, ())) == [[(2,)]]
    assert kept.submitted(30) == [1, *[0] * 29]


def test_types_beyond_the_bound_are_in_the_total_only(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "MAX_TYPES", 2)
    kept.roll(0)
    for name in "abc":
        kept.submit(1, name)
    kept.roll(10)

    assert kept.submitted(2) == [3, 0]
    assert [kept.submitted(2, "1h", name) for name in "ab"] == [[1, 0], [1, 0]]
    assert set(kept.submitted(360, "1h", "c")) == {None}


def test_buckets_out_of_range_are_deleted(kept: Kept) -> None:
    kept.roll(0)
    for round_number in range(3):
        kept.submit(1)
        kept.roll(31 * 86_400 * round_number + 10)
    kept.submit(1)
    kept.roll(31 * 86_400 * 2 + 4_000)
    oldest = "SELECT min(at), count(*) FROM afterwards.series"

    [[(at, number)]] = kept.database.read((oldest, ()))

    assert at > START + 30 * 86_400
    assert number > 0
