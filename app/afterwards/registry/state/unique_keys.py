"""Which unfinished task has a unique key (rule 31)."""

from __future__ import annotations

from collections.abc import Iterable

from afterwards.errors import UniqueKeyTaken
from afterwards.lifecycle import Task


class UniqueKeys:
    """The unfinished tasks with a unique key, by their owner and the key."""

    def __init__(self) -> None:
        self._holders: dict[tuple[str | None, str], Task] = {}

    def __len__(self) -> int:
        return len(self._holders)

    def put(self, task: Task) -> None:
        """An unfinished task has come, or is another now."""
        assert task.unique_key is not None
        self._holders[task.owner, task.unique_key] = task

    def remove(self, task: Task) -> None:
        """A task is finished, or gone."""
        assert task.unique_key is not None
        del self._holders[task.owner, task.unique_key]

    def holder(self, task: Task) -> Task | None:
        """The unfinished task that has the key of this one, which may be that very task."""
        if task.unique_key is None:
            return None
        return self._holders.get((task.owner, task.unique_key))

    def require(self, task: Task) -> None:
        """Refuse a task whose key another one has.

        Raises:
            UniqueKeyTaken: it names that one.
        """
        holder = self.holder(task)
        if holder is not None and holder.id != task.id:
            raise UniqueKeyTaken(task.unique_key or "", holder.id)

    def require_all(self, tasks: Iterable[Task]) -> None:
        """Refuse tasks that are to be accepted together if another has the key of one of them.

        Raises:
            UniqueKeyTaken: it names the other one, unless that is among the tasks.
        """
        keys: set[str] = set()
        for task in tasks:
            if task.unique_key is None:
                continue
            self.require(task)
            if task.unique_key in keys:
                raise UniqueKeyTaken(task.unique_key, None)
            keys.add(task.unique_key)
