"""Rows by name, and the changes of the group at work, which can be taken back."""

from __future__ import annotations

from typing import Generic, TypeVar

_Name = TypeVar("_Name")
_Row = TypeVar("_Row")


class Table(Generic[_Name, _Row]):
    """Rows by name."""

    def __init__(self) -> None:
        self.rows: dict[_Name, _Row] = {}
        self.before: dict[_Name, _Row | None] = {}
        """The rows that have changed, as they were before; None: there was none."""

    def put(self, name: _Name, row: _Row | None) -> None:
        """Put a row in the place of the one of this name; None: remove it."""
        self.before.setdefault(name, self.rows.get(name))
        self._set(name, row)

    def changes(self) -> dict[_Name, _Row | None]:
        """The new rows by name; None: it is removed."""
        return {name: self.rows.get(name) for name in self.before}

    def undo(self) -> None:
        """Be as before the group."""
        for name, row in self.before.items():
            self._set(name, row)
        self.before.clear()

    def _set(self, name: _Name, row: _Row | None) -> None:
        if row is None:
            self.rows.pop(name, None)
        else:
            self.rows[name] = row
