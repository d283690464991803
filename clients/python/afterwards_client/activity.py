"""The log of what was done by hand. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from afterwards_client.pages import Listing
from afterwards_client.retries import Retries


@dataclass(frozen=True, kw_only=True)
class ActivityEntry:
    """One thing that was done by hand, or refused. A call for many tasks is one."""

    at: datetime
    actor: str | None
    """The one who has asked for it; None: the service did not ask who it was."""
    verb: str
    """`cancel`, `retry`, `run`, `delete`, `change`, `pause`, `resume`, `create`, `replace`."""
    object: str
    """`task`, `tasks`, `task type`, `schedule`."""
    name: str
    """Its id or name; of `tasks`, the conditions or the ids."""
    count: int
    """To how many it was done."""
    outcome: str
    """`done`; `refused`, which changed nothing; `failed`, if only a part was done; `begun`, if
    nothing has said that `count` are all."""
    detail: str | None
    request_id: str | None
    """The `X-Request-ID` of the answer."""
    document: Mapping[str, Any] = field(repr=False, compare=False)
    """The JSON this was read from."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON.

        Raises:
            KeyError, TypeError, ValueError: it is no entry.
        """
        return cls(
            at=datetime.fromisoformat(document["at"]),
            actor=document["actor"],
            verb=document["verb"],
            object=document["object"],
            name=document["name"],
            count=document["count"],
            outcome=document["outcome"],
            detail=document["detail"],
            request_id=document["request_id"],
            document=document,
        )


def listing(limit: int | None, retries: Retries) -> Listing[ActivityEntry]:
    """All entries, newest first."""
    return Listing("/activity", "entries", ActivityEntry.of, limit=limit, retries=retries, query={})
