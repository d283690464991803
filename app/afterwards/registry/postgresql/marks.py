"""Marks: what a task is found by besides its type and state, such as a label or a key.

A mark is a row, written when the task is accepted and deleted with it, in the order in which tasks
are listed. An index of the table of tasks would be written anew with each change of a task's row.
Only tasks that have something to be found by have marks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import orjson

from afterwards.lifecycle import Task
from afterwards.registry.postgresql.database import Statement
from afterwards.registry.protocol.filters import pairs_of

LABEL: Final = "label"
KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "unique_key": "unique_key",
        "parent": "parent",
        "group": "group",
        "concurrency_key": "concurrency_key",
    }
)
"""Kinds of marks but labels, and the member of a task and of a filter that each is of.

The one first that fewer tasks share.
"""

SCHEMA: Final = """
CREATE TABLE afterwards.marks (
    kind text NOT NULL,
    value text NOT NULL,
    created_at float8 NOT NULL,
    ord bigint NOT NULL,
    task uuid NOT NULL,
    PRIMARY KEY (kind, value, created_at, ord) INCLUDE (task)
);
"""
_ROWS: Final = (
    "json_to_recordset(%s::json) "
    "AS row (kind text, value text, created_at float8, ord bigint, task uuid)"
)
_INSERT: Final = f"INSERT INTO afterwards.marks SELECT * FROM {_ROWS}"
_DELETE: Final = f"""
DELETE FROM afterwards.marks AS m USING {_ROWS}
WHERE m.kind = row.kind AND m.value = row.value AND m.created_at = row.created_at
    AND m.ord = row.ord
"""


def written(new: Iterable[Task], gone: Iterable[Task]) -> list[Statement]:
    """The statements that give new tasks their marks, and take those of deleted ones."""
    statements: list[Statement] = []
    for sql, tasks in ((_DELETE, gone), (_INSERT, new)):
        rows = [row for task in tasks for row in _marks_of(task)]
        if rows:
            statements.append((sql, (orjson.dumps(rows).decode(),)))
    return statements


def _marks_of(task: Task) -> Iterator[dict[str, Any]]:
    found = [(kind, getattr(task, name)) for kind, name in KINDS.items()]
    found += [(LABEL, pair) for pair in pairs_of(task.labels)]
    for kind, value in found:
        if value is not None:
            yield {
                "kind": kind,
                "value": value,
                "created_at": task.created_at,
                "ord": task.order,
                "task": task.id,
            }
