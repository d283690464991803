"""Lists read about as much of the database however many tasks it has."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from afterwards.lifecycle import TaskState
from afterwards.registry.postgresql import failures, walks
from afterwards.registry.postgresql.database import Database, Statement
from afterwards.registry.postgresql.migrations import migrate
from afterwards.registry.protocol.filters import Filter, Order
from tests.postgresql import Server

pytestmark = [pytest.mark.machines, pytest.mark.processes]

START = 1_750_000_000.0
LIMIT = 10
FEW, MANY = 300, 30_000

# Nearly all have succeeded, the first has failed, some of the last are scheduled.
_FILL = f"""
INSERT INTO afterwards.tasks (id, ord, type, executor, created_at, max_attempts, priority, state,
    run_at, started_at, finished_at, attempt, attempts_used, lost_attempts, retries, crowd,
    generation, webhook, depth, members, cancel_requested, reason, payload)
SELECT lpad(to_hex(n), 32, '0')::uuid, n, (ARRAY['note', 'report', 'file'])[1 + n %% 3], 'async',
    {START} + n, 1, 5, CASE WHEN n = 1 THEN 'failed' WHEN n > %(most)s - 20 THEN 'scheduled'
    ELSE 'success' END, {START} + n, {START} + n,
    CASE WHEN n > %(most)s - 20 THEN NULL ELSE {START} + n END,
    1, 1, 0, 0, 0, 0, 0, 0, 0, false, '', '"payload"'
FROM generate_series(1, %(most)s) AS g (n)
"""
_MARK = f"""
INSERT INTO afterwards.marks SELECT 'label', 'a=b', {START} + n, n, lpad(to_hex(n), 32, '0')::uuid
FROM generate_series(1, %(most)s, 10) AS g (n)
"""
_FAIL = f"""
INSERT INTO afterwards.failures
SELECT lpad(to_hex(n), 32, '0')::uuid, '\\x01', {START} + n, n
FROM generate_series(1, %(most)s, 10) AS g (n)
"""

QUERIES = [
    (Filter(states, types=types, created_after=after, created_before=before), Order.CREATED)
    for states in (frozenset(), frozenset({TaskState.FAILED}), frozenset({TaskState.SUCCESS}))
    for types in (frozenset(), frozenset({"note"}), frozenset({"nothing"}))
    for after, before in itertools.product((None, START + 50.0), (None, START + 150.0))
] + [
    (Filter(labels=("a=b",)), Order.CREATED),
    (Filter(labels=("x",)), Order.CREATED),
    (Filter(error="01"), Order.CREATED),
    (Filter(), Order.FINISHED),
    (Filter(frozenset({TaskState.FAILED})), Order.FINISHED),
    (Filter(finished_before=START + 100.0), Order.FINISHED),
    (Filter(), Order.DUE),
    (Filter(frozenset({TaskState.SCHEDULED})), Order.DUE),
]


@pytest.fixture(scope="module")
def filled(postgresql: Server) -> Iterator[list[Database]]:
    """Few tasks in one database, many in the other, of which no statistics are known yet."""
    databases = [Database(postgresql.create(f"tasks_{number}")) for number in (FEW, MANY)]
    for database, number in zip(databases, (FEW, MANY), strict=True):
        with database.connect() as connection:
            migrate(connection)
            for sql in (_FILL, _MARK, _FAIL):
                connection.execute(sql, {"most": number})
    yield databases
    for database in databases:
        database.close()


def blocks_of(connection: psycopg.Connection[Any], statement: Statement) -> int:
    """The blocks that a statement reads once it is prepared."""
    sql, values = statement
    places = itertools.count(1)
    prepared = re.sub("%s", lambda _: f"${next(places)}", sql)
    cursor = psycopg.ClientCursor(connection)
    cursor.execute(f"PREPARE page AS {prepared}")
    explained = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE page"
    arguments = ", ".join(["%s"] * len(values))
    row = cursor.execute(f"{explained} ({arguments})", values).fetchone()
    cursor.execute("DEALLOCATE page")
    assert row is not None
    plan = row[0][0]["Plan"]
    found: int = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return found


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
def test_a_page_reads_as_much_however_many_tasks_are_stored(
    filled: list[Database], mode: str, known: bool
) -> None:
    read: list[list[int]] = []
    for database in filled:
        with database.connect() as connection:
            connection.execute(f"SET plan_cache_mode = {mode}")
            for name in ("enable_seqscan", "enable_sort", "enable_bitmapscan", "jit"):
                connection.execute(f"SET {name} = off")
            if known:
                connection.execute("ANALYZE")
            statements = [
                walks.walk(wanted, order, walks.place_of(None, order), LIMIT)
                for wanted, order in QUERIES
            ]
            statements.append((failures._SELECT_SAMPLES, ([b"\x01"],)))
            for statement in statements:
                blocks_of(connection, statement)
            read.append([blocks_of(connection, statement) for statement in statements])

    for query, few, many in zip([*QUERIES, "samples"], *read, strict=True):
        # An index is a level higher, and its pages are fuller.
        assert many <= 2 * few + 20, (query, few, many)
