"""The children of running tasks, and the unfinished members of groups, counted."""

from __future__ import annotations

from afterwards.lifecycle import Task


class OpenMembers:
    """The number of unfinished members of each group. Groups without any take no memory."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def count(self, group: str, change: int) -> None:
        """An unfinished member has come (1) or gone (-1)."""
        number = self._numbers.get(group, 0) + change
        if number:
            self._numbers[group] = number
        else:
            del self._numbers[group]

    def of(self, group: str) -> int:
        """The number of its unfinished members."""
        return self._numbers.get(group, 0)

    def __len__(self) -> int:
        return len(self._numbers)


class ChildCounts:
    """The children of the tasks that submit some while they run. Those of others are not known."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, int]] = {}

    def of(self, parent: str) -> tuple[int, int] | None:
        """The number of its children and the bytes of their payloads; None: not known."""
        return self._counts.get(parent)

    def learn(self, parent: str, counted: tuple[int, int]) -> None:
        """Its children so far, those of the group at work included."""
        self._counts[parent] = counted

    def count(self, child: Task, change: int) -> None:
        """A child was accepted (1), or that was taken back (-1)."""
        assert child.parent is not None
        known = self._counts.get(child.parent)
        if known is not None:
            number, size = known
            self._counts[child.parent] = number + change, size + change * len(child.payload)

    def forget(self, parent: str) -> None:
        """It has ended, and submits none any more."""
        self._counts.pop(parent, None)

    def __len__(self) -> int:
        return len(self._counts)
