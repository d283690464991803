"""The bodies, queries and answers of the routes for webhooks."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, Self

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, model_validator

from afterwards.api.schemas.fields import Time, example
from afterwards.api.schemas.keys import DAY, MAX_OVERLAP_SECONDS, Name
from afterwards.api.schemas.requests import (
    ENDS,
    EXAMPLE_RECEIVER,
    EndState,
    Events,
    Labels,
    ReceiverUrl,
    Sent,
)
from afterwards.api.times import EXAMPLE_TIME
from afterwards.labels import MAX_LABEL_CHARACTERS
from afterwards.webhooks.webhook import MOST_TYPES

# It is the value of a label of its deliveries, and a step in a path.
MAX_PAGE_WEBHOOKS: Final = 500
"""As of all lists, though there may be fewer webhooks."""
WEBHOOK_NAME: Final = re.compile(rf"^[A-Za-z0-9_-][A-Za-z0-9._-]{{0,{MAX_LABEL_CHARACTERS - 1}}}$")
WebhookName = Annotated[
    str,
    Path(
        description=(
            f"Up to {MAX_LABEL_CHARACTERS} letters, digits, `.`, `_` and `-`. The first is not a "
            "dot."
        ),
        json_schema_extra={"pattern": WEBHOOK_NAME.pattern},
        openapi_examples={"webhook": {"summary": "A webhook", "value": "orders"}},
    ),
]


_DEFINITION: Final[dict[str, Any]] = {
    "url": EXAMPLE_RECEIVER,
    "events": ["failed"],
    "types": ["email"],
    "labels": {"tenant": "acme"},
}
_DOCUMENT: Final[dict[str, Any]] = {
    "name": "orders",
    **_DEFINITION,
    "state": "enabled",
    "disabled_at": None,
    "disabled_because": None,
    "failing_since": None,
    "created_at": EXAMPLE_TIME,
    "secrets": [{"ends_at": None}],
}


class NewWebhook(Sent):
    """A webhook: the URL that is told of finished tasks, and of which."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DEFINITION]})

    url: ReceiverUrl = Field(description="The URL that notices are posted to; `http` or `https`.")
    events: Events = Field(
        default_factory=ENDS.copy, description="The ends of tasks that it is told of."
    )
    types: Annotated[list[Name], Field(max_length=MOST_TYPES)] = Field(
        default_factory=list, description="The types of these tasks; by default all."
    )
    labels: Labels | None = Field(
        None, description="It is told of tasks with all these labels; by default of all tasks."
    )


class SecretRotation(Sent):
    """The end of the former secrets."""

    model_config = example(overlap_seconds=DAY)

    overlap_seconds: Annotated[float, Field(ge=0, le=MAX_OVERLAP_SECONDS)] = Field(
        DAY,
        description="The time for which the former secrets sign as well; at most 30 days.",
    )


class Replay(Sent):
    """The tasks to tell a webhook of once more: one, or all that finished in a span of time."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"since": EXAMPLE_TIME}],
            "oneOf": [
                {
                    "required": ["task_id"],
                    "properties": {
                        "task_id": {"type": "string"},
                        "since": {"type": "null"},
                        "until": {"type": "null"},
                    },
                },
                {
                    "required": ["since"],
                    "properties": {"since": {"type": "string"}, "task_id": {"type": "null"}},
                },
            ],
        }
    )

    task_id: str | None = Field(
        None, description="Only this task, whether it fits or not. Send this or `since`."
    )
    since: Time | None = Field(
        None, description="All tasks that fit the webhook and finished then or later."
    )
    until: Time | None = Field(None, description="Only those that finished before this time.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.task_id is None) == (self.since is None):
            raise ValueError("send one of task_id and since")
        if self.task_id is not None and self.until is not None:
            raise ValueError("until goes with since, not with task_id")
        return self


class SecretDocument(BaseModel):
    """One secret of a webhook, without itself."""

    ends_at: str | None = Field(
        description="It signs until then; null: it is the latest.",
        json_schema_extra={"format": "date-time"},
    )


class WebhookDocument(BaseModel):
    """A webhook, without its secrets."""

    model_config = example(**_DOCUMENT)

    name: str
    url: str
    events: list[EndState]
    types: list[str] = Field(description="Empty: all types.")
    labels: dict[str, str]
    state: Literal["enabled", "disabled"]
    disabled_at: str | None = Field(json_schema_extra={"format": "date-time"})
    disabled_because: str | None = Field(description="The reason, for people.")
    failing_since: str | None = Field(
        description="The first failed attempt since the last success; null: none has failed.",
        json_schema_extra={"format": "date-time"},
    )
    created_at: str = Field(json_schema_extra={"format": "date-time"})
    secrets: list[SecretDocument] = Field(description="The latest first.")


class PutWebhookDocument(WebhookDocument):
    """A webhook that was put. A new one has its secret, which cannot be read again."""

    model_config = example(**_DOCUMENT, secret=f"whsec_{'x' * 43}=")

    secret: str | None = Field(
        description="Receivers verify with it. Null: the webhook keeps the one it had."
    )


class WebhookPage(BaseModel):
    """A page of webhooks, by name."""

    model_config = example(webhooks=[_DOCUMENT], next="b3JkZXJz")

    webhooks: list[WebhookDocument]
    next: str | None = Field(description="The `cursor` of the next page; null on the last page.")


class WebhookFilter(BaseModel):
    """The query of a list of webhooks."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE_WEBHOOKS)] = Field(
        50, description="At most so many webhooks.", examples=[50]
    )
    cursor: str | None = Field(
        None, description="The `next` of the previous page.", examples=["b3JkZXJz"]
    )


class ReplayDocument(BaseModel):
    """The outcome of a replay."""

    model_config = example(matched=12, replayed=12, skipped=0, interrupted=None)

    matched: int = Field(ge=0, description="Tasks that fit.")
    replayed: int = Field(ge=0, description="Those that the webhook is told of once more.")
    skipped: int = Field(ge=0, description="Those that were retried or deleted meanwhile.")
    interrupted: str | None = Field(description="Why the rest was left; null: nothing was.")
