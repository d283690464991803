"""The unfinished deliveries by their receiver."""

from __future__ import annotations

from collections.abc import Iterable

from afterwards.lifecycle import Task
from afterwards.webhooks.delivery import receiver_of


class OpenDeliveries:
    """Kept by the store. Receivers without any take no memory."""

    def __init__(self) -> None:
        self._ids: dict[str, dict[str, None]] = {}
        self._elsewhere: dict[str, int] = {}

    def add(self, task: Task) -> None:
        """A delivery is unfinished."""
        self._ids.setdefault(receiver_of(task), {})[task.id] = None

    def remove(self, task: Task) -> None:
        """It is finished, or about to be replaced by its next value."""
        receiver = receiver_of(task)
        ids = self._ids[receiver]
        del ids[task.id]
        if not ids:
            del self._ids[receiver]

    def count(self, receiver: str) -> int:
        """The number of those to one receiver."""
        return len(self._ids.get(receiver, ())) + self._elsewhere.get(receiver, 0)

    def sum_up(self, receiver: str, number: int) -> None:
        """Know how many there are to a receiver, where not all of them are here."""
        self._elsewhere[receiver] = number - len(self._ids.get(receiver, ()))

    def receivers(self) -> list[str]:
        """All that have any."""
        return list(self._ids)

    def of(self, receiver: str) -> Iterable[str]:
        """The ids of those to one receiver."""
        return self._ids.get(receiver, ())
