"""Transactions of few round trips."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from afterwards.registry.postgresql.database import Database

pytestmark = [pytest.mark.machines, pytest.mark.processes]


@pytest.fixture
def database(empty_database: str) -> Iterator[Database]:
    database = Database(empty_database, size=1)
    yield database
    database.close()


def test_a_statement_of_a_transaction_that_failed_is_prepared_later(database: Database) -> None:
    for _ in range(6):
        with pytest.raises(psycopg.errors.DivisionByZero), database.transaction() as transaction:
            transaction.run([("SELECT 1 / 0", ()), ("SELECT 2", ())])

        assert database.read(("SELECT 2", ())) == [[(2,)]]


def test_what_reads_again_is_prepared_once(database: Database) -> None:
    for _ in range(5):
        prepared = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT 3%%'"
        [_, [(number,)]] = database.read(("SELECT 3", ()), (prepared, ()))
    [[(prepared_at,)]] = database.read((_PREPARED_AT, ()))
    database.read(("SELECT 3", ()))

    assert number == 1
    assert database.read((_PREPARED_AT, ())) == [[(prepared_at,)]]


_PREPARED_AT = "SELECT prepare_time FROM pg_prepared_statements WHERE statement = 'SELECT 3'"


def test_a_block_that_ends_is_committed_and_one_that_raises_is_not(database: Database) -> None:
    def write(number: int) -> None:
        with database.transaction() as transaction:
            transaction.run([("INSERT INTO afterwards.deleted VALUES (%s, 0)", (_id(number),))])
            if number == 2:
                raise LookupError

    write(1)
    with pytest.raises(LookupError):
        write(2)

    [rows] = database.read(("SELECT id::text FROM afterwards.deleted", ()))
    assert rows == [(_id(1),)]


def _id(number: int) -> str:
    return f"{number:08d}-0000-4000-8000-000000000000"
