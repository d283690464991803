"""The output of the commands about tasks: for programs as JSON, for pipes as plain lines.

Plain output is stable: fields are only ever added at the end. It holds one line for each thing.
`afterwards.cli.terminal` prints for people.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from afterwards.cli.tables import Rows
from afterwards.cli.words import (
    cancellation_document,
    cell,
    described,
    described_cancellation,
    event_document,
    fields,
    flat,
    log_lines,
    one_line,
    tracebacks,
)
from afterwards_client import Cancellation, Event, Task, TaskSummary


class Output(Protocol):
    """One way to print."""

    def submitted(self, task: Task) -> None:
        """A task that was just accepted, or changed."""
        ...

    def task(self, task: Task) -> None:
        """All about one task."""
        ...

    def tasks(self, tasks: Iterable[Task | TaskSummary]) -> None:
        """A line for each."""
        ...

    def rows(self, table: Rows) -> None:
        """A line for each row."""
        ...

    def document(self, document: Mapping[str, Any]) -> None:
        """A line for each fact in a document, by its name; as JSON, the document."""
        ...

    def done(self, name: str, outcome: str, document: Mapping[str, Any]) -> None:
        """The outcome for what has this name; as JSON, the document."""
        ...

    def cancelled(self, cancellation: Cancellation) -> None:
        """The outcome of a cancellation."""
        ...

    def moment(self, line: str, document: Mapping[str, Any]) -> None:
        """A line about the service as it is, at once; as JSON, the document."""
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

    def tasks(self, tasks: Iterable[Task | TaskSummary]) -> None:
        for task in tasks:
            _print_json(task.document)

    def rows(self, table: Rows) -> None:
        for document in table.documents:
            _print_json(document)

    def document(self, document: Mapping[str, Any]) -> None:
        _print_json(document)

    def done(self, name: str, outcome: str, document: Mapping[str, Any]) -> None:
        _print_json(document)

    def cancelled(self, cancellation: Cancellation) -> None:
        _print_json(cancellation_document(cancellation))

    def moment(self, line: str, document: Mapping[str, Any]) -> None:
        _print_json(document)

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
        for line in log_lines(task) or ():
            _print(f"log: {line}")
        for attempt, lines in tracebacks(task):
            for line in lines:
                _print(f"traceback {attempt}: {line}")

    def tasks(self, tasks: Iterable[Task | TaskSummary]) -> None:
        for task in tasks:
            created = task.created_at.isoformat()
            row = (task.id, task.status, task.type, created, str(task.attempts), task.error or "")
            _print("\t".join(one_line(text) for text in row))

    def rows(self, table: Rows) -> None:
        for row in table.rows:
            _print("\t".join(map(cell, row)))

    def document(self, document: Mapping[str, Any]) -> None:
        for name, value in flat(document):
            _print(f"{name}: {value}")

    def done(self, name: str, outcome: str, document: Mapping[str, Any]) -> None:
        _print(f"{one_line(name)}: {outcome}")

    def cancelled(self, cancellation: Cancellation) -> None:
        _print(described_cancellation(cancellation))

    def moment(self, line: str, document: Mapping[str, Any]) -> None:
        _print(line)

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
