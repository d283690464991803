"""The bodies, queries and answers of the routes for schedules."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from afterwards.api.schemas.fields import EXAMPLE_ID, Redacted, example
from afterwards.api.schemas.requests import (
    Key,
    Labels,
    MaxAttempts,
    Priority,
    Sent,
    TimeoutSeconds,
)
from afterwards.api.times import EXAMPLE_TIME
from afterwards.lifecycle import DEFAULT_PRIORITY
from afterwards.schedules.recurrence import MAX_PERIOD_SECONDS, MIN_PERIOD_SECONDS
from afterwards.schedules.schedule import NAME

MAX_PAGE_SCHEDULES: Final = 500

ScheduleName = Annotated[
    str,
    Path(
        description="Up to 100 letters, digits, `.`, `_` and `-`. The first is not a dot.",
        json_schema_extra={"pattern": NAME.pattern},
        openapi_examples={"schedule": {"summary": "A schedule", "value": "daily-report"}},
    ),
]

_DEFINITION: Final[dict[str, Any]] = {
    "type": "report",
    "payload": {"name": "Sales", "details": {}},
    "cron": "30 6 * * 1-5",
    "timezone": "Europe/Berlin",
}


class NewSchedule(Sent):
    """A schedule: which task to submit, and when."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DEFINITION]})

    type: str = Field(description="The name of the task type.")
    payload: dict[str, Any] = Field(
        default_factory=dict, description="The payload of each of its tasks."
    )
    cron: str | None = Field(
        None,
        max_length=200,
        description="Five fields as in crontab(5). Send this or `every_seconds`.",
    )
    every_seconds: Annotated[float, Field(ge=MIN_PERIOD_SECONDS, le=MAX_PERIOD_SECONDS)] | None = (
        Field(
            None, description="The period, from the creation of the schedule. Send this or `cron`."
        )
    )
    timezone: str = Field(
        "UTC", max_length=100, description="The time zone of the cron expression, an IANA name."
    )
    catch_up: bool = Field(
        False, description="Make up for due times that passed while the service was down."
    )
    paused: bool = False
    priority: Priority = DEFAULT_PRIORITY
    max_attempts: MaxAttempts | None = None
    timeout_seconds: TimeoutSeconds | None = None
    labels: Labels | None = Field(None, description="Labels of each of its tasks.")
    concurrency_key: Key | None = Field(None, description="The key of each of its tasks.")
    unique_key: Key | None = Field(
        None,
        description=(
            "The key of each of its tasks. A due time that meets an unfinished task with it is "
            "skipped."
        ),
    )

    @model_validator(mode="after")
    def _one_recurrence(self) -> Self:
        if (self.cron is None) == (self.every_seconds is None):
            raise ValueError("send one of cron and every_seconds")
        return self


_SCHEDULE: Final[dict[str, Any]] = {
    "name": "daily-report",
    **_DEFINITION,
    "every_seconds": None,
    "catch_up": False,
    "paused": False,
    "priority": DEFAULT_PRIORITY,
    "max_attempts": 3,
    "timeout_seconds": None,
    "labels": {},
    "concurrency_key": None,
    "unique_key": None,
    "created_at": EXAMPLE_TIME,
    "last_due": "2026-11-20T05:30:00.000000+00:00",
    "last_task_id": EXAMPLE_ID,
    "last_skipped": None,
    "module": None,
    "gone": False,
    "next_runs": ["2026-11-23T05:30:00.000000+00:00"],
}


class _Schedule(Redacted):
    name: str
    type: str
    cron: str | None
    every_seconds: float | None
    timezone: str
    catch_up: bool
    paused: bool
    priority: int
    max_attempts: int
    timeout_seconds: float | None
    labels: dict[str, str]
    concurrency_key: str | None
    unique_key: str | None
    created_at: str = Field(json_schema_extra={"format": "date-time"})
    last_due: str | None = Field(description="The latest due time that a task was made for.")
    last_task_id: str | None
    last_skipped: str | None = Field(
        description="The latest due time without a task, because one had its `unique_key`."
    )
    module: str | None = Field(
        description="The task module that declares it; null if it was made by a PUT."
    )
    gone: bool = Field(
        description="The module declares it no longer: it makes no tasks until it does again."
    )
    next_runs: list[str] = Field(
        description="The next five due times; none while it is paused or gone."
    )


class ScheduleDocument(_Schedule):
    """A schedule."""

    model_config = example(**_SCHEDULE)

    payload: dict[str, JsonValue] | None = Field(description="Null only if redacted.")


class DueResult(BaseModel):
    """The task of a due time, and what has become of it."""

    task_id: str
    due: str = Field(json_schema_extra={"format": "date-time"})
    status: str


class ListedSchedule(_Schedule):
    """A schedule in a list."""

    model_config = example(**{k: v for k, v in _SCHEDULE.items() if k != "payload"})

    payload: dict[str, JsonValue] | None = Field(
        default_factory=dict, description="Only with `payloads=true`; null only if redacted."
    )
    results: list[DueResult] = Field(
        default_factory=list,
        description="The tasks of its latest due times, newest first. Only with `results=true`.",
    )


class SchedulePage(BaseModel):
    """Schedules, by name."""

    model_config = example(
        schedules=ListedSchedule.model_config["json_schema_extra"]["examples"],  # type: ignore[index] # `example` has put a dict there
        next="ZGFpbHktcmVwb3J0",
    )

    schedules: list[ListedSchedule]
    next: str | None = Field(description="The `cursor` of the next page; null on the last page.")


class ScheduleFilter(BaseModel):
    """The query of a list of schedules."""

    model_config = ConfigDict(extra="forbid")

    payloads: bool = Field(False, description="Include the payloads.", examples=[True])
    results: bool = Field(
        False, description="Include the tasks of the latest due times.", examples=[True]
    )
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE_SCHEDULES)] = Field(
        50, description="At most so many schedules.", examples=[50]
    )
    cursor: str | None = Field(
        None, description="The `next` of the previous page.", examples=["ZGFpbHktcmVwb3J0"]
    )
