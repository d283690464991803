"""Lists of tasks, page by page, and their length. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, Self, TypeVar

from afterwards_client.calls import Call
from afterwards_client.flows import Flow, perform
from afterwards_client.retries import Retries
from afterwards_client.selection import members
from afterwards_client.tasks import Task, TaskSummary

L = TypeVar("L", Task, TaskSummary)

PAGE_SIZE: Final = 500
"""The largest that the service gives."""


@dataclass(frozen=True)
class Scan:
    """How far the service came with looking at tasks one by one."""

    examined: int
    reached: datetime | None
    """The time, of those that the list is in the order of, of the last one."""
    complete: bool
    """There are none besides."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON."""
        reached = document["reached"]
        at = None if reached is None else datetime.fromisoformat(reached)
        return cls(document["examined"], at, document["complete"])


@dataclass(frozen=True)
class Page(Generic[L]):
    """Some tasks of a list, and where the next are. It may have none and be followed by others."""

    tasks: Sequence[L]
    next: str | None
    """The cursor of the next page; None: this is the last one."""
    scan: Scan | None
    """Set where no index answers; None: the page is as long as it could be."""


@dataclass(frozen=True)
class TaskCount:
    """How many tasks meet conditions."""

    count: int
    exact: bool
    """Whether these are all; otherwise there are at least so many."""


def page(
    conditions: Mapping[str, Any], order: str | None, limit: int, cursor: str | None
) -> Call[Page[Task]]:
    """A page of a list of whole tasks."""
    return _page(Task.of, _query(conditions, order), limit, cursor)


def count(conditions: Mapping[str, Any]) -> Call[TaskCount]:
    """The number of tasks that meet the conditions."""

    def read(document: Any) -> TaskCount:
        return TaskCount(document["count"], document["exact"])

    return Call("GET", "/tasks/count", read, params=members(conditions))


class Listing(Generic[L]):
    """Tasks page by page: run `next_page` until it `is_over`.

    Args:
        of: reads one from JSON.
        query: says which, and how they are shown.
        limit: how many at most; None: all.
    """

    def __init__(
        self,
        of: Callable[[Any], L],
        query: Mapping[str, Any],
        limit: int | None,
        retries: Retries,
    ) -> None:
        self.is_over = limit is not None and limit <= 0
        self._of: Callable[[Any], L] = of
        self._query = query
        self._left = limit
        self._retries = retries
        self._cursor: str | None = None

    def next_page(self) -> Flow[Sequence[L]]:
        """Fetch a page."""
        size = PAGE_SIZE if self._left is None else min(self._left, PAGE_SIZE)
        call = _page(self._of, self._query, size, self._cursor)
        found = yield from perform(call, self._retries)
        self._cursor = found.next
        if self._left is not None:
            self._left -= len(found.tasks)
        self.is_over = found.next is None or (self._left is not None and self._left <= 0)
        return found.tasks


def whole(
    conditions: Mapping[str, Any], order: str | None, limit: int | None, retries: Retries
) -> Listing[Task]:
    """A list of tasks."""
    return Listing(Task.of, _query(conditions, order), limit, retries)


def summed_up(
    conditions: Mapping[str, Any], order: str | None, limit: int | None, retries: Retries
) -> Listing[TaskSummary]:
    """A list of tasks without payloads and results."""
    query = _query(conditions, order) | {"summary": "true"}
    return Listing(TaskSummary.of, query, limit, retries)


def _query(conditions: Mapping[str, Any], order: str | None) -> dict[str, Any]:
    return members(conditions) | ({} if order is None else {"order": order})


def _page(
    of: Callable[[Any], L], query: Mapping[str, Any], limit: int, cursor: str | None
) -> Call[Page[L]]:
    def read(document: Any) -> Page[L]:
        scan = document.get("scan")
        tasks = [of(one) for one in document["tasks"]]
        return Page(tasks, document["next"], None if scan is None else Scan.of(scan))

    params = {**query, "limit": str(limit)} | ({"cursor": cursor} if cursor else {})
    return Call("GET", "/tasks", read, params=params)
