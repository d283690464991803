"""Events: each transaction leaves its own, and the next follower numbers all that were left.

Numbers have no gaps, and the events of one task are in the order of its transitions. Those of tasks
that have nothing to do with each other are in the order in which they were seen (rule 16).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson

from afterwards.counts import counts_by_state
from afterwards.lifecycle import Change, TaskState
from afterwards.registry.postgresql.database import Database, Rows, Statement, Transaction
from afterwards.registry.protocol.answers import Event, Events, ProgressMark

EVENTS_KEPT: Final = 10_000
MOST_IN_REPLY: Final = 2_000

_LOCK: Final[Statement] = ("SELECT pg_advisory_xact_lock(1634104425, 0)", ())
# One statement has one snapshot: the counts are those of the very events that are numbered by it.
_PUBLISH: Final[Statement] = (
    """
WITH taken AS (DELETE FROM afterwards.unpublished RETURNING id, number, events),
placed AS (
    SELECT sequence + sum(number) OVER (ORDER BY id) AS last, number, events
    FROM taken, afterwards.published
),
kept AS (INSERT INTO afterwards.events SELECT * FROM placed),
moved AS (
    UPDATE afterwards.published SET sequence = latest.last
    FROM (SELECT max(last) AS last FROM placed) AS latest WHERE latest.last IS NOT NULL
),
numbers AS (
    SELECT counter, type, label, sum(number)::bigint AS number FROM afterwards.counts
    WHERE counter = 'tasks' GROUP BY counter, type, label
)
SELECT epoch, greatest(sequence, (SELECT max(last) FROM placed))::bigint,
    (SELECT json_agg(json_build_array(counter, type, label, number)) FROM numbers)
FROM afterwards.published
""",
    (),
)
_PUT: Final = "INSERT INTO afterwards.unpublished (number, events) VALUES (%s, %s::json)"
_SELECT: Final = (
    "SELECT last, number, events FROM afterwards.events WHERE last > %s ORDER BY last LIMIT %s"
)
FORGET: Final = f"""
DELETE FROM afterwards.events
WHERE last < (SELECT sequence - {2 * EVENTS_KEPT} FROM afterwards.published)
"""


def unpublished(
    changes: Iterable[Change], at: float, progress: Sequence[Event]
) -> Statement | None:
    """The events of a transaction, to be published by others; None: it has none."""
    rows: list[Sequence[Any]] = []
    for change in changes:
        old, new = change.old, change.new
        if new is not None and (old is None or old.state is not new.state):
            rows.append((new.id, new.type, new.state.value, at, new.reason, new.attempt))
    rows += [_row(event) for event in progress]
    if not rows:
        return None
    return _PUT, (len(rows), orjson.dumps(rows).decode().replace("\\u0000", ""))


def changes_after(database: Database, epoch: str, after: int, limit: int | None = None) -> Events:
    """All events after a position, or as many as `limit`; or a reset, with the counts."""
    with database.transaction() as transaction:
        now = publish(transaction)
        new = now.sequence - after
        if epoch != now.epoch or after < 0 or not 0 <= new <= EVENTS_KEPT:
            transaction.commit()
            return now
        found: Rows = []
        if new:
            # A row has one event at least.
            [found] = transaction.run([(_SELECT, (after, limit or EVENTS_KEPT))])
        transaction.commit()
    events = [event for row in found for event in _events(row) if event.sequence > after]
    return Events(now.epoch, now.sequence, events[:limit], False)


def publish(transaction: Transaction) -> Events:
    """Number what has been left; where things stand now."""
    _, [(epoch, sequence, numbers)] = transaction.run([_LOCK, _PUBLISH])
    counts = {(counter, kind, label): n for counter, kind, label, n in numbers or ()}
    return Events(epoch, sequence, [], True, counts_by_state(counts))


def _events(row: Sequence[Any]) -> Iterable[Event]:
    last, number, events = row
    for sequence, values in enumerate(events, start=last - number + 1):
        task_id, kind, state, at, reason, attempt, *mark = values
        progress = ProgressMark(*mark[0]) if mark else None
        yield Event(sequence, task_id, kind, TaskState(state), at, reason, attempt, progress)


def _row(event: Event) -> Sequence[Any]:
    return (
        event.task_id,
        event.type,
        event.state.value,
        event.at,
        event.reason,
        event.attempt,
        list(event.progress or ()),
    )
