"""The document of a schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from afterwards.api.encoding import REDACTED, raw
from afterwards.api.times import shown_time
from afterwards.registry.protocol.answers import DueTask
from afterwards.schedules.schedule import Schedule
from afterwards.service.hidden import HIDDEN

RUNS_SHOWN: Final = 5


def schedule_document(
    schedule: Schedule, now: float, *, with_payload: bool = True
) -> dict[str, Any]:
    """A schedule, with its next due times after `now`."""
    pattern = schedule.pattern
    members: dict[str, Any] = {
        "name": schedule.name,
        "type": pattern.type,
        "cron": schedule.cron,
        "every_seconds": schedule.every_seconds,
        "timezone": schedule.timezone,
        "catch_up": schedule.catch_up,
        "paused": schedule.paused,
        "priority": pattern.priority,
        "max_attempts": pattern.max_attempts,
        "timeout_seconds": pattern.timeout_seconds,
        "labels": {} if pattern.labels is None else raw(pattern.labels),
        "concurrency_key": pattern.concurrency_key,
        "unique_key": pattern.unique_key,
        "created_at": shown_time(schedule.created_at),
        "last_due": _time_or_none(schedule.last_due),
        "last_task_id": schedule.last_task_id,
        "last_skipped": _time_or_none(schedule.last_skipped),
        "module": schedule.module,
        "gone": schedule.gone,
        "next_runs": [shown_time(due) for due in schedule.next_runs(RUNS_SHOWN, now)],
    }
    if with_payload:
        members["payload"] = raw(pattern.payload)
        if pattern.payload is HIDDEN:
            members |= REDACTED
    return members


def _time_or_none(moment: float | None) -> str | None:
    return None if moment is None else shown_time(moment)


def results_document(tasks: Sequence[DueTask]) -> list[dict[str, str]]:
    """The tasks of a schedule's latest due times."""
    return [
        {"task_id": task_id, "due": shown_time(due), "status": str(state)}
        for task_id, due, state in tasks
    ]
