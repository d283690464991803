"""Query and answers of the log of activity."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from afterwards.api.schemas.fields import example
from afterwards.api.times import EXAMPLE_TIME

MAX_PAGE_ENTRIES: Final = 500

_ENTRY: Final[dict[str, Any]] = {
    "at": EXAMPLE_TIME,
    "actor": None,
    "verb": "retry",
    "object": "tasks",
    "name": "status=failed&type=report",
    "count": 12,
    "outcome": "done",
    "detail": "2 skipped",
    "request_id": "c1f7a9d2b604-18",
}
_AUDITED: Final[dict[str, Any]] = {
    **_ENTRY,
    "actor": "ann",
    "key_id": "k3v9x0m2p7qd",
    "address": "192.0.2.7",
}


class ActivityFilter(BaseModel):
    """The query of the log."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE_ENTRIES)] = Field(
        50, description="At most so many entries.", examples=[50]
    )
    cursor: str | None = Field(
        None, description="The `next` of the previous page.", examples=["MTI0NQ"]
    )


class EntryDocument(BaseModel):
    """One thing that was done by hand, or refused. It has no payloads."""

    model_config = example(**_ENTRY)

    at: str = Field(json_schema_extra={"format": "date-time"})
    actor: str | None = Field(description="The author; null if none had to be given.")
    verb: Literal[
        "cancel",
        "retry",
        "run",
        "delete",
        "change",
        "pause",
        "resume",
        "create",
        "replace",
        "rotate",
        "revoke",
        "turn off",
        "open",
        "end",
        "enable",
        "disable",
        "replay",
        "test",
    ]
    object: Literal["task", "tasks", "task type", "schedule", "webhook", "key", "keys", "session"]
    name: str = Field(description="Its id or name. For `tasks`, the filter or the ids.")
    count: int = Field(ge=0, description="The number of tasks that it was done to.")
    outcome: Literal["done", "refused", "failed", "begun"] = Field(
        description=(
            "`refused`: nothing was changed. `failed`: not all could be done. `begun`: `count` "
            "are done, and more may follow."
        )
    )
    detail: str | None = Field(
        description="The change that came with it, or the reason why it was not done."
    )
    request_id: str | None = Field(description="The `X-Request-ID` of its answer.")


class ActivityDocument(BaseModel):
    """A page of the log, newest first."""

    model_config = example(entries=[_ENTRY], next="MTI0NQ")

    entries: list[EntryDocument]
    next: str | None = Field(description="The `cursor` of the next page; null on the last page.")


class AuditEntryDocument(EntryDocument):
    """An entry of the log, with its key and its address."""

    model_config = example(**_AUDITED)

    key_id: str | None = Field(description="The id of the key that was shown; null: none was.")
    address: str | None = Field(description="The client's address; null on a Unix socket.")


class AuditDocument(BaseModel):
    """A page of the log, newest first."""

    model_config = example(entries=[_AUDITED], next="MTI0NQ")

    entries: list[AuditEntryDocument]
    next: str | None = Field(description="The `cursor` of the next page; null on the last page.")
