"""What the commands about tasks print: for programs as JSON, for pipes as plain lines.

Plain output is stable: fields are only ever added at the end. It holds one line for each thing, so
whatever would break a line, or a terminal, is a space in it. `afterwards.cli.terminal` prints for
people.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from afterwards_client import Event, ProgressEvent, ResetEvent, StateEvent, Task, TaskEvent

OUTCOMES: Mapping[str, str] = {
    "prevented": "cancelled before it started",
    "stopped": "stopped while it ran",
    "finished": "not cancelled: it was finished first",
    "unstoppable": "asked to stop; it runs in a thread, which only ends by itself",
    "requested": "asked to stop; its worker has not answered yet",
}
"""What became of the wish to cancel, in words."""


class Output(Protocol):
    """One way to print."""

    def submitted(self, task: Task) -> None:
        """A task that was just accepted."""
        ...

    def task(self, task: Task) -> None:
        """All about one task."""
        ...

    def tasks(self, tasks: Iterable[Task]) -> None:
        """A line for each."""
        ...

    def cancelled(self, outcome: str, task: Task) -> None:
        """What became of the wish to cancel."""
        ...

    def event(self, event: Event) -> None:
        """A line about something that happened, at once."""
        ...

    def watch(self, events: Iterable[Event]) -> None:
        """Follow a task until its events end."""
        ...


class JsonLines:
    """Each document on a line of its own, as the service sent it."""

    def submitted(self, task: Task) -> None:
        self.task(task)

    def task(self, task: Task) -> None:
        _print_json(task.document)

    def tasks(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            self.task(task)

    def cancelled(self, outcome: str, task: Task) -> None:
        _print_json({"outcome": outcome, "task": task.document})

    def event(self, event: Event) -> None:
        _print_json(event_document(event))

    def watch(self, events: Iterable[Event]) -> None:
        _exhaust(events)


class Plain:
    """Lines for pipes and files."""

    def submitted(self, task: Task) -> None:
        _print(task.id)

    def task(self, task: Task) -> None:
        for name, value in fields(task):
            _print(f"{name}: {value}")

    def tasks(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            created = task.created_at.isoformat()
            row = (task.id, task.status, task.type, created, str(task.attempts), task.error or "")
            _print("\t".join(one_line(cell) for cell in row))

    def cancelled(self, outcome: str, task: Task) -> None:
        _print(f"{one_line(task.id)}: {OUTCOMES[outcome]}")

    def event(self, event: Event) -> None:
        _print(described(event))

    def watch(self, events: Iterable[Event]) -> None:
        _exhaust(events)


def output_for(as_json: bool) -> Output:
    """The way to print to whatever standard output is."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A letter that the locale does not have is no reason to fail.
        sys.stdout.reconfigure(errors="backslashreplace")
    if as_json:
        return JsonLines()
    if sys.stdout.isatty():
        from afterwards.cli.terminal import Terminal  # noqa: PLC0415 - rich takes its time to import

        return Terminal()
    return Plain()


def fields(task: Task) -> list[tuple[str, str]]:
    """All about a task that there is to say, by name."""
    document = task.document
    found = []
    for name, value in document.items():
        if name != "history" and value is not None:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            found.append((name, one_line(text)))
    for one in document.get("history", ()):
        outcome = one["outcome"] or "running"
        error = f": {one['error']}" if one["error"] else ""
        found.append((f"attempt {one['attempt']}", one_line(f"{outcome}{error}")))
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


def _exhaust(events: Iterable[Event]) -> None:
    for _ in events:
        pass


def _print_json(document: object) -> None:
    # ASCII, so that it is right in any locale.
    _print(json.dumps(document))


def _print(line: str) -> None:
    # At once: a reader of a pipe is not to wait for the next kilobytes.
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
