"""Tasks that belong together: batches, the groups that other tasks follow, children. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, overload

from afterwards_client.tasks import Task


@dataclass(frozen=True)
class Batch(Sequence[Task]):
    """Tasks that were accepted together, in their order."""

    tasks: tuple[Task, ...]
    then: Task | None = None
    """The task that follows them, whose id is that of their group. None: none was sent, or it was
    deleted before the submission was repeated."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON; raises what `Task.of` does."""
        then = document.get("then")
        tasks = tuple(map(Task.of, document["tasks"]))
        return cls(tasks, None if then is None else Task.of(then))

    @overload
    def __getitem__(self, index: int) -> Task: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Task]: ...

    def __getitem__(self, index: int | slice) -> Task | Sequence[Task]:
        return self.tasks[index]

    def __len__(self) -> int:
        return len(self.tasks)


@dataclass(frozen=True, kw_only=True)
class Group:
    """The tasks of a batch that another task follows, by their numbers."""

    id: str
    """That of the task that follows."""
    on: str
    """`success`: it starts when all have succeeded. `finished`: it starts when all are finished."""
    size: int
    """The number of tasks that were submitted."""
    finished: int
    """Those that have ended and are kept."""
    succeeded: int
    failed: int
    cancelled: int
    then: Task
    """The task that follows."""
    document: Mapping[str, Any] = field(repr=False, compare=False)
    """The JSON this was read from."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON.

        Raises:
            KeyError, TypeError, ValueError: it is no group.
        """
        return cls(
            id=document["id"],
            on=document["on"],
            size=document["size"],
            finished=document["finished"],
            succeeded=document["succeeded"],
            failed=document["failed"],
            cancelled=document["cancelled"],
            then=Task.of(document["then"]),
            document=document,
        )


@dataclass(frozen=True)
class CancelledChildren:
    """The outcome of a cancellation for the tasks that belong to the cancelled one."""

    cancelled: int
    requested: int
    """They run: their workers were asked to stop them."""
    more: bool
    """There may be more; a further cancellation goes on with them."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON."""
        return cls(document["cancelled"], document["requested"], document["more"])
