"""Answers of the surfaces with a status of their own, and of the operations."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from afterwards.api.schemas.fields import EXAMPLE_ID, Redacted
from afterwards.api.schemas.fields import example as _example


class Started(BaseModel):
    """The task is stored on disk and will run, whatever happens."""

    model_config = _example(task_id=EXAMPLE_ID, status="started")

    task_id: str
    status: Literal["started"]


class Retried(BaseModel):
    """The task waits for its next attempt."""

    model_config = _example(task_id=EXAMPLE_ID, status="retried")

    task_id: str
    status: Literal["retried"]


class Scheduled(BaseModel):
    """The notification is stored on disk; the header Location leads to its task."""

    model_config = _example(ok=True, message="Notification scheduled in background")

    ok: Literal[True]
    message: str


class TaskStatus(Redacted):
    """A task's status."""

    model_config = _example(
        id=EXAMPLE_ID,
        type="report",
        status="success",
        result={"message": "Report generated"},
        error=None,
        timestamp="2025-06-26T10:00:00.000000+00:00",
        retries=0,
    )

    id: str
    type: str = Field(description="The task type, such as `report`.")
    status: Literal["pending", "success", "failed"] = Field(
        description="`pending` until the task is finished. A cancelled task shows as `failed`."
    )
    result: dict[str, JsonValue] | None = Field(description="Set when the status is `success`.")
    error: str | None = Field(description="Set when the status is `failed`.")
    timestamp: datetime = Field(description="The time at which the task was accepted, in UTC.")
    retries: int = Field(ge=0, description="The number of retries by hand.")


class ProcessingStatus(Redacted):
    """A task's status, which tells processing from waiting."""

    model_config = _example(
        task_id=EXAMPLE_ID,
        status="completed",
        result={"message": "Email sent successfully"},
        error=None,
    )

    task_id: str
    status: Literal["pending", "processing", "completed", "failed"]
    result: dict[str, JsonValue] | None = Field(description="Set when the status is `completed`.")
    error: str | None = Field(description="Set when the status is `failed`.")


class Health(BaseModel):
    """A sign of life."""

    model_config = _example(status="ok")

    status: str
    waiting: list[str] = Field(
        default=[],
        description="Executors that take no attempts now: their tasks are accepted, and wait. Only "
        "there if there are any.",
    )
