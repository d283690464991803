"""Lists of tasks, page by page, and their length. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from afterwards_client.calls import Call
from afterwards_client.pages import Listing, page_query
from afterwards_client.retries import Retries
from afterwards_client.selection import members
from afterwards_client.tasks import Task, TaskSummary
from afterwards_client.times import optional_time


@dataclass(frozen=True)
class Scan:
    """The way that the service came with looking at tasks one by one."""

    examined: int
    reached: datetime | None
    """The time, of those that the list is in the order of, of the last one."""
    complete: bool
    """There are none besides."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON."""
        reached = optional_time(document["reached"])
        return cls(document["examined"], reached, document["complete"])


@dataclass(frozen=True)
class Page:
    """Some tasks of a list, and where the next are. It may have none and be followed by others."""

    tasks: Sequence[Task]
    next: str | None
    """The cursor of the next page; None: this is the last one."""
    scan: Scan | None
    """Set where no index answers; None: the page is as long as it could be."""


@dataclass(frozen=True)
class TaskCount:
    """The number of tasks that meet conditions."""

    count: int
    exact: bool
    """These are all; otherwise there are at least so many."""


def page(
    conditions: Mapping[str, Any], order: str | None, limit: int, cursor: str | None
) -> Call[Page]:
    """A page of a list of whole tasks."""
    params = page_query(_query(conditions, order), limit, cursor)
    return Call("GET", "/tasks", _page, params=params)


def count(conditions: Mapping[str, Any]) -> Call[TaskCount]:
    """The number of tasks that meet the conditions."""

    def read(document: Any) -> TaskCount:
        return TaskCount(document["count"], document["exact"])

    return Call("GET", "/tasks/count", read, params=members(conditions))


def whole(
    conditions: Mapping[str, Any], order: str | None, limit: int | None, retries: Retries
) -> Listing[Task]:
    """A list of tasks."""
    query = _query(conditions, order)
    return Listing("/tasks", "tasks", Task.of, limit=limit, retries=retries, query=query)


def summed_up(
    conditions: Mapping[str, Any], order: str | None, limit: int | None, retries: Retries
) -> Listing[TaskSummary]:
    """A list of tasks without payloads and results."""
    query = _query(conditions, order) | {"summary": "true"}
    return Listing("/tasks", "tasks", TaskSummary.of, limit=limit, retries=retries, query=query)


def _query(conditions: Mapping[str, Any], order: str | None) -> dict[str, Any]:
    return members(conditions) | ({} if order is None else {"order": order})


def _page(document: Any) -> Page:
    scan = document.get("scan")
    tasks = [Task.of(one) for one in document["tasks"]]
    return Page(tasks, document["next"], None if scan is None else Scan.of(scan))
