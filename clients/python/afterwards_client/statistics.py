"""The service in numbers, now and in the past, and the calls for them. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from afterwards_client.calls import Call, said

Counts = Sequence[int | None]
Seconds = Sequence[float | None]


@dataclass(frozen=True)
class Slots:
    """Room for attempts of one kind."""

    busy: int
    free: int
    stuck: int
    """Slots of attempts that go on after their time limit."""

    @classmethod
    def by_kind(cls, document: Mapping[str, Any]) -> Mapping[str, Self]:
        """Read those of each kind from JSON."""
        return {
            kind: cls(*(slots.get(state, 0) for state in ("busy", "free", "stuck")))
            for kind, slots in document.items()
        }


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """The service as it is now."""

    version: str
    uptime_seconds: float
    """That of the registry process."""
    workers: int
    tasks: Mapping[str, int]
    """The numbers of stored tasks, by status."""
    retrying: int
    """Those that wait for a further attempt after one that failed."""
    by_type: Mapping[str, Mapping[str, int]]
    submitted: int
    """Tasks ever submitted, including deleted ones."""
    finished_per_second: float
    """Average of about the last ten seconds."""
    oldest_pending_seconds: float
    slots: Mapping[str, Slots]
    """By executor, in all workers together."""
    paused_types: Sequence[str]
    schedules: int
    journal_bytes: int
    """On disk; 0 with the memory registry."""
    document: Mapping[str, Any] = field(repr=False, compare=False)
    """The JSON this was read from."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON.

        Raises:
            KeyError, TypeError: it is something else.
        """
        return cls(
            version=document["version"],
            uptime_seconds=document["uptime_seconds"],
            workers=document["workers"],
            tasks=document["tasks"],
            retrying=document["retrying"],
            by_type=document["by_type"],
            submitted=document["submitted"],
            finished_per_second=document["finished_per_second"],
            oldest_pending_seconds=document["oldest_pending_seconds"],
            slots=Slots.by_kind(document["slots"]),
            paused_types=tuple(document["paused_types"]),
            schedules=document["schedules"],
            journal_bytes=document["journal_bytes"],
            document=document,
        )


@dataclass(frozen=True, kw_only=True)
class Series:
    """Columns with a value for each bucket of time, oldest first; the last is not over yet.

    A value is None where the service was down; a quantile also where there was no attempt.
    """

    range: str
    """`1h`, `24h` or `30d`."""
    step_seconds: int
    """The length of a bucket."""
    type: str | None
    times: Sequence[datetime]
    """The beginning of each bucket."""
    submitted: Counts
    succeeded: Counts
    failed: Counts
    cancelled: Counts
    retried: Counts
    """Attempts that failed and were followed by another."""
    wait_p50: Seconds
    """Seconds that attempts that began in the bucket had waited."""
    wait_p95: Seconds
    wait_p99: Seconds
    run_p50: Seconds
    """Seconds that attempts that ended in the bucket ran."""
    run_p95: Seconds
    run_p99: Seconds
    tasks: Mapping[str, Counts]
    """The numbers of stored tasks at the end of the bucket, by status, and `retrying`."""
    document: Mapping[str, Any] = field(repr=False, compare=False)
    """The JSON this was read from."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: it is no series.
        """
        return cls(
            range=document["range"],
            step_seconds=document["step_seconds"],
            type=document["type"],
            times=tuple(datetime.fromtimestamp(at, UTC) for at in document["times"]),
            submitted=document["submitted"],
            succeeded=document["succeeded"],
            failed=document["failed"],
            cancelled=document["cancelled"],
            retried=document["retried"],
            wait_p50=document["wait_p50"],
            wait_p95=document["wait_p95"],
            wait_p99=document["wait_p99"],
            run_p50=document["run_p50"],
            run_p95=document["run_p95"],
            run_p99=document["run_p99"],
            tasks=document["tasks"],
            document=document,
        )


def now() -> Call[Statistics]:
    """The service on one page."""
    return Call("GET", "/stats", Statistics.of)


def series(**query: str | None) -> Call[Series]:
    """Ask what happened in the past."""
    return Call("GET", "/stats/series", Series.of, params=said(query))
