"""The queries of lists and counts of tasks."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from afterwards.api.schemas.error_groups import EXAMPLE_ERROR_ID, ErrorId
from afterwards.api.schemas.fields import EXAMPLE_ID, QueryTime
from afterwards.api.schemas.requests import Key
from afterwards.api.times import EXAMPLE_TIME
from afterwards.labels import KEY_PATTERN, MAX_LABEL_CHARACTERS, MAX_LABELS, VALUE_PATTERN

MAX_PAGE_TASKS: Final = 500
MAX_STATUSES: Final = 100
"""Some may be there twice; each of half a million would be looked at."""
MAX_SEARCH_CHARACTERS: Final = 200

ERROR: Final = "Only failed tasks of this error group (`id` at `GET /errors`)."


Status = Literal["scheduled", "pending", "processing", "success", "failed", "cancelled", "retrying"]
"""A state, or that a task waits for a further attempt after one that failed."""

_LABEL_PATTERN: Final = (
    rf"^{KEY_PATTERN[1:-2]}{{1,{MAX_LABEL_CHARACTERS}}}"
    rf"(={VALUE_PATTERN[1:-2]}{{1,{MAX_LABEL_CHARACTERS}}})?$"
)


Label = Annotated[str, Field(pattern=_LABEL_PATTERN)]
"""A condition on labels: a key, or `key=value`."""

RelatedId = Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$")]
"""The id of another task."""

PARENT: Final = "Only tasks that the task of this id has submitted."
GROUP: Final = "Only tasks of the batch that the task of this id follows."
WITH_KEY: Final = "Only tasks with this {} key."
LABEL: Final = "Only tasks with all of these labels: a key, or `key=value`."
SEARCH: Final = (
    "Only tasks whose id begins with this, or whose payload or error contains it; or, like "
    "`payload.customer.id=7`, whose payload has this value there. No secret is "
    "searched for by its path."
)


class TaskConditions(BaseModel):
    """Which tasks a list or a count is about."""

    model_config = ConfigDict(extra="forbid")

    status: Annotated[list[Status], Field(max_length=MAX_STATUSES)] = Field(
        [],
        description=(
            "Only tasks in one of these states; `retrying`: those that wait for a further attempt "
            "after one that failed. May be repeated."
        ),
        examples=[["failed"]],
    )
    type: Annotated[list[str], Field(max_length=MAX_STATUSES)] = Field(
        [], description="Only tasks of one of these types. May be repeated.", examples=[["report"]]
    )
    label: Annotated[list[Label], Field(max_length=MAX_LABELS)] = Field(
        [], description=LABEL, examples=[["tenant=acme"]]
    )
    concurrency_key: Key | None = Field(
        None, description=WITH_KEY.format("concurrency"), examples=["account-7"]
    )
    unique_key: Key | None = Field(None, description=WITH_KEY.format("unique"), examples=["sync-7"])
    q: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_SEARCH_CHARACTERS,
        pattern=VALUE_PATTERN,
        description=SEARCH,
        examples=["payload.email=johndoe@example.com"],
    )
    created_after: QueryTime | None = Field(
        None, description="Only tasks accepted then or later.", examples=[EXAMPLE_TIME]
    )
    created_before: QueryTime | None = Field(
        None, description="Only tasks accepted before this time.", examples=[EXAMPLE_TIME]
    )
    error: ErrorId | None = Field(None, description=ERROR, examples=[EXAMPLE_ERROR_ID])
    parent: RelatedId | None = Field(None, description=PARENT, examples=[EXAMPLE_ID])
    group: RelatedId | None = Field(None, description=GROUP, examples=[EXAMPLE_ID])
    finished_after: QueryTime | None = Field(
        None, description="Only tasks finished then or later.", examples=[EXAMPLE_TIME]
    )
    finished_before: QueryTime | None = Field(
        None, description="Only tasks finished before this time.", examples=[EXAMPLE_TIME]
    )


class TaskFilter(TaskConditions):
    """The query of a list of tasks."""

    order: Literal["created", "due", "finished"] = Field(
        "created",
        description=(
            "`created`: the newest first. `due`: unfinished tasks, the soonest due first. "
            "`finished`: finished tasks, the last finished first; of those that succeeded, the "
            "newest 10,000 are looked through for that."
        ),
        examples=["created"],
    )
    summary: bool = Field(
        False,
        description=(
            "Without `payload` and `result`; instead `digest`, the beginning of the payload."
        ),
        examples=[True],
    )
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE_TASKS)] = Field(
        50, description="At most so many tasks.", examples=[50]
    )
    cursor: str | None = Field(
        None, description="The `next` of the previous page.", examples=["MTI0NQ"]
    )
