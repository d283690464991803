"""Schedules, and the calls about them. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Self

from afterwards_client.calls import Call, no_content, said, segment
from afterwards_client.pages import Listing
from afterwards_client.retries import Retries
from afterwards_client.tasks import Task, TaskStatus
from afterwards_client.times import optional_time, seconds_of


@dataclass(frozen=True)
class NewSchedule:
    """A schedule to be made: which task, and either `cron` or `every`."""

    type: str
    payload: Mapping[str, Any] | None = None
    cron: str | None = None
    """Five fields as in crontab(5)."""
    every: float | timedelta | None = None
    """A period from when it is made, in seconds unless it says otherwise."""
    timezone: str | None = None
    """That of the cron expression, an IANA name; UTC without it."""
    catch_up: bool = False
    """Make up for due times that passed while the service was down."""
    paused: bool = False
    priority: int | None = None
    """0 to 9, higher sooner."""
    max_attempts: int | None = None
    timeout: float | timedelta | None = None
    """For one attempt."""
    labels: Mapping[str, str] | None = None
    """Each of its tasks has them."""
    concurrency_key: str | None = None
    unique_key: str | None = None
    """A due time that meets an unfinished task with it is skipped."""

    def body(self) -> dict[str, Any]:
        """As JSON; what is not said is left to the service."""
        return said(
            {
                "type": self.type,
                "payload": self.payload,
                "cron": self.cron,
                "every_seconds": seconds_of(self.every),
                "timezone": self.timezone,
                "catch_up": self.catch_up,
                "paused": self.paused,
                "priority": self.priority,
                "max_attempts": self.max_attempts,
                "timeout_seconds": seconds_of(self.timeout),
                "labels": self.labels,
                "concurrency_key": self.concurrency_key,
                "unique_key": self.unique_key,
            }
        )


@dataclass(frozen=True)
class DueTask:
    """The task of a due time, and what has become of it."""

    task_id: str
    due: datetime
    status: TaskStatus

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON."""
        due = datetime.fromisoformat(document["due"])
        return cls(document["task_id"], due, TaskStatus(document["status"]))


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A task that is submitted again and again. Times are in UTC and aware of it."""

    name: str
    type: str
    payload: Mapping[str, Any] | None
    """None in a list that was not asked for payloads, and for a key that does not see them."""
    cron: str | None
    every_seconds: float | None
    timezone: str
    catch_up: bool
    paused: bool
    priority: int
    max_attempts: int
    timeout_seconds: float | None
    labels: Mapping[str, str]
    created_at: datetime
    last_due: datetime | None
    """The latest due time that a task was made for."""
    last_task_id: str | None
    next_runs: tuple[datetime, ...]
    """The next five due times; none while it is paused or gone."""
    concurrency_key: str | None = None
    unique_key: str | None = None
    last_skipped: datetime | None = None
    """The latest due time without a task, because one had its unique key."""
    module: str | None = None
    """The task module that declares it; None: it was put by a client."""
    gone: bool = False
    """True if its module declares it no longer: it makes no tasks until it does again."""
    results: tuple[DueTask, ...] | None = None
    """The tasks of the latest due times, up to twelve, newest first; None: not asked for."""
    document: Mapping[str, Any] = field(repr=False, compare=False)
    """The JSON this was read from."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON.

        Raises:
            KeyError, TypeError, ValueError: it is no schedule.
        """
        results = document.get("results")
        return cls(
            name=document["name"],
            type=document["type"],
            payload=document.get("payload"),
            cron=document["cron"],
            every_seconds=document["every_seconds"],
            timezone=document["timezone"],
            catch_up=document["catch_up"],
            paused=document["paused"],
            priority=document["priority"],
            max_attempts=document["max_attempts"],
            timeout_seconds=document["timeout_seconds"],
            labels=document.get("labels", {}),
            created_at=datetime.fromisoformat(document["created_at"]),
            last_due=optional_time(document["last_due"]),
            last_task_id=document["last_task_id"],
            next_runs=tuple(datetime.fromisoformat(at) for at in document["next_runs"]),
            concurrency_key=document.get("concurrency_key"),
            unique_key=document.get("unique_key"),
            last_skipped=optional_time(document.get("last_skipped")),
            module=document.get("module"),
            gone=document.get("gone", False),
            results=None if results is None else tuple(DueTask.of(one) for one in results),
            document=document,
        )


def listing(
    limit: int | None, retries: Retries, *, payloads: bool, results: bool
) -> Listing[Schedule]:
    """All schedules, by name."""
    wanted = {"payloads": payloads, "results": results}
    query = {name: "true" for name, is_wanted in wanted.items() if is_wanted}
    return Listing(
        "/schedules", "schedules", Schedule.of, limit=limit, retries=retries, query=query
    )


def get(name: str) -> Call[Schedule]:
    """Look at a schedule."""
    return Call("GET", _schedule(name), Schedule.of)


def put(name: str, new: NewSchedule) -> Call[Schedule]:
    """Create a schedule, or replace the one of this name."""
    return Call("PUT", _schedule(name), Schedule.of, body=new.body())


def delete(name: str) -> Call[None]:
    """Delete a schedule."""
    return Call("DELETE", _schedule(name), no_content, done_status=HTTPStatus.NOT_FOUND)


def pause(name: str) -> Call[Schedule]:
    """Have a schedule make no tasks."""
    return Call("POST", f"{_schedule(name)}/pause", Schedule.of)


def resume(name: str) -> Call[Schedule]:
    """Have a schedule make tasks again."""
    return Call("POST", f"{_schedule(name)}/resume", Schedule.of)


def run(name: str) -> Call[Task]:
    """Submit the task of a schedule now. Sent twice it would be two."""
    return Call("POST", f"{_schedule(name)}/run", Task.of, repeatable=False)


def _schedule(name: str) -> str:
    return f"/schedules/{segment(name, 'name of a schedule')}"
