"""The query and the answers of the routes for groups of failed tasks."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from afterwards.api.schemas.fields import EXAMPLE_ID, Redacted, example
from afterwards.api.times import EXAMPLE_TIME

MAX_GROUPS: Final = 1_000

ERROR_ID: Final = re.compile(r"^[0-9a-f]{16}$")
EXAMPLE_ERROR_ID: Final = "5f0c9a1be27d4c83"
ErrorId = Annotated[str, Field(pattern=ERROR_ID.pattern)]
ErrorIdPath = Annotated[
    str,
    Path(
        description="The group's id: 16 hexadecimal digits.",
        openapi_examples={"group": {"summary": "A group", "value": EXAMPLE_ERROR_ID}},
    ),
]

_GROUP: Final[dict[str, Any]] = {
    "id": EXAMPLE_ERROR_ID,
    "type": "report",
    "message": "ConnectionError: no answer from '…' within # s",
    "count": 12_000,
    "first_seen": EXAMPLE_TIME,
    "last_seen": EXAMPLE_TIME,
    "series": [*(0 for _ in range(22)), 8_000, 4_000],
    "sample_ids": [EXAMPLE_ID],
}


class ErrorGroupDocument(Redacted):
    """Tasks of one type that are failed now, with the same error but for details."""

    model_config = example(**_GROUP)

    id: str = Field(pattern=ERROR_ID.pattern)
    type: str
    message: str | None = Field(
        description=(
            "Their error. `#` stands for numbers, `<id>` for UUIDs and hexadecimal ids, `…` for "
            "what is in quotes. At most 500 characters."
        )
    )
    count: int = Field(ge=1, description="The number of tasks in the group.")
    first_seen: str = Field(
        json_schema_extra={"format": "date-time"},
        description="The time at which the first task failed since the group was empty.",
    )
    last_seen: str = Field(json_schema_extra={"format": "date-time"})
    series: list[int] = Field(
        min_length=24,
        max_length=24,
        description=(
            "The number of failures in each of the last 24 hours, oldest first, whatever has "
            "become of them since."
        ),
    )
    sample_ids: list[str] = Field(max_length=3, description="The newest tasks of the group.")


class ErrorGroupList(BaseModel):
    """Groups of the tasks that are failed now."""

    model_config = example(groups=[_GROUP], ungrouped=0)

    groups: list[ErrorGroupDocument]
    ungrouped: int = Field(
        ge=0, description="Failed tasks in no group, because there were 1,000 groups already."
    )


class ErrorFilter(BaseModel):
    """The query of a list of groups."""

    model_config = ConfigDict(extra="forbid")

    type: str | None = Field(None, description="Only of tasks of this type.", examples=["report"])
    order: Literal["count", "latest"] = Field(
        "count",
        description="`count`: the largest first. `latest`: the one seen last first.",
        examples=["latest"],
    )
    limit: Annotated[int, Field(ge=1, le=MAX_GROUPS)] = Field(
        MAX_GROUPS, description="At most so many groups.", examples=[5]
    )
