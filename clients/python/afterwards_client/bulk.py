"""One verb for many tasks: what is sent, and what the service has done. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Final, Self, TypeVar

from afterwards_client.calls import Call, said
from afterwards_client.errors import ConnectionFailed, InvalidArgument, Unavailable
from afterwards_client.flows import Flow, perform
from afterwards_client.retries import Retries
from afterwards_client.selection import members

LARGEST_PART: Final = 10_000
"""So many tasks the service takes up in one request."""

MOST_IDS: Final = 1_000
"""So many it takes by their ids."""

_BULK_SECONDS: Final = 60.0
"""So long the service may be about ten thousand tasks, payloads validated anew and all."""


@dataclass(frozen=True, kw_only=True)
class _BulkAnswer:
    path: ClassVar[str]
    """The place of the verb."""

    dry_run: bool
    """Nothing was changed: they were counted only."""
    matched: int
    """The number of tasks that were taken up; in a dry run, of those there are, whatever the limit.
    Where no index answers, a dry run counts until there are more than the limit."""
    skipped: int
    """Taken up and left as they were: their state had changed, there is no such id, or the new type
    does not take their payload."""
    more: bool
    """There are more that match."""
    interrupted: str | None
    """Why it ended early, with more left to do."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON; members that a later service adds are left out."""
        return cls(**{member.name: document[member.name] for member in fields(cls)})

    def followed_by(self, later: Self) -> Self:
        """The outcome of both together."""
        numbers = {
            member.name: getattr(self, member.name) + getattr(later, member.name)
            for member in fields(self)
            if member.type == "int"
        }
        return replace(later, **numbers)


@dataclass(frozen=True, kw_only=True)
class BulkRetry(_BulkAnswer):
    """The outcome of a retry of many tasks."""

    path = "/tasks/retry"

    retried: int


@dataclass(frozen=True, kw_only=True)
class BulkCancel(_BulkAnswer):
    """The outcome of a cancellation of many tasks."""

    path = "/tasks/cancel"

    cancelled: int
    requested: int
    """They run: their workers were asked to stop them."""


@dataclass(frozen=True, kw_only=True)
class BulkRun(_BulkAnswer):
    """The outcome of running many tasks now."""

    path = "/tasks/run"

    run: int
    """They are due."""


@dataclass(frozen=True, kw_only=True)
class BulkDelete(_BulkAnswer):
    """The outcome of a deletion of many tasks."""

    path = "/tasks/delete"

    deleted: int


B = TypeVar("B", BulkRetry, BulkCancel, BulkRun, BulkDelete)


def carry_out(
    kind: type[B],
    conditions: Mapping[str, Any],
    retries: Retries,
    *,
    ids: Sequence[str] | None,
    limit: int | None,
    dry_run: bool,
    **changes: Any,
) -> Flow[B]:
    """Do it to all that fit, in as many requests as it takes.

    It goes on while the service has `more`, up to `limit`: so what fits again meanwhile, such as a
    retried task that has failed anew, keeps it from its end no longer than that.

    Args:
        kind: what the verb answers with.
        ids: those with these ids, in place of conditions.
        changes: other members of the body; None is none.

    Raises:
        InvalidArgument: conditions were given, and all of them are None.
        ConnectionFailed, Unavailable: there was none for the first request. Later ones are told as
            `interrupted`.
    """
    found = members(conditions)
    if conditions and not found:
        # What was to narrow the choice down is missing: that is not meant for all tasks.
        problem = "all its conditions are None; without any of them it stands for all tasks"
        raise InvalidArgument("choice of tasks", problem)
    body = found | said(changes)
    rest = None if ids is None else list(dict.fromkeys(ids))
    left = limit
    total: B | None = None
    while True:
        part = body | said({"limit": None if left is None else min(left, LARGEST_PART)})
        if rest is not None:
            part["ids"], rest = rest[:MOST_IDS], rest[MOST_IDS:]
        try:
            answer = yield from perform(_call(kind, part, dry_run=dry_run), retries)
        except (ConnectionFailed, Unavailable) as error:
            if total is None:
                raise
            return replace(total, more=True, interrupted=str(error))
        total = answer if total is None else total.followed_by(answer)
        if left is not None and not dry_run:
            left -= answer.matched
        if rest is None:
            goes_on = left is not None and not dry_run and answer.more and answer.matched > 0
        else:
            goes_on = bool(rest)
        if answer.interrupted or not goes_on or (left is not None and left <= 0):
            return replace(total, more=answer.more or bool(rest))


def _call(kind: type[B], body: Mapping[str, Any], *, dry_run: bool) -> Call[B]:
    return Call(
        "POST",
        kind.path,
        kind.of,
        body={**body, "dry_run": dry_run},
        # It would take up others than those that it has taken up unanswered.
        repeatable=dry_run,
        wait_seconds=_BULK_SECONDS,
    )
