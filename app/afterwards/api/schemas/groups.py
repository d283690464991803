"""The answer about a group."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from afterwards.api.schemas.fields import EXAMPLE_ID, example
from afterwards.api.schemas.tasks import EXAMPLE_DOCUMENT, TaskDocument


class GroupDocument(BaseModel):
    """A group: the numbers of its members, and the task that follows them."""

    model_config = example(
        id=EXAMPLE_ID,
        on="success",
        size=3,
        finished=2,
        succeeded=2,
        failed=0,
        cancelled=0,
        then={
            **EXAMPLE_DOCUMENT,
            "status": "scheduled",
            "run_at": None,
            "waiting_for": {"group": EXAMPLE_ID},
        },
    )

    id: str = Field(description="The id of the task that follows it.")
    on: Literal["success", "finished"]
    size: int = Field(ge=1, description="The number of tasks that were submitted.")
    finished: int = Field(ge=0, description="Those that have ended and are kept.")
    succeeded: int = Field(ge=0)
    failed: int = Field(ge=0)
    cancelled: int = Field(ge=0)
    then: TaskDocument = Field(description="The task that follows it.")
