"""What the general routes for tasks take: bodies and the query of a list."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from afterwards.api.schemas.fields import QueryTime, Time
from afterwards.api.times import EXAMPLE_TIME
from afterwards.lifecycle import DEFAULT_PRIORITY, HIGHEST_PRIORITY, TaskState

MAX_BATCH_TASKS: Final = 1_000
MAX_PAGE_TASKS: Final = 500
MAX_BULK_TASKS: Final = 10_000
MAX_STATUSES: Final = 100
"""Some may be there twice; each of half a million would be looked at."""
MAX_DELAY_SECONDS: Final = 10 * 365 * 86_400
MAX_ATTEMPTS: Final = 100
MAX_TIMEOUT_SECONDS: Final = 7 * 86_400

EXAMPLE_PAYLOAD: Final[dict[str, Any]] = {
    "email": "johndoe@example.com",
    "message": "Your order was shipped.",
}


def _whole(value: object) -> object:
    # To JSON 5.0 is the integer 5.
    return int(value) if isinstance(value, float) and value.is_integer() else value


_WHOLE: Final = BeforeValidator(_whole)
Priority = Annotated[int, Field(ge=0, le=HIGHEST_PRIORITY), _WHOLE]
MaxAttempts = Annotated[int, Field(ge=1, le=MAX_ATTEMPTS), _WHOLE]
TimeoutSeconds = Annotated[float, Field(gt=0, le=MAX_TIMEOUT_SECONDS)]


class Sent(BaseModel):
    """A body: nothing is converted, and a member that means nothing is a mistake."""

    model_config = ConfigDict(extra="forbid", strict=True)


EXAMPLE_TASK: Final[dict[str, Any]] = {
    "type": "notification",
    "payload": EXAMPLE_PAYLOAD,
    "delay_seconds": 60,
}


class NewTask(Sent):
    """A task to be done: what, and if it matters, when and how."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_TASK]})

    type: str = Field(description="The name of a task type.")
    payload: dict[str, Any] = Field(
        default_factory=dict, description="What the task type needs; its schema is the type's."
    )
    delay_seconds: Annotated[float, Field(ge=0, le=MAX_DELAY_SECONDS)] | None = Field(
        None, description="Start it so much later. Not together with `run_at`."
    )
    run_at: Time | None = Field(
        None, description="Start it then, or at once if that is past. RFC 3339, with an offset."
    )
    priority: Priority = Field(DEFAULT_PRIORITY, description="Higher is sooner.")
    max_attempts: MaxAttempts | None = Field(None, description="Without it, the task type's.")
    timeout_seconds: TimeoutSeconds | None = Field(
        None, description="Limit for one attempt. Without it, the task type's."
    )
    deadline: Time | None = Field(
        None, description="No attempt starts later: what still waits then, fails."
    )

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if self.delay_seconds is not None and self.run_at is not None:
            raise ValueError("send delay_seconds or run_at, not both")
        return self


class NewTasks(Sent):
    """Tasks that are accepted together, or none of them."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tasks": [EXAMPLE_TASK]}]})

    tasks: Annotated[list[NewTask], Field(min_length=1, max_length=MAX_BATCH_TASKS)]


class NewPayload(Sent):
    """What a task is retried with."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"payload": EXAMPLE_PAYLOAD}]})

    payload: dict[str, Any] | None = Field(
        None, description="Takes the place of the task's payload; without it, that stays."
    )
    new_type: str | None = Field(
        None, description="The task type it moves to, which has to take its payload."
    )


class TaskChange(Sent):
    """What becomes different about a scheduled task; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"run_at": EXAMPLE_TIME}]})

    type: str | None = Field(
        None, description="The task type it moves to, which has to take its payload."
    )
    payload: dict[str, Any] | None = Field(
        None, description="Takes the place of the task's payload."
    )
    run_at: Time | None = Field(
        None, description="When it is due, or at once if that is past. RFC 3339, with an offset."
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.type is None and self.payload is None and self.run_at is None:
            raise ValueError("send type, payload or run_at")
        return self


class _Selection(Sent):
    """Which tasks a bulk verb is for."""

    type: str | None = Field(None, description="Tasks of this type only.")
    created_after: Time | None = Field(None, description="Accepted then or later.")
    created_before: Time | None = Field(None, description="Accepted earlier.")
    dry_run: bool = Field(False, description="Change nothing, count only.")
    limit: Annotated[int, Field(ge=1, le=MAX_BULK_TASKS), _WHOLE] = Field(
        1_000, description="How many to take up at most, the newest first."
    )


Retryable = Literal["failed", "cancelled"]
Cancellable = Literal["scheduled", "pending", "processing"]


class RetrySelection(_Selection):
    """Which failed or cancelled tasks to try again."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"type": "report", "created_after": EXAMPLE_TIME}]}
    )

    status: Annotated[list[Retryable], Field(min_length=1, max_length=MAX_STATUSES)] = Field(
        ["failed"]
    )
    payload: dict[str, Any] | None = Field(
        None, description="Takes the place of the payload of each; without it, that stays."
    )
    new_type: str | None = Field(
        None,
        description="The task type they move to. Those whose payload it does not take are skipped.",
    )


class CancelSelection(_Selection):
    """Which unfinished tasks to cancel."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"type": "report", "status": ["scheduled", "pending"]}]}
    )

    status: Annotated[list[Cancellable], Field(min_length=1, max_length=MAX_STATUSES)] = Field(
        ["scheduled", "pending", "processing"]
    )


class TaskFilter(BaseModel):
    """The query of a list of tasks."""

    model_config = ConfigDict(extra="forbid")

    status: TaskState | None = Field(None, description="In this state.", examples=["failed"])
    type: str | None = Field(None, description="Of this type.", examples=["report"])
    created_after: QueryTime | None = Field(
        None, description="Accepted then or later.", examples=[EXAMPLE_TIME]
    )
    created_before: QueryTime | None = Field(
        None, description="Accepted earlier.", examples=[EXAMPLE_TIME]
    )
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE_TASKS)] = Field(
        50, description="How many at most.", examples=[50]
    )
    cursor: str | None = Field(None, description="`next` of the page before.", examples=["MTI0NQ"])
