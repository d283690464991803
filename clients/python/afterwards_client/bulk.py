"""One verb for many tasks, as the service tells what it has done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class _BulkAnswer:
    dry_run: bool
    """Nothing was changed: they were counted only."""
    matched: int
    """The number of tasks that were taken up; in a dry run, the number of those there are, whatever
    the limit."""
    skipped: int
    """Taken up and left as they were: their state had changed, or the new type does not take their
    payload."""
    more: bool
    """There are more that match."""
    interrupted: str | None
    """Why it ended early, with more left to do."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON; members that a later service adds are left out."""
        return cls(**{member.name: document[member.name] for member in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class BulkRetry(_BulkAnswer):
    """The outcome of a retry of many tasks."""

    retried: int


@dataclass(frozen=True, kw_only=True)
class BulkCancel(_BulkAnswer):
    """The outcome of a cancellation of many tasks."""

    cancelled: int
    requested: int
    """They run: their workers were asked to stop them."""
