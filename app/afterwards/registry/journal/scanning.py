"""Conditions that no index knows: stored tasks are looked at one by one, for a bounded time."""

from __future__ import annotations

import itertools
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from afterwards.lifecycle import WAITING_STATES, TaskState
from afterwards.registry.protocol.filters import Filter, Order, Search

SCAN_SECONDS: Final = 0.1
"""The time for which stored tasks are looked at for one answer."""

_FIRST_CHUNK: Final = 16
"""They may have a mebibyte each, and are looked at whatever that takes, so that a scan gets on."""
_LARGEST_CHUNK: Final = 4_096
_CHUNK_SECONDS: Final = 0.01
_INSTRUCTIONS: Final = 20_000
"""The instructions of SQLite's virtual machine from one look at the clock to the next."""

INDEXED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "unique_key": "unique_key",
        "parent": "parent",
        "group": "task_group",
        "concurrency_key": "concurrency_key",
    }
)
"""Members of a filter whose column has an index, the one first that fewer tasks share."""

Place = tuple[float, int]
"""A task's place in the walk: the time that the walk goes by, and the task's order."""


class Conditions(NamedTuple):
    """A condition in SQL, and its values by name."""

    sql: str
    values: Mapping[str, Any]


class Progress:
    """The part of a walk that a scan has looked at."""

    def __init__(self) -> None:
        self.examined = 0
        self.last: Place | None = None
        """The last one that was looked at."""
        self.complete = False


def conditions(wanted: Filter, order: Order, *, by_id: bool = False) -> Conditions | None:
    """The conditions that the walk through an index leaves to be looked at; None: none.

    Args:
        by_id: the walk goes by the beginning of an id, and knows nothing else.
    """
    by = None if by_id or order is Order.FINISHED else _walked_by(wanted)
    parts: list[str] = []
    values: dict[str, Any] = {"types": json.dumps(sorted(wanted.types))}
    if by != "error":
        parts += _of_kind(wanted, order, by_kind=by is None and not by_id)
        if wanted.error is not None:
            parts.append(
                "EXISTS (SELECT 1 FROM failures WHERE ord = tasks.ord AND error_id = :error)"
            )
            values["error"] = bytes.fromhex(wanted.error)
    for name, column in INDEXED.items():
        if by != name and (value := getattr(wanted, name)) is not None:
            parts.append(f"{column} = :{name}")
            values[name] = value
    for number, label in enumerate(wanted.labels[int(by == "labels") :]):
        parts.append(
            f"EXISTS (SELECT 1 FROM labels WHERE pair = :label{number} AND ord = tasks.ord)"
        )
        values[f"label{number}"] = label
    # The walk goes by one of the two times, and knows the bounds of that.
    walked = "" if by_id else "finished" if order is Order.FINISHED else "created"
    for name, sign in (("after", ">="), ("before", "<")):
        for time_of in {"created", "finished"} - {walked}:
            if (moment := getattr(wanted, f"{time_of}_{name}")) is not None:
                parts.append(f"{time_of}_at {sign} :{time_of}_{name}")
                values[f"{time_of}_{name}"] = moment
    if wanted.search is not None:
        looked_for = _search(wanted.search)
        parts.append(looked_for.sql)
        values.update(looked_for.values)
    return Conditions(" AND ".join(parts), values) if parts else None


def _walked_by(wanted: Filter) -> str | None:
    """The condition whose index a walk goes by; None: types and states."""
    if wanted.error is not None:
        return "error"
    indexed = next((name for name in INDEXED if getattr(wanted, name) is not None), None)
    return indexed or ("labels" if wanted.labels else None)


def _of_kind(wanted: Filter, order: Order, *, by_kind: bool) -> Iterator[str]:
    """Conditions of states and types, unless the walk goes by them."""
    walked = wanted.walked_states(order)
    if not by_kind and walked != frozenset(TaskState):
        yield f"state IN ({listed_states(walked)})"
    if wanted.retrying and not wanted.states >= WAITING_STATES:
        states = listed_states(wanted.states)
        yield f"(state IN ({states}) OR attempts_used > 0)"
    if wanted.types and (not by_kind or order is Order.FINISHED):
        yield "type IN (SELECT value FROM json_each(:types))"


def listed_states(states: frozenset[TaskState]) -> str:
    """States as SQL has them in brackets."""
    return ", ".join(f"'{state}'" for state in sorted(states))


def ids_between(digits: str) -> tuple[bytes, bytes]:
    """The ids that begin with these digits: from the first, up to before or with the second."""
    return bytes.fromhex(digits.ljust(32, "0")), bytes.fromhex(digits.ljust(32, "f"))


def _search(search: Search) -> Conditions:
    if search.path:
        return _member(search)
    escaped = [
        f"%{text.translate(_ESCAPES)}%" for text in dict.fromkeys((search.text, search.in_json))
    ]
    values: dict[str, Any] = {f"text{number}": text for number, text in enumerate(escaped)}
    parts = [
        f"{column} LIKE :{name} ESCAPE '\\'"
        for column in ("CAST(payload AS TEXT)", "error")
        for name in values
    ]
    if search.id_digits:
        values["first_id"], values["last_id"] = ids_between(search.id_digits)
        parts.append("id BETWEEN :first_id AND :last_id")
    return Conditions(f"({' OR '.join(parts)})", values)


_ESCAPES: Final = str.maketrans({"%": "\\%", "_": "\\_", "\\": "\\\\"})
_PAYLOAD: Final = "CAST(payload AS TEXT)"
# JSON deeper than SQLite reads is not valid to it, and an error only if it is read.
_MEMBER: Final = f"""
CASE WHEN json_valid({_PAYLOAD}) THEN CASE json_type({_PAYLOAD}, :path)
    WHEN 'text' THEN json_extract({_PAYLOAD}, :path) = :text
    WHEN 'integer' THEN json_extract({_PAYLOAD}, :path) = :number
    WHEN 'real' THEN json_extract({_PAYLOAD}, :path) = :number
    WHEN 'object' THEN 0
    WHEN 'array' THEN 0
    ELSE json_type({_PAYLOAD}, :path) = :text
END ELSE 0 END
"""


def _member(search: Search) -> Conditions:
    steps = (f"[{step}]" if step.isdigit() else f'."{step}"' for step in search.path)
    values = {"path": f"${''.join(steps)}", "text": search.text, "number": search.number}
    return Conditions(_MEMBER, values)


def scan(
    db: sqlite3.Connection, walk: Iterator[Place], left: Conditions, progress: Progress
) -> Iterator[Place]:
    """Those of the walk for which the conditions hold, until it ends or the time is over."""
    until = time.monotonic() + SCAN_SECONDS
    size = _FIRST_CHUNK
    sql = (
        "SELECT ord FROM tasks JOIN payloads USING (ord) "
        f"WHERE ord IN (SELECT value FROM json_each(:orders)) AND ({left.sql})"
    )
    try:
        while True:
            started = time.monotonic()
            chunk = list(itertools.islice(walk, size))
            if not chunk:
                progress.complete = True
                return
            orders = json.dumps([order for _, order in chunk])
            found = {row[0] for row in db.execute(sql, {**left.values, "orders": orders})}
            # What is done with those that are found is not interrupted.
            db.set_progress_handler(None, 0)
            for place in chunk:
                progress.examined += 1
                progress.last = place
                if place[1] in found:
                    yield place
            now = time.monotonic()
            if now >= until:
                return
            # From here on a chunk that takes too long is left: the one before has brought it on.
            db.set_progress_handler(lambda: time.monotonic() >= until, _INSTRUCTIONS)
            took = now - started
            size = min(2 * size, _LARGEST_CHUNK) if took < _CHUNK_SECONDS else max(1, size // 2)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
    finally:
        db.set_progress_handler(None, 0)
