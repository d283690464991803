"""Answers for keys that may not see payloads: the states of tasks, and nothing of their content."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from afterwards.lifecycle import Task
from afterwards.registry.protocol.answers import (
    Details,
    ErrorPage,
    Event,
    Existing,
    Page,
    SchedulePage,
)
from afterwards.schedules.schedule import Schedule

HIDDEN: Final = bytes(bytearray(b"null"))
"""Stands in the place of a payload. The API, which shows the task, asks for it by its identity."""

NO_REASON: Final = ""
"""Stands in the place of an event's reason, which may quote an error."""


def hidden_task(task: Task) -> Task:
    """A task without payload, result, error and artifacts."""
    return replace(task, payload=HIDDEN, result=None, error=None, artifacts=None)


def hidden_existing(existing: Existing) -> Existing:
    """The answer with such a task."""
    return Existing(hidden_task(existing.task))


def hidden_details(details: Details) -> Details:
    """The same with its history, without progress, log lines and tracebacks."""
    attempts = [
        record._replace(error=None, log_lines=(), traceback=None) for record in details.attempts
    ]
    return Details(hidden_task(details.task), attempts, None, details.waiting, details.children)


def hidden_page(page: Page) -> Page:
    """A page of such tasks."""
    return page._replace(tasks=[hidden_task(task) for task in page.tasks], progress={})


def hidden_schedule(schedule: Schedule) -> Schedule:
    """A schedule without the payload of its tasks."""
    return replace(schedule, pattern=hidden_task(schedule.pattern))


def hidden_schedules(page: SchedulePage) -> SchedulePage:
    """A page of such schedules."""
    return page._replace(schedules=[hidden_schedule(one) for one in page.schedules])


def hidden_errors(page: ErrorPage) -> ErrorPage:
    """Groups of errors without their messages."""
    return page._replace(groups=[group._replace(message="") for group in page.groups])


def hidden_event(event: Event) -> Event | None:
    """An event without its reason; None: it tells progress, and nothing else."""
    return None if event.progress is not None else event._replace(reason=NO_REASON)
