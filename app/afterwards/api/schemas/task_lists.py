"""The answers of lists and counts of tasks."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, Field

from afterwards.api.schemas.fields import example
from afterwards.api.schemas.tasks import EXAMPLE_DOCUMENT, BaseTask, TaskDocument

_SUMMARY: Final[dict[str, Any]] = {
    **{
        name: value
        for name, value in EXAMPLE_DOCUMENT.items()
        if name not in ("payload", "result", "artifacts")
    },
    "digest": '{"email":"johndoe@example.com","message":"Your order was shipped."}',
}


class TaskScan(BaseModel):
    """The part of a list that the service has searched, task by task."""

    examined: int = Field(
        ge=0,
        description=(
            "The number of tasks that were looked at. A key with types or labels is told of those "
            "in the page only, and of no time."
        ),
    )
    reached: str | None = Field(
        json_schema_extra={"format": "date-time"},
        description="The time of the last of them, by which the list is sorted.",
    )
    complete: bool = Field(
        description=(
            "True if that was all of them. False with `next` null: successes besides the newest "
            "10,000 are not looked for by their end."
        )
    )


class TaskSummary(BaseTask):
    """A task, with the beginning of its payload only."""

    model_config = example(**_SUMMARY)

    digest: str | None = Field(
        description="The first 120 characters of the payload; null only if redacted."
    )


class TaskPage(BaseModel):
    """A page of tasks."""

    model_config = example(tasks=[EXAMPLE_DOCUMENT], next="MTI0NQ", scan=None)

    tasks: list[TaskDocument] | list[TaskSummary]
    next: str | None = Field(description="The `cursor` of the next page; null on the last page.")
    scan: TaskScan | None = Field(
        description=(
            "Set if no index knows what was asked for. The service then looks at tasks for a tenth "
            "of a second, and `next` goes on from there, even if the page has few tasks or none."
        )
    )


class TaskCount(BaseModel):
    """The number of tasks that match."""

    model_config = example(count=12, exact=True)

    count: int = Field(ge=0)
    exact: bool = Field(
        description="True if it is all of them; otherwise there are at least so many."
    )
