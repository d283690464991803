"""Failed tasks by their error, and the calls for them. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from afterwards_client.calls import Call, said, segment


@dataclass(frozen=True, kw_only=True)
class ErrorGroup:
    """The tasks of one type that are failed now for one reason."""

    id: str
    """Lists, counts and bulk verbs take it as `error`."""
    type: str
    message: str | None
    """Their error; None: the client's key does not see it. `#` stands for numbers, `<id>` for ids,
    `…` for what is in quotes."""
    count: int
    first_seen: datetime
    """The time when the first one failed since the group was empty."""
    last_seen: datetime
    series: Sequence[int]
    """The numbers of those that failed in each of the last 24 hours, oldest first, whatever has
    become of them."""
    sample_ids: Sequence[str]
    """The newest tasks, up to three."""
    document: Mapping[str, Any] = field(repr=False, compare=False)
    """The JSON this was read from."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON.

        Raises:
            KeyError, TypeError, ValueError: it is no group.
        """
        return cls(
            id=document["id"],
            type=document["type"],
            message=document["message"],
            count=document["count"],
            first_seen=datetime.fromisoformat(document["first_seen"]),
            last_seen=datetime.fromisoformat(document["last_seen"]),
            series=tuple(document["series"]),
            sample_ids=tuple(document["sample_ids"]),
            document=document,
        )


@dataclass(frozen=True)
class ErrorGroups:
    """Groups of the tasks that are failed now."""

    groups: Sequence[ErrorGroup]
    ungrouped: int
    """Failed tasks in no group, because there were as many groups as there may be."""


def listing(**query: str | int | None) -> Call[ErrorGroups]:
    """The groups."""

    def read(document: Any) -> ErrorGroups:
        groups = tuple(ErrorGroup.of(one) for one in document["groups"])
        return ErrorGroups(groups, document["ungrouped"])

    params = {name: str(value) for name, value in said(query).items()}
    return Call("GET", "/errors", read, params=params)


def get(error_id: str) -> Call[ErrorGroup]:
    """One group."""
    return Call("GET", f"/errors/{segment(error_id, 'id of an error')}", ErrorGroup.of)
