"""Sealed values as those who read the journal see them: open.

A connection that reads has a view in the place of each table with sealed values. So no statement
that reads knows of sealing, whether it gets a task, makes a list or looks into payloads; and what
a statement does not look at is not opened.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

from afterwards.logs import get_logger
from afterwards.registry.journal import activity
from afterwards.registry.journal.columns import id_of
from afterwards.registry.journal.sealing import Seal, Subject, Unsealable, Value, is_sealed

log = get_logger(__name__)

_TASK: Final = "(SELECT id FROM main.tasks AS whose WHERE whose.ord = {table}.ord)"
_OF_ATTEMPT: Final = "{field} of attempt "

VIEWS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "tasks": (
        "id",
        {name: f"'{name}'" for name in ("fingerprint", "reason", "error", "result")},
    ),
    "payloads": (_TASK.format(table="payloads"), {"payload": "'payload'"}),
    "attempts": (
        _TASK.format(table="attempts"),
        {
            name: f"'{_OF_ATTEMPT.format(field=name)}' || attempts.attempt"
            for name in ("error", "log")
        },
    ),
    "tracebacks": (
        _TASK.format(table="tracebacks"),
        {"text": f"'{_OF_ATTEMPT.format(field='traceback')}' || tracebacks.attempt"},
    ),
    "artifacts": (_TASK.format(table="artifacts"), {"list": "'artifacts'"}),
    "callbacks": (_TASK.format(table="callbacks"), {"callback": "'callback'"}),
    "schedules": ("name", {"payload": "'payload'"}),
    "webhooks": (
        "'webhook ' || webhooks.id",
        {name: f"'{name}'" for name in ("url", "secrets", "disabled_because")},
    ),
    "notices": (
        "'notices to ' || notices.receiver",
        {name: f"'{name} of notice ' || notices.number" for name in ("payload", "callback")},
    ),
    "error_groups": ("id", {"message": "'message'"}),
    "activity": (f"'{activity.SUBJECT}'", {"name": "'name'", "detail": "'detail'"}),
}
"""By table: what its values belong to, and the name of the field of each that is sealed; in SQL."""


def of_attempt(field: str, attempt: int) -> str:
    """The name of an attempt's field."""
    return f"{_OF_ATTEMPT.format(field=field)}{attempt}"


class Opener:
    """Opens values within statements of one connection.

    What cannot be opened ends the statement with an error of SQLite's; `take_problem` says more.
    """

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self._last: tuple[Value, Subject, str, Value] = (None, b"", "", None)
        """A statement may look at a value several times."""
        self._problem: str | None = None

    def attach(self, db: sqlite3.Connection) -> None:
        """Have the connection see open values from now on. It cannot write those tables then."""
        db.create_function("opened", 3, self._open, deterministic=True)
        for table, (whose, sealed) in VIEWS.items():
            names = [name for _, name, *_ in db.execute(f"PRAGMA main.table_info({table})")]
            columns = [
                f"opened({table}.{name}, {whose}, {sealed[name]}) AS {name}"
                if name in sealed
                else name
                for name in names
            ]
            db.execute(f"CREATE TEMP VIEW {table} AS SELECT {', '.join(columns)} FROM main.{table}")

    def take_problem(self) -> str | None:
        """The value that could not be opened since this was asked last, and the reason."""
        problem, self._problem = self._problem, None
        return problem

    def _open(self, value: Value, subject: Subject, field: str) -> Value:
        if not is_sealed(value):
            return value
        if self._last[:3] == (value, subject, field):
            return self._last[3]
        try:
            found = self._seal.open(value, subject, field)
        except Unsealable as error:
            self._problem = f"the {field} of {named(subject)} cannot be opened: {error.problem}"
            log.error("a sealed value cannot be opened", problem=self._problem)
            raise
        self._last = (value, subject, field, found)
        return found


def named(subject: Subject) -> str:
    """The owner of a value, in words."""
    if isinstance(subject, str) and " " in subject:
        # No schedule's name has a space.
        return f"the {subject}"
    if isinstance(subject, str):
        return f"schedule {subject}"
    if len(subject) == 16:
        return f"task {id_of(subject)}"
    return f"error group {subject.hex()}"
