"""The rows that a group writes, with their values sealed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from afterwards.lifecycle import Change, Task
from afterwards.registry.journal.columns import (
    INSERTED,
    MUTABLE,
    key,
    mutable_columns,
    task_columns,
)
from afterwards.registry.journal.rows import Rows
from afterwards.registry.journal.sealing import Seal
from afterwards.registry.journal.unsealed import VIEWS, of_attempt

_OF_TASK: Final = VIEWS["tasks"][1]
_INSERTED: Final = [(place, name) for place, name in enumerate(INSERTED) if name in _OF_TASK]
_MUTABLE: Final = [(place, name) for place, name in enumerate(MUTABLE) if name in _OF_TASK]
_ERROR: Final = 8
"""Its place in an attempt's row. The log is the last of a whole row, and a plain one has none."""


class SealedRows:
    """Seals what goes into the tables of tasks."""

    def __init__(self, seal: Seal) -> None:
        # A table takes anything; a sealed text is no text.
        self._seal: Callable[..., Any] = seal.seal

    def inserted(self, task: Task) -> tuple[Any, ...]:
        """As `columns.task_columns`."""
        return self._sealed(task, task_columns(task), _INSERTED)

    def updated(self, task: Task) -> tuple[Any, ...]:
        """As `columns.mutable_columns`."""
        return self._sealed(task, mutable_columns(task), _MUTABLE)

    def rows(self, rows: Rows, changes: Iterable[Change]) -> Rows:
        """The rows beside those of tasks themselves."""
        ids = {change.task.order: key(change.task.id) for change in changes}
        return rows._replace(
            payloads=[
                (order, self._seal(payload, ids[order], "payload"))
                for order, payload in rows.payloads
            ],
            artifacts=[
                (order, self._seal(text, ids[order], "artifacts")) for order, text in rows.artifacts
            ],
            attempts=[self._attempt(ids, row) for row in rows.attempts],
            whole_attempts=[self._whole_attempt(ids, row) for row in rows.whole_attempts],
            callbacks=[
                (order, self._seal(callback, ids[order], "callback"))
                for order, callback in rows.callbacks
            ],
            tracebacks=[
                (order, number, self._seal(text, ids[order], of_attempt("traceback", number)))
                for order, number, text in rows.tracebacks
            ],
        )

    def _sealed(
        self, task: Task, columns: tuple[Any, ...], places: Iterable[tuple[int, str]]
    ) -> tuple[Any, ...]:
        row, subject = [*columns], key(task.id)
        for place, name in places:
            row[place] = self._seal(row[place], subject, name)
        return tuple(row)

    def _attempt(self, ids: dict[int, bytes], row: tuple[Any, ...]) -> tuple[Any, ...]:
        error = row[_ERROR]
        if error is None:
            return row
        error = self._seal(error, ids[row[0]], of_attempt("error", row[1]))
        return (*row[:_ERROR], error, *row[_ERROR + 1 :])

    def _whole_attempt(self, ids: dict[int, bytes], row: tuple[Any, ...]) -> tuple[Any, ...]:
        log = self._seal(row[-1], ids[row[0]], of_attempt("log", row[1]))
        return (*self._attempt(ids, row)[:-1], log)
