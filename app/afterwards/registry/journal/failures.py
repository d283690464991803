"""Tasks that are failed now, grouped by the kinds of their errors.

A task that fails has a row, with the group that it was put into; the row goes when the task leaves
its state. Groups are counted in memory as they are committed, and each that a transaction touches
is written with it. So to list groups reads no tasks.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from afterwards.lifecycle import Task, TaskState
from afterwards.registry.journal.masks import kind_id, kind_of
from afterwards.registry.journal.sealing import Seal
from afterwards.registry.protocol.answers import ErrorGroup, ErrorPage
from afterwards.registry.protocol.requests import Errors

SINCE: Final = 5
"""The first version of the journal that has them."""

MOST_GROUPS: Final = 1_000
UNGROUPED: Final = b""
"""The group of what fails while there are `MOST_GROUPS` others."""

HOURS: Final = 24
_HOUR_SECONDS: Final = 3_600
_NUMBERS: Final = struct.Struct(f"<{HOURS}I")
_MOST: Final = 2**32 - 1
_QUIET: Final = (0,) * HOURS
MOST_SAMPLES: Final = 3

_PUT_GROUP: Final = "REPLACE INTO error_groups VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_FAILURE: Final = "REPLACE INTO failures VALUES (?, ?)"
SELECT_SAMPLES: Final = f"""
SELECT tasks.id FROM failures JOIN tasks USING (ord) WHERE error_id = ?
ORDER BY failures.ord DESC LIMIT {MOST_SAMPLES}
"""
_SELECT_FAILED: Final = """
SELECT ord, type, error, finished_at FROM tasks
WHERE type IN (SELECT DISTINCT type FROM tasks) AND state = 'failed'
"""


class FailureGroup(NamedTuple):
    """Failed tasks with one kind of error."""

    id: bytes
    type: str
    message: str
    number: int
    """The number of tasks that are failed now."""
    first_seen: float
    last_seen: float
    hour: int
    """The hour since 1970 that the last one of `hours` is."""
    hours: tuple[int, ...]
    """The number of failures in each hour, whatever became of the tasks, oldest first."""

    def seen(self, at: float) -> FailureGroup:
        """With one more that failed at this time."""
        hour = max(self.hour, int(at // _HOUR_SECONDS))
        hours = list(self.hours_until(hour))
        place = int(at // _HOUR_SECONDS) - hour + HOURS - 1
        if place >= 0:
            hours[place] = min(_MOST, hours[place] + 1)
        return self._replace(
            number=self.number + 1,
            first_seen=min(self.first_seen, at),
            last_seen=max(self.last_seen, at),
            hour=hour,
            hours=tuple(hours),
        )

    def hours_until(self, hour: int) -> tuple[int, ...]:
        """The same up to another hour."""
        passed = hour - self.hour
        if passed <= 0:
            return self.hours
        return (*self.hours, *_QUIET)[passed : passed + HOURS] if passed < HOURS else _QUIET


class Failures:
    """The groups as they were committed last. May be read from any thread.

    Args:
        groups: as the journal has them.
        secret: makes their ids.
    """

    def __init__(self, groups: Iterable[FailureGroup] = (), secret: bytes = b"") -> None:
        self._secret = secret
        self._groups = {group.id: group for group in groups}

    def put(self, failed: Sequence[Task], left: Iterable[bytes]) -> Staged:
        """The groups as a transaction leaves them; nothing changes before `committed`.

        Args:
            failed: tasks that have failed.
            left: of tasks that are not failed any more, the groups.
        """
        staged = Staged({}, [])
        for group_id in left:
            group = self._found(group_id, staged)
            # The last one of a group that is emptied may be the first of one by the same id.
            if group is not None:
                staged.groups[group_id] = group._replace(number=group.number - 1)
        for task in failed:
            at = task.finished_at or 0.0
            group = self._group_for(task, at, staged)
            staged.groups[group.id] = group.seen(at)
            staged.places.append((task.order, group.id))
        return staged

    def committed(self, staged: Staged) -> None:
        """It is durable."""
        for group_id, group in staged.groups.items():
            if group.number > 0:
                self._groups[group_id] = group
            else:
                self._groups.pop(group_id, None)

    def page(self, query: Errors, now: float) -> list[ErrorGroup]:
        """The groups that are asked for, without samples. `now` by the wall clock."""
        hour = int(now // _HOUR_SECONDS)
        found = [
            group
            for group in list(self._groups.values())
            if group.id != UNGROUPED
            and query.type in (None, group.type)
            and query.id in (None, group.id.hex())
        ]
        if query.latest_first:
            found.sort(key=lambda group: (-group.last_seen, group.id))
        else:
            found.sort(key=lambda group: (-group.number, -group.last_seen, group.id))
        return [_told(group, hour) for group in found[: query.limit]]

    def answer(self, groups: Sequence[ErrorGroup]) -> ErrorPage:
        """Groups as they are told."""
        ungrouped = self._groups.get(UNGROUPED)
        return ErrorPage(groups, 0 if ungrouped is None else ungrouped.number)

    def _found(self, group_id: bytes, staged: Staged) -> FailureGroup | None:
        return staged.groups.get(group_id) or self._groups.get(group_id)

    def _group_for(self, task: Task, at: float, staged: Staged) -> FailureGroup:
        kind = kind_of(task.type, task.error or "", self._secret)
        group = self._found(kind.id, staged)
        if group is not None and group.number > 0:
            return group
        if group is None and self._is_full(staged):
            kind = kind._replace(id=UNGROUPED, type="", message="")
            group = self._found(UNGROUPED, staged)
            if group is not None and group.number > 0:
                return group
        return FailureGroup(*kind, 0, at, at, int(at // _HOUR_SECONDS), _QUIET)

    def _is_full(self, staged: Staged) -> bool:
        known = self._groups.keys() | staged.groups.keys()
        return len(known - {UNGROUPED}) >= MOST_GROUPS


class Staged(NamedTuple):
    """The groups as one transaction leaves them."""

    groups: dict[bytes, FailureGroup]
    """Those that are touched; of which none is left with `number` 0."""
    places: list[tuple[int, bytes]]
    """Orders of tasks that have failed, and their groups."""


def _told(group: FailureGroup, hour: int) -> ErrorGroup:
    return ErrorGroup(
        group.id.hex(),
        group.type,
        group.message,
        group.number,
        group.first_seen,
        group.last_seen,
        group.hours_until(hour),
    )


# -- the journal's tables -----------------------------------------------------------------------


def load(db: sqlite3.Connection, secret: bytes = b"") -> Failures:
    """The groups that are in the journal, whose ids are made with `secret`."""
    rows = db.execute("SELECT * FROM error_groups")
    groups = (FailureGroup._make((*row[:-1], _NUMBERS.unpack(row[-1]))) for row in rows)
    return Failures(groups, secret)


def write(
    db: sqlite3.Connection,
    known: Failures,
    failed: Sequence[Task],
    left: Sequence[int],
    seal: Seal | None = None,
) -> Staged:
    """Write the groups that failures change, as a part of the transaction at work.

    Args:
        failed: tasks that have failed.
        left: orders of tasks that were failed before.
        seal: seals their messages; None: those are not sealed.
    """
    former: list[bytes] = []
    for order in left:
        former += [
            group_id
            for (group_id,) in db.execute("SELECT error_id FROM failures WHERE ord = ?", (order,))
        ]
    db.executemany("DELETE FROM failures WHERE ord = ?", [(order,) for order in left])
    staged = known.put(failed, former)
    _write_staged(db, staged, seal)
    return staged


def _write_staged(db: sqlite3.Connection, staged: Staged, seal: Seal | None = None) -> None:
    db.executemany(_PUT_FAILURE, staged.places)
    kept = [group for group in staged.groups.values() if group.number > 0]
    if seal is not None:
        kept = [_sealed(group, seal) for group in kept]
    db.executemany(_PUT_GROUP, [(*group[:-1], _NUMBERS.pack(*group.hours)) for group in kept])
    gone = [(group.id,) for group in staged.groups.values() if group.number <= 0]
    db.executemany("DELETE FROM error_groups WHERE id = ?", gone)


def _sealed(group: FailureGroup, seal: Seal) -> FailureGroup:
    # As the table has it, in which a sealed text is no text.
    message: Any = seal.seal(group.message, group.id, "message")
    return group._replace(message=message)


def reseal(db: sqlite3.Connection, seal: Seal, secret: bytes) -> None:
    """Have all messages under the key that writes, and ids of groups made with `secret`.

    A part of the transaction at work.

    Raises:
        Unsealable: a message cannot be opened.
    """
    rows = db.execute("SELECT id, type, message FROM error_groups").fetchall()
    for group_id, type_name, stored in rows:
        message = seal.open(stored, group_id, "message")
        assert isinstance(message, str)
        new_id = group_id if group_id == UNGROUPED else kind_id(type_name, message, secret)
        values = (new_id, seal.seal(message, new_id, "message"), group_id)
        db.execute("UPDATE error_groups SET id = ?, message = ? WHERE id = ?", values)
        if new_id != group_id:
            db.execute("UPDATE failures SET error_id = ? WHERE error_id = ?", (new_id, group_id))


_STEP: Final = 1_000


def fill(db: sqlite3.Connection) -> None:
    """Put the tasks that are failed already into groups, as a part of the migration at work."""
    known = Failures()
    rows = db.execute(_SELECT_FAILED)
    while step := rows.fetchmany(_STEP):
        staged = known.put([_failed_task(*row) for row in step], ())
        _write_staged(db, staged)
        known.committed(staged)


def _failed_task(order: int, type_name: str, error: str | None, finished_at: float | None) -> Task:
    return Task(
        id="",
        type=type_name,
        payload=b"",
        executor="",
        created_at=0.0,
        run_at=0.0,
        order=order,
        state=TaskState.FAILED,
        error=error,
        finished_at=finished_at,
    )
