"""Schedules: tasks that come again, at times that a cron expression or a period gives."""

from __future__ import annotations

from dataclasses import dataclass

from app.lifecycle import Task


@dataclass(frozen=True)
class Schedule:
    """A recurrence, and the task it makes at each due time. All times are POSIX timestamps."""

    name: str
    pattern: Task
    """What each of its tasks is like; has no id and no times."""
    cron: str | None
    """Five fields, as crontab(5) has them; None: `every_seconds` is set."""
    every_seconds: float | None
    timezone: str
    """An IANA name; what a cron expression's hours are of."""
    catch_up: bool
    """Whether times that were missed, because the service was down, are made up for: each gets
    its task once, late."""
    created_at: float
    paused: bool = False
    next_due: float | None = None
    """None while paused, and if no time is left that fits the expression."""
    last_due: float | None = None
    last_task_id: str | None = None
