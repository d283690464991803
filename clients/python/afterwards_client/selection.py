"""Which tasks a list, a count or a verb for many is about. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypedDict

from afterwards_client.calls import said


class Conditions(TypedDict, total=False):
    """Conditions that a task has to meet, all of them; None is no condition."""

    status: str | Sequence[str] | None
    """It is in this state, or in one of these; `retrying` is one, too: it waits for a further
    attempt after one that failed."""
    type: str | Sequence[str] | None
    """It is of this task type, or of one of these."""
    labels: Mapping[str, str | None] | None
    """It has all of these labels; None as a value stands for any."""
    concurrency_key: str | None
    """It has this key; so for `unique_key`."""
    unique_key: str | None
    q: str | None
    """Its id begins so, or its payload or error contains it; `payload.customer.id=7`: its payload
    has this value there."""
    error: str | None
    """It is failed, in the group of errors with this id."""
    parent: str | None
    """The task of this id has submitted it."""
    group: str | None
    """It is a member of this group."""
    created_after: datetime | None
    """It was accepted at this time or later."""
    created_before: datetime | None
    """It was accepted before this time."""
    finished_after: datetime | None
    """It was finished at this time or later."""
    finished_before: datetime | None
    """It was finished before this time."""


_NAMES: Final = tuple(Conditions.__annotations__)


def members(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """The conditions as a query or a body has them.

    Raises:
        TypeError: one of them is none.
    """
    for name in conditions:
        if name not in _NAMES:
            raise TypeError(f"{name!r} is no condition; there are {', '.join(_NAMES)}")
    found = said(conditions)
    labels = found.pop("labels", None)
    if labels is not None:
        found["label"] = [
            key if value is None else f"{key}={value}" for key, value in labels.items()
        ]
    return found
