"""The bounds of unfinished tasks by their owner.

The limits are those of keys, the counts those of principals: two keys of one principal fill the
same room. If several valid keys bound a principal, the strictest limit holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from afterwards.access.key import Key
from afterwards.errors import LimitReached
from afterwards.lifecycle import Task
from afterwards.registry.protocol.clock import Clock
from afterwards.registry.state.table import Table

RETRY_SECONDS: Final = 5.0
"""The advice when to come back: the end of other tasks is not known."""


class KeyTable(Table[str, Key]):
    """Keys by id. Those that bound the tasks of their principal are found by it, too."""

    def __init__(self) -> None:
        super().__init__()
        self._bounding: dict[str, dict[str, Key]] = {}

    def bounding(self, principal: str) -> Iterable[Key]:
        """The keys with such a bound, revoked and expired ones included."""
        keys = self._bounding.get(principal)
        return () if keys is None else keys.values()

    def load(self, keys: Iterable[Key]) -> None:
        """Take in what is in the journal."""
        for key in keys:
            self._set(key.id, key)

    def _set(self, name: str, row: Key | None) -> None:
        before = self.rows.get(name)
        if before is not None and bounds_tasks(before):
            others = self._bounding[before.principal]
            del others[name]
            if not others:
                del self._bounding[before.principal]
        super()._set(name, row)
        if row is not None and bounds_tasks(row):
            self._bounding.setdefault(row.principal, {})[name] = row


class OwnedTasks:
    """The unfinished tasks of each owner, counted. Owners without any take no memory."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, int]] = {}

    def count(self, task: Task, change: int) -> None:
        """A task of an owner has come (1) or gone (-1)."""
        assert task.owner is not None
        tasks, size = self._counts.get(task.owner, (0, 0))
        if tasks + change:
            counted = tasks + change, size + change * len(task.payload)
            self._counts[task.owner] = counted
        else:
            del self._counts[task.owner]

    def sum_up(self, owner: str, tasks: int, size: int) -> None:
        """Know what an owner has, where not all of its tasks are here."""
        self._counts[owner] = tasks, size

    def of(self, owner: str) -> tuple[int, int]:
        """The number of its tasks, and the bytes of their payloads."""
        return self._counts.get(owner, (0, 0))

    def __len__(self) -> int:
        return len(self._counts)


class Quotas:
    """Refuses what is beyond the limits of an owner.

    Args:
        bounding: gives the keys that bound the tasks of a principal.
    """

    def __init__(
        self, bounding: Callable[[str], Iterable[Key]], owned: OwnedTasks, clock: Clock
    ) -> None:
        self._bounding = bounding
        self._owned = owned
        self._clock = clock

    def require(self, owner: str | None, payload_bytes: int, tasks: int = 1) -> None:
        """Refuse further tasks of an owner that are beyond its limits.

        Raises:
            LimitReached: it names the limit, and what is used of it.
        """
        if owner is None:
            return
        bounding = self._bounding(owner)
        if not bounding:
            return
        now = self._clock.wall()
        limits = [key.limits for key in bounding if key.is_valid(now)]
        used_tasks, used_bytes = self._owned.of(owner)
        most_tasks = _strictest(limit.pending_tasks for limit in limits)
        if tasks and most_tasks is not None and used_tasks + tasks > most_tasks:
            raise LimitReached("pending_tasks", most_tasks, used_tasks, tasks, RETRY_SECONDS)
        most_bytes = _strictest(limit.pending_bytes for limit in limits)
        if payload_bytes and most_bytes is not None and used_bytes + payload_bytes > most_bytes:
            raise LimitReached(
                "pending_bytes", most_bytes, used_bytes, payload_bytes, RETRY_SECONDS
            )


def bounds_tasks(key: Key) -> bool:
    """True if a key bounds the unfinished tasks of its principal."""
    return key.limits.pending_tasks is not None or key.limits.pending_bytes is not None


def _strictest(limits: Iterable[int | None]) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)
