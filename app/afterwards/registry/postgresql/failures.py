"""Tasks that are failed now, grouped by the kinds of their errors, as rows of the database.

A task that fails has a row, with the group that it was put into; the row goes when the task leaves
its state. A group has a row with its numbers, which changes in the same transaction. So to list
groups reads no tasks. How groups are told is as in the journal
(`afterwards.registry.journal.failures`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson

from afterwards.lifecycle import Task, TaskState
from afterwards.registry.journal.failures import (
    HOURS,
    MOST_GROUPS,
    MOST_SAMPLES,
    FailureGroup,
    Failures,
)
from afterwards.registry.journal.masks import kind_of
from afterwards.registry.postgresql.columns import storable
from afterwards.registry.postgresql.database import Database, Statement
from afterwards.registry.protocol.answers import ErrorPage
from afterwards.registry.protocol.requests import Errors

# `hours` are the numbers of failures in each of them, the last of which is `hour`, counted since
# 1970. The group with an empty id has what came while there were too many others.
SCHEMA: Final = f"""
CREATE TABLE afterwards.failures (
    task uuid PRIMARY KEY,
    error bytea NOT NULL,
    created_at float8 NOT NULL,
    ord bigint NOT NULL
);
CREATE INDEX failures_listed ON afterwards.failures (error, created_at, ord) INCLUDE (task);
CREATE TABLE afterwards.error_groups (
    id bytea PRIMARY KEY,
    type text NOT NULL,
    message text NOT NULL,
    number bigint NOT NULL,
    first_seen float8 NOT NULL,
    last_seen float8 NOT NULL,
    hour int NOT NULL,
    hours int[] NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0);
CREATE FUNCTION afterwards.count_in_hour(hours int[], last int, this int) RETURNS int[]
    LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    passed int := greatest(0, this - last);
    place int := this - greatest(last, this) + {HOURS};
    shown int[] := (hours || array_fill(0, ARRAY[{HOURS}]))[passed + 1 : passed + {HOURS}];
BEGIN
    IF passed >= {HOURS} THEN
        shown := array_fill(0, ARRAY[{HOURS}]);
    END IF;
    IF place > 0 THEN
        shown[place] := shown[place] + 1;
    END IF;
    RETURN shown;
END
$$;
-- Groups are locked in the order of their ids, until the transaction ends. Only what needs a new
-- group waits for others that do, so that there are never more of them than `most`.
CREATE FUNCTION afterwards.group_failures(no_more uuid[], failed json, most int)
    RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    one record;
    target bytea;
    this int;
BEGIN
    FOR one IN WITH gone AS (
        DELETE FROM afterwards.failures WHERE task = ANY (no_more) RETURNING error
    ) SELECT error, count(*) AS number FROM gone GROUP BY error ORDER BY error LOOP
        UPDATE afterwards.error_groups SET number = number - one.number WHERE id = one.error;
        DELETE FROM afterwards.error_groups WHERE id = one.error AND number <= 0;
    END LOOP;
    FOR one IN SELECT * FROM json_to_recordset(failed) AS f (
        task uuid, created_at float8, ord bigint, error text, type text, message text, at float8
    ) ORDER BY f.error, f.at LOOP
        target := decode(one.error, 'hex');
        this := floor(one.at / 3600);
        LOOP
            UPDATE afterwards.error_groups AS g SET number = g.number + 1,
                first_seen = least(g.first_seen, one.at), last_seen = greatest(g.last_seen, one.at),
                hour = greatest(g.hour, this),
                hours = afterwards.count_in_hour(g.hours, g.hour, this)
                WHERE g.id = target;
            EXIT WHEN FOUND;
            PERFORM pg_advisory_xact_lock(1634104425, 0);
            IF (SELECT count(*) FROM afterwards.error_groups AS g WHERE g.id <> '' ) >= most
                AND NOT EXISTS (SELECT FROM afterwards.error_groups AS g WHERE g.id = target)
            THEN
                target := '';
            END IF;
            INSERT INTO afterwards.error_groups VALUES (
                target, CASE WHEN target = '' THEN '' ELSE one.type END,
                CASE WHEN target = '' THEN '' ELSE one.message END,
                0, one.at, one.at, this, array_fill(0, ARRAY[{HOURS}])
            ) ON CONFLICT (id) DO NOTHING;
        END LOOP;
        INSERT INTO afterwards.failures VALUES (one.task, target, one.created_at, one.ord);
    END LOOP;
END
$$;
"""
_GROUP: Final = "SELECT afterwards.group_failures(%s::uuid[], %s::json, %s)"
_SELECT_GROUPS: Final = """
SELECT id, type, message, number, first_seen, last_seen, hour, hours, afterwards.wall()
FROM afterwards.error_groups
"""
_SELECT_SAMPLES: Final = f"""
SELECT g.id, s.task::text FROM unnest(%s::bytea[]) AS g (id), LATERAL (
    SELECT f.task, f.created_at, f.ord FROM afterwards.failures AS f WHERE f.error = g.id
    ORDER BY f.created_at DESC, f.ord DESC LIMIT {MOST_SAMPLES}
) AS s ORDER BY g.id, s.created_at DESC, s.ord DESC
"""


def written(ends: Iterable[tuple[Task | None, Task | None]]) -> list[Statement]:
    """The statement that puts tasks into groups, and takes out those that are failed no more.

    Args:
        ends: tasks before and after a transaction.
    """
    no_more: list[str] = []
    failed: list[dict[str, Any]] = []
    for before, after in ends:
        was, is_now = _failure(before), _failure(after)
        if was == is_now:
            continue
        if was is not None:
            no_more.append(was.id)
        if is_now is not None:
            failed.append(_row(is_now))
    if not (no_more or failed):
        return []
    return [(_GROUP, (no_more, orjson.dumps(failed).decode(), MOST_GROUPS))]


def _failure(task: Task | None) -> Task | None:
    return task if task is not None and task.state is TaskState.FAILED else None


def _row(task: Task) -> dict[str, Any]:
    kind = kind_of(task.type, task.error or "")
    return {
        "task": task.id,
        "created_at": task.created_at,
        "ord": task.order,
        "error": kind.id.hex(),
        "type": kind.type,
        "message": storable(kind.message),
        "at": task.finished_at or 0.0,
    }


def errors(database: Database, query: Errors) -> ErrorPage:
    """The groups that are asked for."""
    with database.transaction(snapshot=True) as transaction:
        [rows] = transaction.run([(_SELECT_GROUPS, ())])
        if not rows:
            return ErrorPage([], 0)
        known = Failures(FailureGroup._make((*row[:-2], tuple(row[-2]))) for row in rows)
        groups = known.page(query, rows[0][-1])
        ids = [bytes.fromhex(group.id) for group in groups]
        [samples] = transaction.run([(_SELECT_SAMPLES, (ids,))])
    return known.answer([group._replace(sample_ids=_of(group.id, samples)) for group in groups])


def _of(group: str, samples: Sequence[tuple[Any, ...]]) -> list[str]:
    return [task for error, task in samples if error.hex() == group]
