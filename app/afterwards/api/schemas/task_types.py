"""The answers of the routes for task types and statistics."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Path
from pydantic import BaseModel, Field, JsonValue

from afterwards.api.schemas.fields import example

_EXAMPLE_COUNTS: Final = {
    "scheduled": 0, "pending": 2, "processing": 1, "success": 40, "failed": 1, "cancelled": 0,
}  # fmt: skip

TypeName = Annotated[
    str,
    Path(
        description="A name that `GET /task-types` lists.",
        openapi_examples={"type": {"summary": "A task type", "value": "notification"}},
    ),
]


class RateLimit(BaseModel):
    """The number of attempts that may start in a period."""

    count: int = Field(ge=1)
    period_seconds: float = Field(gt=0)


class TaskTypeDocument(BaseModel):
    """A kind of work."""

    model_config = example(
        name="notification",
        executor="async",
        max_attempts=3,
        timeout_seconds=60.0,
        max_concurrency=None,
        rate_limit=None,
        concurrency_per_key=1,
        paused=False,
        payload_schema={"type": "object", "properties": {"email": {"type": "string"}}},
        tasks=_EXAMPLE_COUNTS,
    )

    name: str
    executor: str = Field(
        description="The executor of its attempts: `async`, `thread`, `process` or `dask`."
    )
    max_attempts: int = Field(ge=1, description="For tasks that do not set their own.")
    timeout_seconds: float = Field(gt=0, description="For tasks that do not set their own.")
    max_concurrency: int | None = Field(
        description="Attempts at once, in all workers together; null: no limit."
    )
    rate_limit: RateLimit | None
    concurrency_per_key: int = Field(
        ge=1,
        description="Attempts at once, in all workers together, with the same `concurrency_key`.",
    )
    paused: bool = Field(description="While true, its tasks are accepted and wait.")
    payload_schema: dict[str, JsonValue] = Field(description="JSON Schema of the payload.")
    tasks: dict[str, int] = Field(description="The number of stored tasks, by status.")


class TaskTypeList(BaseModel):
    """All task types."""

    model_config = example(
        task_types=TaskTypeDocument.model_config["json_schema_extra"]["examples"]  # type: ignore[index] # `example` has put a dict there
    )

    task_types: list[TaskTypeDocument]


class Slots(BaseModel):
    """Slots for attempts, in all workers together."""

    busy: int = 0
    free: int = 0
    stuck: int = Field(
        0,
        description="Slots of attempts that go on after their time limit; they end with their host "
        "at the latest.",
    )


class StatisticsDocument(BaseModel):
    """Statistics of the service."""

    model_config = example(
        version="1.0.0",
        uptime_seconds=86_400.0,
        workers=2,
        tasks=_EXAMPLE_COUNTS,
        retrying=0,
        by_type={"notification": _EXAMPLE_COUNTS},
        submitted=44,
        finished_per_second=0.5,
        oldest_pending_seconds=0.01,
        slots={"async": {"busy": 1, "free": 9_999, "stuck": 0}},
        paused_types=[],
        schedules=1,
        journal_bytes=65_536,
    )

    version: str
    uptime_seconds: float = Field(ge=0, description="The uptime of the registry process.")
    workers: int = Field(ge=0)
    tasks: dict[str, int] = Field(description="The number of stored tasks, by status.")
    retrying: int = Field(
        ge=0,
        description="Tasks that wait for a further attempt after one that failed. `scheduled` and "
        "`pending` count them, too.",
    )
    by_type: dict[str, dict[str, int]]
    submitted: int = Field(ge=0, description="Tasks ever submitted, including deleted ones.")
    finished_per_second: float = Field(ge=0, description="Average of about the last ten seconds.")
    oldest_pending_seconds: float = Field(ge=0)
    slots: dict[str, Slots]
    paused_types: list[str]
    schedules: int = Field(ge=0)
    journal_bytes: int = Field(ge=0, description="Size on disk; 0 with the memory registry.")
