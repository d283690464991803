"""Tasks and events in words: what every way to print them says alike.

Whatever would break a line, or a terminal, is a space in them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from afterwards_client import (
    Cancellation,
    Event,
    LiveStatistics,
    ProgressEvent,
    ResetEvent,
    StateEvent,
    Task,
    TaskEvent,
)

_OUTCOMES: Mapping[str, str] = {
    "prevented": "cancelled before it started",
    "stopped": "stopped while it ran",
    "finished": "not cancelled: it was finished first",
    "unstoppable": "asked to stop; it runs in a thread, which ends by itself or at its time limit",
    "requested": "asked to stop; its worker has not answered yet",
}
"""The outcomes of a cancellation, in words."""


def described_cancellation(cancellation: Cancellation) -> str:
    """The outcome of a cancellation, on one line."""
    said = f"{one_line(cancellation.task.id)}: {_OUTCOMES[cancellation.outcome]}"
    children = cancellation.children
    if children is None:
        return said
    more = "; there may be more: cancel it once more" if children.more else ""
    counts = f"{children.cancelled:,} cancelled, {children.requested:,} asked to stop"
    return f"{said}; children: {counts}{more}"


def cancellation_document(cancellation: Cancellation) -> dict[str, Any]:
    """The outcome of a cancellation as JSON."""
    children = cancellation.children
    return {
        "outcome": cancellation.outcome,
        "task": cancellation.task.document,
        "children": None if children is None else asdict(children),
    }


def fields(task: Task) -> list[tuple[str, str]]:
    """All about a task that there is to say, by name."""
    document = task.document
    found = []
    for name, value in document.items():
        if name not in ("history", "log_lines") and value is not None:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            found.append((name, one_line(text)))
    for one in document.get("history", ()):
        outcome = one["outcome"] or "running"
        error = f": {one['error']}" if one["error"] else ""
        found.append((f"attempt {one['attempt']}", one_line(f"{outcome}{error}")))
    return found


def log_lines(task: Task) -> list[str] | None:
    """The output of an attempt, line by line; None: it was not asked for."""
    lines = task.document.get("log_lines")
    return None if lines is None else [one_line(line) for line in lines]


def tracebacks(task: Task) -> list[tuple[int, list[str]]]:
    """The tracebacks of attempts that have one, line by line, with the attempt's number."""
    found = []
    for one in task.document.get("history", ()):
        if one.get("traceback"):
            lines = [one_line(line) for line in one["traceback"].splitlines()]
            found.append((one["attempt"], lines))
    return found


def cell(value: object) -> str:
    """A value in a table, as it stays the same everywhere: times in UTC, nothing as nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value.isoformat() if isinstance(value, datetime) else one_line(str(value))


def flat(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """All that a document has to say, by the path to it."""
    found: list[tuple[str, str]] = []
    for name, value in document.items():
        if value is None:
            continue
        if isinstance(value, Mapping):
            found += [(f"{name}.{below}", text) for below, text in flat(value)]
        elif isinstance(value, list):
            found.append((name, ", ".join(map(cell, value))))
        else:
            found.append((name, cell(value)))
    return found


def described(event: Event) -> str:
    """An event on one line."""
    if isinstance(event, StateEvent):
        reason = f" ({event.reason})" if event.reason else ""
        words = f"{event.type}  attempt {event.attempt}  {event.status}{reason}"
        return one_line(f"{event.at.isoformat()}  {event.task_id}  {words}")
    if isinstance(event, ProgressEvent):
        message = f" ({event.message})" if event.message else ""
        words = f"{event.type}  attempt {event.attempt}  {event.fraction:.0%}{message}"
        return one_line(f"{event.at.isoformat()}  {event.task_id}  {words}")
    if isinstance(event, TaskEvent):
        return one_line(f"{event.task.id}  {event.task.type}  {event.task.status}")
    counts = "; ".join(
        f"{name}: " + ", ".join(f"{count} {status}" for status, count in states.items() if count)
        for name, states in event.counts.items()
        if any(states.values())
    )
    return one_line(f"from here on; tasks now: {counts or 'none'}")


def described_moment(moment: LiveStatistics) -> str:
    """The service at one moment, on one line."""
    tasks = ", ".join(f"{number} {status}" for status, number in moment.tasks.items() if number)
    rates = ", ".join(f"{rate:.1f}/s {what}" for what, rate in moment.per_second.items())
    paused = f"; paused: {', '.join(moment.paused_types)}" if moment.paused_types else ""
    return one_line(f"{moment.at.isoformat()}  {tasks or 'no tasks'}  {rates}{paused}")


def event_document(event: Event) -> dict[str, Any]:
    """An event as JSON."""
    if isinstance(event, TaskEvent):
        return {"event": "task", "id": event.id, "task": event.task.document}
    kinds = {StateEvent: "state", ProgressEvent: "progress", ResetEvent: "reset"}
    members = {
        name: value if isinstance(value, str | int | float | dict | None) else value.isoformat()
        for name, value in vars(event).items()
    }
    return {"event": kinds[type(event)], **members}


def one_line(text: str) -> str:
    """Without what breaks lines or commands a terminal: the text may be a stranger's."""
    return "".join(character if character.isprintable() else " " for character in text)
