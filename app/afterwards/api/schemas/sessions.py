"""The body and the answer of the routes for sessions."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, Field

from afterwards.api.schemas.fields import example
from afterwards.api.schemas.keys import EXAMPLE_KEY_ID, KeyGrant, KeyRole
from afterwards.api.schemas.requests import Sent
from afterwards.api.times import EXAMPLE_TIME

_LONGEST_TOKEN: Final = 200
_EXAMPLE_TOKEN: Final = f"aw_{EXAMPLE_KEY_ID}_{'x' * 43}"
_EXAMPLE_KEY: Final[dict[str, Any]] = {
    "id": EXAMPLE_KEY_ID,
    "name": "ann",
    "role": "operator",
    "grants": [],
    "types": None,
    "labels": None,
    "payloads": True,
    "expires_at": None,
}


class Login(Sent):
    """The token of a key."""

    model_config = example(token=_EXAMPLE_TOKEN)

    token: str = Field(max_length=_LONGEST_TOKEN, description="The token of a valid key.")


class OwnKeyDocument(BaseModel):
    """A key, as its holder sees it. No token is in it."""

    model_config = example(**_EXAMPLE_KEY)

    id: str
    name: str
    role: KeyRole | None = Field(description="Null: the key has `grants` only.")
    grants: list[KeyGrant]
    types: list[str] | None = Field(description="The task types that it reaches; null: all.")
    labels: dict[str, str] | None = Field(
        description="The labels of the tasks that it reaches; null: all tasks."
    )
    payloads: bool = Field(
        description="True if it sees payloads, results, errors and what tasks print."
    )
    expires_at: str | None = Field(description="The end of its validity; null: never.")


class SessionDocument(BaseModel):
    """The sender of the request, as the service knows it."""

    model_config = example(keys_required=True, key=_EXAMPLE_KEY, ends_at=EXAMPLE_TIME)

    keys_required: bool = Field(description="False: anybody may do everything.")
    key: OwnKeyDocument | None = Field(description="The key that was shown; null: no valid one.")
    ends_at: str | None = Field(
        description="The end of the browser's session; null: the key itself was shown, or none."
    )
