"""Schedules: tasks that come again, at times that a cron expression or a period gives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from afterwards.lifecycle import Task
from afterwards.schedules.recurrence import Cron, Every, Recurrence

# A name of dots only would be taken for a step in the path of a URL.
NAME: Final = re.compile(r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$")


@dataclass(frozen=True)
class Schedule:
    """A recurrence, and the task it makes at each due time. All times are POSIX timestamps."""

    name: str
    pattern: Task
    """The pattern of its tasks; has no id and no times."""
    cron: str | None
    """Five fields, as crontab(5) has them; None: `every_seconds` is set."""
    every_seconds: float | None
    timezone: str
    """An IANA name; what a cron expression's hours are of."""
    catch_up: bool
    """True if due times that were missed while the service was down are made up for: each gets its
    task once, late."""
    created_at: float
    paused: bool = False
    next_due: float | None = None
    """None while it rests, and if no time is left that fits the expression."""
    last_due: float | None = None
    last_task_id: str | None = None
    last_skipped: float | None = None
    """The latest due time without a task, because an unfinished one had its unique key."""
    module: str | None = None
    """The task module that declares it; None: it was put by hand."""
    gone: bool = False
    """True if the module declares it no longer: it rests, whether or not it is paused."""

    @property
    def rests(self) -> bool:
        """True if no due time of it comes."""
        return self.paused or self.gone

    @property
    def recurrence(self) -> Recurrence:
        """The recurrence that gives its due times; equal ones give the same."""
        if self.cron is not None:
            return Cron(self.cron, self.timezone)
        assert self.every_seconds is not None
        return Every(self.every_seconds, self.created_at)

    def task(self, task_id: str, due: float, now: float) -> Task:
        """The task of one due time."""
        return self.pattern.recurred(task_id, self.name, due_key(self.name, due), due, now)

    def task_now(self, task_id: str, now: float) -> Task:
        """One task more, beside those of its due times."""
        return self.pattern.made_by_hand(task_id, self.name, now)

    def next_runs(self, count: int, now: float) -> list[float]:
        """Its next due times after `now`; none while it rests."""
        due = self.next_due
        if due is None:
            return []
        if due <= now:
            return list(self.recurrence.following(now, count))
        return [due, *self.recurrence.following(due, count - 1)]


def due_key(name: str, due: float) -> str:
    """The idempotency key of the one task of a due time.

    No client can send it: header lines have no line breaks. Where a task has a `schedule`, its key
    is of this kind, and not for people.
    """
    return f"\n{name}\n{due!r}"


def due_keys(name: str) -> tuple[str, str]:
    """The bounds of the keys of all due times of a schedule; they sort as the times do."""
    return f"\n{name}\n", f"\n{name}\v"


def due_of(key: str) -> float:
    """The due time that a `due_key` is of."""
    return float(key.rpartition("\n")[2])
