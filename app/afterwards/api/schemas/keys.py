"""The bodies, queries and answers of the routes for keys."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, model_validator

from afterwards.access.key import LONGEST_NAME
from afterwards.api.schemas.fields import Time, example
from afterwards.api.schemas.requests import Labels, Sent
from afterwards.api.times import EXAMPLE_TIME
from afterwards.labels import VALUE_PATTERN

MAX_PAGE_KEYS: Final = 500
MAX_TYPES: Final = 100
DAY: Final = 86_400
MAX_OVERLAP_SECONDS: Final = 30 * DAY
EXAMPLE_KEY_ID: Final = "k3v9x0m2p7qd"
_EXAMPLE_TOKEN: Final = f"aw_{EXAMPLE_KEY_ID}_{'x' * 43}"

KeyId = Annotated[
    str,
    Path(
        description="The id of a key, as `GET /keys` lists it. Any other text is an unknown id.",
        openapi_examples={"key": {"summary": "A key's id", "value": EXAMPLE_KEY_ID}},
    ),
]

Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME, pattern=VALUE_PATTERN)]
_Count = Annotated[int, Field(ge=1, le=2**53)]
KeyRole = Literal["viewer", "submitter", "operator", "admin"]
KeyGrant = Literal["submit", "metrics"]

_DEFINITION: Final[dict[str, Any]] = {
    "name": "shop",
    "role": "submitter",
    "types": ["email"],
    "limits": {"requests_per_second": 50, "pending_tasks": 1000},
}
_DOCUMENT: Final[dict[str, Any]] = {
    "id": EXAMPLE_KEY_ID,
    "name": "shop",
    "principal": "shop",
    "role": "submitter",
    "grants": [],
    "types": ["email"],
    "labels": None,
    "payloads": False,
    "limits": {
        "requests_per_second": 50,
        "burst": None,
        "pending_tasks": 1000,
        "pending_bytes": None,
        "streams": None,
        "waits": None,
    },
    "state": "valid",
    "created_at": EXAMPLE_TIME,
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": None,
    "replaced_by": None,
}


class KeyLimits(Sent):
    """The bounds of a key's use, by all workers together. Null: there is none."""

    requests_per_second: Annotated[float, Field(gt=0, le=1e6)] | None = None
    burst: _Count | None = Field(None, description="Requests at once, above the rate.")
    pending_tasks: _Count | None = Field(None, description="Unfinished tasks.")
    pending_bytes: _Count | None = Field(
        None, description="The payloads of unfinished tasks, in bytes."
    )
    streams: _Count | None = Field(None, description="Streams of events at once.")
    waits: _Count | None = Field(None, description="Requests with `?wait` at once.")


class NewKey(Sent):
    """A key to make: a name, and a role or single grants."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DEFINITION]})

    name: Name = Field(description="The name of its holder. No two valid keys have the same.")
    principal: Name | None = Field(
        None, description="The owner of what is submitted with it; by default the name."
    )
    role: KeyRole | None = Field(None, description="Send this or `grants`.")
    grants: Annotated[list[KeyGrant], Field(max_length=2)] = Field(
        default_factory=list, description="Single rights of a key without a role."
    )
    types: Annotated[list[Name], Field(min_length=1, max_length=MAX_TYPES)] | None = Field(
        None, description="The task types that it reaches; by default all."
    )
    labels: Labels | None = Field(
        None, description="It reaches tasks with all these labels only; by default all tasks."
    )
    payloads: bool = Field(
        False, description="True if the key sees payloads, results, errors and what tasks print."
    )
    limits: KeyLimits = Field(default_factory=KeyLimits)
    expires_at: Time | None = Field(None, description="The end of its validity; by default none.")

    @model_validator(mode="after")
    def _has_one_kind_of_right(self) -> Self:
        if (self.role is None) == (not self.grants):
            raise ValueError("send one of role and grants")
        return self


class Rotation(Sent):
    """The end of the old key."""

    model_config = example(overlap_seconds=DAY)

    overlap_seconds: Annotated[float, Field(ge=0, le=MAX_OVERLAP_SECONDS)] = Field(
        DAY, description="The time for which the old key stays valid; at most 30 days."
    )


class KeyLimitsDocument(BaseModel):
    """The bounds of a key's use; null: there is none."""

    requests_per_second: float | None
    burst: int | None
    pending_tasks: int | None
    pending_bytes: int | None
    streams: int | None
    waits: int | None


class KeyDocument(BaseModel):
    """A key, without its secret."""

    model_config = example(**_DOCUMENT)

    id: str
    name: str
    principal: str = Field(description="The owner of what is submitted with it.")
    role: KeyRole | None
    grants: list[KeyGrant]
    types: list[str] | None = Field(description="The task types that it reaches; null: all.")
    labels: dict[str, str] | None = Field(
        description="The labels of the tasks that it reaches; null: all tasks."
    )
    payloads: bool
    limits: KeyLimitsDocument
    state: Literal["valid", "expired", "revoked"]
    created_at: str = Field(json_schema_extra={"format": "date-time"})
    expires_at: str | None = Field(json_schema_extra={"format": "date-time"})
    revoked_at: str | None = Field(json_schema_extra={"format": "date-time"})
    last_used_at: str | None = Field(
        description="The last use, to the minute; null: none is known.",
        json_schema_extra={"format": "date-time"},
    )
    replaced_by: str | None = Field(description="The key that a rotation made in its place.")


class IssuedKeyDocument(KeyDocument):
    """A new key, with its token. The token cannot be read again."""

    model_config = example(**_DOCUMENT, token=_EXAMPLE_TOKEN)

    token: str = Field(description="Send it as `Authorization: Bearer TOKEN`.")


class KeyPage(BaseModel):
    """A page of keys, the newest first."""

    model_config = example(keys=[_DOCUMENT], next=EXAMPLE_KEY_ID)

    keys: list[KeyDocument]
    next: str | None = Field(description="The `cursor` of the next page; null on the last page.")


class KeyFilter(BaseModel):
    """The query of a list of keys."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE_KEYS)] = Field(
        100, description="At most so many keys.", examples=[100]
    )
    cursor: str | None = Field(
        None, description="The `next` of the previous page.", examples=["azN2OXgwbTJwN3Fk"]
    )
