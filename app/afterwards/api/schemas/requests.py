"""Bodies and queries of the general routes for tasks."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from afterwards.api.schemas.fields import Time
from afterwards.api.times import EXAMPLE_TIME
from afterwards.labels import KEY_PATTERN, MAX_LABEL_CHARACTERS, MAX_LABELS, VALUE_PATTERN
from afterwards.lifecycle import DEFAULT_PRIORITY, HIGHEST_PRIORITY, MAX_KEY_CHARACTERS
from afterwards.webhooks.webhook import MOST_URL_CHARACTERS

MAX_BATCH_TASKS: Final = 1_000
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


WHOLE: Final = BeforeValidator(_whole)
"""Validates an integer in either way that JSON has it: 5 or 5.0."""

Priority = Annotated[int, Field(ge=0, le=HIGHEST_PRIORITY), WHOLE]
MaxAttempts = Annotated[int, Field(ge=1, le=MAX_ATTEMPTS), WHOLE]
TimeoutSeconds = Annotated[float, Field(gt=0, le=MAX_TIMEOUT_SECONDS)]


_LabelKey = Annotated[
    str, Field(min_length=1, max_length=MAX_LABEL_CHARACTERS, pattern=KEY_PATTERN)
]
_LabelValue = Annotated[
    str, Field(min_length=1, max_length=MAX_LABEL_CHARACTERS, pattern=VALUE_PATTERN)
]
_OF_LABEL: Final = {"type": "string", "minLength": 1, "maxLength": MAX_LABEL_CHARACTERS}
Labels = Annotated[
    dict[_LabelKey, _LabelValue],
    Field(max_length=MAX_LABELS),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": MAX_LABELS,
            "propertyNames": {**_OF_LABEL, "pattern": KEY_PATTERN},
            "additionalProperties": {**_OF_LABEL, "pattern": VALUE_PATTERN},
        }
    ),
]


Key = Annotated[str, Field(min_length=1, max_length=MAX_KEY_CHARACTERS, pattern=VALUE_PATTERN)]
"""A concurrency key, or a unique key."""

CONCURRENCY_KEY: Final = (
    "The attempts at tasks of this type with the same key run one after the other, or as many at "
    "once as the type's `concurrency_per_key` says."
)


class Sent(BaseModel):
    """A body: nothing is converted, and a member that means nothing is a mistake."""

    model_config = ConfigDict(extra="forbid", strict=True)


EndState = Literal["success", "failed", "cancelled"]
ENDS: Final[list[EndState]] = ["success", "failed", "cancelled"]
Events = Annotated[list[EndState], Field(min_length=1, max_length=len(ENDS))]
ReceiverUrl = Annotated[str, Field(min_length=1, max_length=MOST_URL_CHARACTERS)]
EXAMPLE_RECEIVER: Final = "https://shop.example.com/finished"


class Callback(Sent):
    """A URL that is told of the end of one task."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"url": EXAMPLE_RECEIVER}]})

    url: ReceiverUrl = Field(description="The URL that the notice is posted to; `http` or `https`.")
    events: Events = Field(
        default_factory=ENDS.copy, description="The ends of the task that it is told of."
    )
    secret: str | None = Field(
        None,
        max_length=128,
        description=(
            "Signs the notice: `whsec_` and 24 to 64 bytes in base64. Without it, the secrets in "
            "`AFTERWARDS_WEBHOOK_SECRETS` do."
        ),
    )


EXAMPLE_TASK: Final[dict[str, Any]] = {
    "type": "notification",
    "payload": EXAMPLE_PAYLOAD,
    "delay_seconds": 60,
}


EXAMPLE_FOLLOWING: Final[dict[str, Any]] = {
    "type": "report",
    "payload": {"name": "Notifications sent", "details": {"month": "June"}},
    "on": "finished",
}


class _Wanted(Sent):
    """A task, and optionally how to run it."""

    type: str = Field(description="The name of the task type.")
    payload: dict[str, Any] = Field(
        default_factory=dict, description="What the task type needs, by its `payload_schema`."
    )
    priority: Priority = Field(
        DEFAULT_PRIORITY, description="Tasks of a higher priority start sooner."
    )
    max_attempts: MaxAttempts | None = Field(
        None, description="Attempts in a round. Default: the task type's."
    )
    timeout_seconds: TimeoutSeconds | None = Field(
        None, description="Time limit for one attempt. Default: the task type's."
    )
    deadline: Time | None = Field(
        None, description="No attempt starts after this time. A task that still waits then fails."
    )
    labels: Labels | None = Field(
        None,
        description="Up to 8 pairs to find the task by, such as its tenant.",
        examples=[{"tenant": "acme"}],
    )
    callback: Callback | None = Field(
        None, description="A URL that is told of the end of this task."
    )
    concurrency_key: Key | None = Field(None, description=CONCURRENCY_KEY, examples=["account-7"])
    unique_key: Key | None = Field(
        None,
        description=(
            "At most one unfinished task has this key, of all those with the same owner. A batch "
            "with a task that meets another one is refused."
        ),
        examples=["sync-7"],
    )
    on_conflict: Literal["existing", "reject", "replace"] | None = Field(
        None,
        description=(
            "If an unfinished task has the `unique_key`: `existing`, the default, answers with "
            "that task (`Existing-Task: true`). `reject` is a 409 that names it. `replace` cancels "
            "it if it waits, and is a 409 if it runs. In a batch only `reject` is taken."
        ),
    )

    @model_validator(mode="after")
    def _conflict_of_a_key(self) -> Self:
        if self.on_conflict is not None and self.unique_key is None:
            raise ValueError("on_conflict says what to do about a unique_key; send that, too")
        return self


class NewTask(_Wanted):
    """A task to submit: its type and payload, and optionally when and how to run it."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_TASK]})

    delay_seconds: Annotated[float, Field(ge=0, le=MAX_DELAY_SECONDS)] | None = Field(
        None, description="Start the task so many seconds later. Not together with `run_at`."
    )
    run_at: Time | None = Field(
        None,
        description="Start the task then, or at once if that is past. RFC 3339, with an offset.",
    )

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if self.delay_seconds is not None and self.run_at is not None:
            raise ValueError("send delay_seconds or run_at, not both")
        return self


class Following(_Wanted):
    """The task that follows a batch. The end of the batch starts it, and no time does."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_FOLLOWING]})

    on: Literal["success", "finished"] = Field(
        "success",
        description=(
            "`success`: start it when all tasks of the batch have succeeded; the first that fails "
            "or is cancelled cancels it. `finished`: start it when all are finished."
        ),
    )


class NewTasks(Sent):
    """Tasks to submit together, all or none."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"tasks": [EXAMPLE_TASK], "then": EXAMPLE_FOLLOWING}]}
    )

    tasks: Annotated[list[NewTask], Field(min_length=1, max_length=MAX_BATCH_TASKS)]
    then: Following | None = Field(
        None,
        description=(
            "A further task, which starts when all others are finished. They are its group, which "
            "has its id."
        ),
    )


class NewPayload(Sent):
    """Changes to the task before its retry, and when that is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"payload": EXAMPLE_PAYLOAD}]})

    payload: dict[str, Any] | None = Field(
        None, description="Replaces the task's payload. Without it, the payload stays."
    )
    new_type: str | None = Field(
        None, description="The task type that the task moves to. It has to take the payload."
    )
    run_at: Time | None = Field(
        None,
        description=(
            "The time at which the task is due; at once if that is past, or without it. RFC 3339, "
            "with an offset. The `run_at` of a cancelled task puts it back to where it was."
        ),
    )


class TaskChange(Sent):
    """Changes to a scheduled task. A member that is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"run_at": EXAMPLE_TIME}]})

    type: str | None = Field(
        None, description="The task type that the task moves to. It has to take the payload."
    )
    payload: dict[str, Any] | None = Field(None, description="Replaces the task's payload.")
    run_at: Time | None = Field(
        None,
        description=(
            "The time at which the task is due; at once if that is past. RFC 3339, with an offset."
        ),
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.type is None and self.payload is None and self.run_at is None:
            raise ValueError("send type, payload or run_at")
        return self
