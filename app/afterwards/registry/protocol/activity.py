"""The log of activity: what people do by hand, who asked for it, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

MAX_TEXT_CHARACTERS: Final = 500
"""Longer names and details are cut, so that an entry is small."""


class Outcome(StrEnum):
    """The outcome of an act by hand."""

    DONE = "done"
    REFUSED = "refused"
    """Nothing was changed; `detail` says why."""
    FAILED = "failed"
    """It could not be done, or only a part of it; `detail` says why."""
    BEGUN = "begun"
    """A part of it is done. Its process has not said that it ended, and may have died."""


class Bulk(NamedTuple):
    """A call for many tasks, which is carried out in portions and is one entry."""

    id: str
    what: str
    """Which tasks, as text."""
    detail: str | None = None
    """The change that the act makes to tasks, in words."""


class By(NamedTuple):
    """The author of an act by hand."""

    actor: str | None = None
    """None: none had to be given."""
    request_id: str | None = None
    address: str | None = None
    bulk: Bulk | None = None
    """The call that this is a part of."""
    key_id: str | None = None
    """The id of the key that was shown."""


class Entry(NamedTuple):
    """One thing that was done by hand, or refused. It has no payloads."""

    at: float
    verb: str
    object: str
    """`task`, `tasks`, `task type`, `schedule`, `webhook`, `key`, `keys` or `session`."""
    name: str
    """Its id or name; of tasks, which ones."""
    affected: int
    """The number of tasks that it was done to."""
    outcome: str
    detail: str | None = None
    actor: str | None = None
    request_id: str | None = None
    address: str | None = None
    bulk: str | None = None
    """Set: what comes with the same `Bulk.id` later is added to this entry."""
    key_id: str | None = None


class ActivityPage(NamedTuple):
    """Entries, newest first."""

    entries: Sequence[Entry]
    next: int | None
    """`Activity.before` for the next page; None: this was the last."""


def cut(text: str) -> str:
    """A text as an entry can have it."""
    if len(text) <= MAX_TEXT_CHARACTERS:
        return text
    return text[: MAX_TEXT_CHARACTERS - 1] + "…"
