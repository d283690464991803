"""The tasks of late as they are committed, for reads by id that do not wait for a turn.

The state itself changes while a group is carried out. This is a table of what is committed; a task
that is missing in it has to be read from the journal.
"""

from __future__ import annotations

from collections.abc import Sequence

from afterwards.lifecycle import Change, Task
from afterwards.registry.engine.key_holders import KeyHolders


class CommittedTasks:
    """Written by the thread that has the turn, read by any.

    From before a commit until after it, the journal alone knows whether the group's tasks are
    committed, and so it is asked for them. Otherwise a list could show a task's end, and a read of
    that task afterwards would not.

    Args:
        durable: whether the journal can be asked. Otherwise a group is committed when it is put in.
        holders: is told of the same tasks.
    """

    def __init__(self, holders: KeyHolders, *, durable: bool) -> None:
        self.holders = holders
        self._durable = durable
        self._tasks: dict[str, Task] = {}

    def get(self, task_id: str) -> Task | None:
        """The task as committed; None: the journal has to be asked."""
        return self._tasks.get(task_id)

    def load(self, task: Task) -> None:
        """Take in a task that is in the journal."""
        self._tasks[task.id] = task
        self.holders.load(task)

    def begin(self, changes: Sequence[Change]) -> None:
        """These may be committed from now on."""
        if self._durable:
            for change in changes:
                self._tasks.pop(change.task.id, None)

    def end(self, changes: Sequence[Change]) -> None:
        """These are committed, and not told to anybody yet."""
        self.holders.committed(changes)
        # The last of each: no read may see what a task was on its way through the group.
        for task_id, task in {change.task.id: change.new for change in changes}.items():
            if task is not None:
                self._tasks[task_id] = task
            else:
                self._tasks.pop(task_id, None)

    def forget(self, task: Task) -> None:
        """The journal has it."""
        self._tasks.pop(task.id, None)
