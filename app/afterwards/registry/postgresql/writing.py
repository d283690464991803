"""The statements of a transaction's last round trip: each table is written once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import orjson

from afterwards.counts import Tally, tally
from afterwards.lifecycle import Change, Task, TaskState
from afterwards.registry.journal.history import MOST_TRACEBACKS, ended_attempt
from afterwards.registry.postgresql import books, columns, failures, marks
from afterwards.registry.postgresql import plans as type_plans
from afterwards.registry.postgresql.database import Statement
from afterwards.registry.postgresql.events import unpublished
from afterwards.registry.postgresql.store import WorkingStore, lane_of
from afterwards.registry.postgresql.working_set import UNFINISHED, WorkingSet
from afterwards.registry.protocol.answers import AttemptRecord, Event

_DELETE: Final = "DELETE FROM afterwards.tasks WHERE id = ANY (%s::uuid[])"
_DELETE_ATTEMPTS: Final = "DELETE FROM afterwards.attempts WHERE task = ANY (%s::uuid[])"
_DELETE_PROGRESS: Final = "DELETE FROM afterwards.progress WHERE task = ANY (%s::uuid[])"
_REMEMBER: Final = """
INSERT INTO afterwards.deleted SELECT unnest(%s::uuid[]), %s ON CONFLICT (id) DO NOTHING
"""
_SHOW: Final = "SELECT afterwards.show(%s::text[], %s::text[], %s::int[])"


class _Ends(NamedTuple):
    """A task before and after all changes of a transaction."""

    before: Task | None
    after: Task | None


def statements(working: WorkingSet, writer: str, progress: Sequence[Event]) -> list[Statement]:
    """All that a transaction writes of tasks, of their counts and events, and of their types.

    Args:
        writer: whose counts are added to.
        progress: what running attempts have reported.
    """
    changes = working.store.changes
    written: list[Statement] = []
    if changes:
        ends = _ends(changes)
        written += _tasks(working.store, ends)
        # Those too that came and went in this very transaction.
        deleted = [change.task.id for change in changes if change.new is None]
        if deleted:
            written.append((_REMEMBER, (deleted, working.entry.wall)))
        written += _attempts(changes)
        written += _counts(tally(changes), ends, writer)
        written += _shown(working, ends)
        written += failures.written(ends)
    event = unpublished(changes, working.entry.wall, progress)
    if event is not None:
        written.append(event)
    written += type_plans.written(working.rules.plan_changes(), working.entry.elapsed)
    return written + books.written(working.rules, working.schedule_sums, working.entry.keys_version)


def _ends(changes: Iterable[Change]) -> list[_Ends]:
    ends: dict[str, _Ends] = {}
    for change in changes:
        task_id = change.task.id
        known = ends.get(task_id)
        ends[task_id] = _Ends(change.old if known is None else known.before, change.new)
    return [one for one in ends.values() if one != _Ends(None, None)]


def _tasks(store: WorkingStore, ends: Sequence[_Ends]) -> list[Statement]:
    # In this order: what comes may have the keys of what goes or ends.
    new = [one.after for one in ends if one.before is None and one.after is not None]
    deleted = [one.before for one in ends if one.before is not None and one.after is None]
    written = marks.written(new, deleted)
    gone = [task.id for task in deleted]
    if gone:
        written += [
            (_DELETE, (gone,)),
            (_DELETE_ATTEMPTS, (gone,)),
            (_DELETE_PROGRESS, (gone,)),
        ]
    changed = [o.after for o in ends if o.before is not None and o.after is not None]
    if changed:
        changed.sort(key=store.place)
        rows = [columns.updated(store.stored(task), lane_of(task)) for task in changed]
        written.append((columns.UPDATE_TASKS, (_json(rows), [t.result for t in changed])))
    payloads = [
        (one.after.id, one.after.payload)
        for one in ends
        if one.before and one.after and one.after.payload is not one.before.payload
    ]
    if payloads:
        ids, values = zip(*payloads, strict=True)
        written.append((columns.UPDATE_PAYLOADS, (list(ids), list(values))))
    if new:
        new.sort(key=store.place)
        rows = [columns.inserted(store.stored(task), lane_of(task)) for task in new]
        binary = ([t.fingerprint for t in new], [t.payload for t in new], [t.result for t in new])
        written.append((columns.INSERT_TASKS, (_json(rows), *binary)))
    return written


def _attempts(changes: Iterable[Change]) -> list[Statement]:
    ended = [
        (change.task.id, record)
        for change in changes
        if change.outcome is not None and (record := ended_attempt(change)) is not None
    ]
    if not ended:
        return []
    rows = [columns.attempt_columns(task_id, record) for task_id, record in ended]
    written: list[Statement] = [(columns.INSERT_ATTEMPTS, (_json(rows),))]
    return written + _forgotten(ended)


def _forgotten(ended: Sequence[tuple[str, AttemptRecord]]) -> list[Statement]:
    """Have earlier attempts lose what the last one alone keeps."""
    old = [{"task": one, "attempt": rec.attempt - 1} for one, rec in ended if rec.attempt > 1]
    full = [
        task_id
        for task_id, record in ended
        if record.traceback is not None and record.attempt > MOST_TRACEBACKS
    ]
    written: list[Statement] = []
    if old:
        written.append((columns.FORGET_LOGS, (_json(old),)))
    if full:
        written.append((columns.FORGET_TRACEBACKS, (full,)))
    return written


_ADD_COUNTS: Final = """
INSERT INTO afterwards.counts AS old (counter, type, label, writer, number)
SELECT counter, type, label, %s, number
FROM json_to_recordset(%s::json) AS new (counter text, type text, label text, number bigint)
ON CONFLICT (counter, type, label, writer) DO UPDATE SET number = old.number + excluded.number
"""


def _counts(counts: Tally, ends: Iterable[_Ends], writer: str) -> list[Statement]:
    for before, after in ends:
        for task, sign in ((before, -1), (after, 1)):
            if task is not None and not task.state.is_final:
                counts[UNFINISHED, "", "tasks"] += sign
                counts[UNFINISHED, "", "bytes"] += sign * len(task.payload)
    # In one order: the leader adds up the rows of writers, and they may be more than one.
    rows = [
        {"counter": counter, "type": type_name, "label": str.__str__(label), "number": number}
        for (counter, type_name, label), number in sorted(counts.items())
        if number
    ]
    return [(_ADD_COUNTS, (writer, _json(rows)))] if rows else []


def _shown(working: WorkingSet, ends: Iterable[_Ends]) -> list[Statement]:
    keys = {
        (task.type, task.concurrency_key)
        for pair in ends
        for task in pair
        if task is not None and task.concurrency_key is not None
    }
    if not keys:
        return []
    listed = sorted(keys)
    most = [working.plans.per_key(type_name) for type_name, _ in listed]
    return [(_SHOW, ([one for one, _ in listed], [key for _, key in listed], most))]


def wakes(working: WorkingSet) -> Counter[str]:
    """The executor kinds of tasks that this leaves for others to claim."""
    left = [
        task.executor
        for task in working.store.gathered(finished=False)
        if task.state is TaskState.PENDING
    ]
    return Counter(left)


def _json(rows: Sequence[Any]) -> str:
    return orjson.dumps(rows).decode()
