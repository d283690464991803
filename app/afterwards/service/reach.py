"""Which tasks are within a key's reach: those of its types that have its labels."""

from __future__ import annotations

from typing import Final

from afterwards.access.principal import Principal
from afterwards.errors import NotAllowed
from afterwards.lifecycle import Task
from afterwards.registry.protocol.filters import Filter, pairs_of


class Reach:
    """The bounds of one key.

    Args:
        own_only: what the request does may be done to the principal's own tasks only.
    """

    __slots__ = ("_labels", "_own_only", "_principal", "types")

    def __init__(self, principal: Principal, *, own_only: bool = False) -> None:
        self._principal: Final = principal
        self._own_only: Final = own_only
        self.types: Final = principal.types
        """None: all."""
        labels = principal.labels or {}
        self._labels: Final = tuple(f"{key}={value}" for key, value in labels.items())

    @property
    def is_all(self) -> bool:
        """True if no task is beyond it."""
        return self.is_all_tasks and not self._own_only

    @property
    def is_all_tasks(self) -> bool:
        """True if the tasks of every owner can be looked at."""
        return self.types is None and not self._labels

    @property
    def has_labels(self) -> bool:
        """True if tasks without its labels are beyond it."""
        return bool(self._labels)

    def has_type(self, name: str) -> bool:
        """True if tasks of this type may be within reach."""
        return self.types is None or name in self.types

    def has(self, task: Task) -> bool:
        """True for a task, or a pattern of tasks, that is within reach."""
        return self.has_type(task.type) and self._has_labels(task)

    def owns(self, task: Task) -> bool:
        """True if what the request does may be done to this task, which is within reach."""
        return not self._own_only or self._principal.owns(task.owner)

    def narrowed(self, wanted: Filter) -> Filter | None:
        """The same conditions, and those of the key; None: no task can meet both."""
        types = wanted.types
        if self.types is not None:
            types = types & self.types if types else self.types
            if not types:
                return None
        labels = tuple(dict.fromkeys((*wanted.labels, *self._labels)))
        return wanted._replace(types=types, labels=labels)

    def require_type(self, name: str) -> None:
        """Raise `NotAllowed` if tasks of this type are beyond it."""
        if not self.has_type(name):
            raise NotAllowed(
                f"The {self._key} reaches no tasks of type {name!r}; {self._named_types}"
            )

    def require_new(self, task: Task) -> None:
        """Raise `NotAllowed` if a task that is submitted, or made by a schedule, is beyond it."""
        self.require_type(task.type)
        if not self._has_labels(task):
            raise NotAllowed(
                f"The {self._key} submits tasks with these labels only: {', '.join(self._labels)}"
            )

    def require_whole_types(self, what: str) -> None:
        """Raise `NotAllowed` if it has labels: `what` tells of all tasks of a type."""
        if self._labels:
            raise NotAllowed(
                f"{what} of all tasks, and the {self._key} reaches those labelled "
                f"{', '.join(self._labels)} only"
            )

    def require_all(self, what: str) -> None:
        """Raise `NotAllowed` if anything is beyond it: `what` tells of all tasks of all types."""
        self.require_whole_types(what)
        if self.types is not None:
            raise NotAllowed(f"{what} of all tasks; the {self._key}: {self._named_types}")

    def beyond(self, task: Task) -> NotAllowed:
        """The refusal of a task that is somebody else's."""
        return NotAllowed(
            f"Task {task.id} is not of {self._principal.owner!r}; to do this to tasks of others "
            "needs the role operator"
        )

    def _has_labels(self, task: Task) -> bool:
        return not self._labels or set(pairs_of(task.labels)).issuperset(self._labels)

    @property
    def _key(self) -> str:
        return f"key {self._principal.actor!r}"

    @property
    def _named_types(self) -> str:
        return f"it reaches {', '.join(sorted(self.types or ())) or 'none'}"
