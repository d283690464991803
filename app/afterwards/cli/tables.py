"""Tables of what the service has, with a row for each thing, for every way to print them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from afterwards_client import (
    ActivityEntry,
    ErrorGroup,
    Schedule,
    Series,
    TaskType,
    Webhook,
    Workers,
)

Cell = str | int | float | bool | datetime | None


class Rows(NamedTuple):
    """A table: as rows for people and pipes, and as documents for programs."""

    columns: Sequence[str]
    rows: Iterable[Sequence[Cell]]
    documents: Iterable[Mapping[str, Any]]
    nothing: str
    """The words for a table without rows."""


def of_schedules(schedules: Sequence[Schedule]) -> Rows:
    """Schedules by name."""
    return Rows(
        ("name", "type", "recurrence", "paused", "next", "last task", "latest tasks", "module"),
        [
            (
                one.name,
                one.type,
                recurrence(one),
                one.paused,
                one.next_runs[0] if one.next_runs else None,
                one.last_task_id,
                outcomes(one),
                f"{one.module} (gone)" if one.gone else one.module,
            )
            for one in schedules
        ],
        [one.document for one in schedules],
        "no schedules",
    )


def recurrence(schedule: Schedule) -> str:
    """The recurrence of a schedule in words."""
    if schedule.cron is not None:
        return f"{schedule.cron} {schedule.timezone}"
    return f"every {schedule.every_seconds:g} s"


def outcomes(schedule: Schedule) -> str:
    """The states of the latest tasks of a schedule, each with how many there are."""
    numbers = Counter(one.status for one in schedule.results or ())
    return ", ".join(f"{number} {status}" for status, number in numbers.items())


def of_webhooks(webhooks: Sequence[Webhook]) -> Rows:
    """Webhooks by name."""
    return Rows(
        ("name", "state", "url", "events", "types", "failing since"),
        [
            (
                one.name,
                "enabled" if one.enabled else f"disabled: {one.disabled_because}",
                one.url,
                ", ".join(one.events),
                ", ".join(one.types) or "all",
                one.failing_since,
            )
            for one in webhooks
        ],
        [one.document for one in webhooks],
        "no webhooks",
    )


def of_types(types: Sequence[TaskType]) -> Rows:
    """Task types with their numbers of tasks."""
    states = ("scheduled", "pending", "processing", "success", "failed", "cancelled")
    return Rows(
        ("type", "executor", "paused", *states),
        [
            (one.name, one.executor, one.paused, *(one.tasks.get(state, 0) for state in states))
            for one in types
        ],
        [one.document for one in types],
        "no task types",
    )


def of_workers(found: Workers) -> Rows:
    """Workers, each with its hosts and slots, and the registry process."""
    rows: list[Sequence[Cell]] = []
    for worker in found.workers:
        slots = ", ".join(
            f"{kind} {one.busy}/{one.busy + one.free}" + (f" ({one.stuck} stuck)" * bool(one.stuck))
            for kind, one in worker.slots.items()
        )
        state = "draining" if worker.draining else "running"
        rows.append(("worker", worker.pid, state, worker.memory_bytes, worker.running_total, slots))
        rows += [
            ("host", host.pid, host.state, host.memory_bytes, host.attempts, host.kind)
            for host in worker.hosts
        ]
    registry = found.registry
    rows.append(("registry", registry.pid, "running", registry.memory_bytes, None, None))
    columns = ("process", "pid", "state", "memory bytes", "attempts", "slots busy, kind")
    return Rows(columns, rows, [found.document], "no workers")


def of_errors(groups: Sequence[ErrorGroup]) -> Rows:
    """Groups of errors."""
    return Rows(
        ("id", "tasks", "type", "last seen", "error"),
        [(one.id, one.count, one.type, one.last_seen, one.message) for one in groups],
        [one.document for one in groups],
        "no failed tasks",
    )


def of_activity(entries: Sequence[ActivityEntry]) -> Rows:
    """Things that were done by hand."""
    return Rows(
        ("time", "by", "verb", "object", "name", "count", "outcome", "detail"),
        [(e.at, e.actor, e.verb, e.object, e.name, e.count, e.outcome, e.detail) for e in entries],
        [one.document for one in entries],
        "nothing was done by hand",
    )


def of_series(series: Series) -> Rows:
    """Buckets of time, oldest first."""
    counts = ("submitted", "succeeded", "failed", "cancelled", "retried")
    quantiles = ("wait_p50", "wait_p95", "wait_p99", "run_p50", "run_p95", "run_p99")
    columns = (series.times, *(getattr(series, name) for name in (*counts, *quantiles)))
    names = ("time", *counts, *(name.replace("_", " ") for name in quantiles))
    return Rows(names, list(zip(*columns, strict=True)), [series.document], "no buckets")
