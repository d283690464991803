"""The output of the commands about tasks on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
)
from rich.table import Table
from rich.text import Text

from afterwards.cli.tables import Cell, Rows
from afterwards.cli.words import (
    cell,
    described,
    described_cancellation,
    fields,
    flat,
    log_lines,
    one_line,
    tracebacks,
)
from afterwards_client import (
    Cancellation,
    Event,
    ProgressEvent,
    StateEvent,
    Task,
    TaskEvent,
    TaskSummary,
)

ID_WIDTH: Final = 36

COLOURS: Final[Mapping[str, str]] = {
    "scheduled": "cyan",
    "pending": "cyan",
    "processing": "yellow",
    "success": "green",
    "failed": "red",
    "cancelled": "magenta",
}

_PLAIN_TABLE: Final[Mapping[str, Any]] = {"box": None, "header_style": "bold", "pad_edge": False}


class Terminal:
    """Tables, colours and a progress bar.

    Everything from outside is a `Text` of printable characters: rich would take brackets in a
    string for markup.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)

    def submitted(self, task: Task) -> None:
        self._console.print(Text(one_line(task.id)))

    def task(self, task: Task) -> None:
        grid = _grid()
        for name, value in fields(task):
            grid.add_row(Text(name), _coloured(value) if name == "status" else Text(value))
        self._console.print(grid)
        lines = log_lines(task)
        if lines is not None:
            self._console.print(Text("\nlog" if lines else "\nno log", style="bold"))
            self._lines(lines)
        for attempt, lines in tracebacks(task):
            self._console.print(Text(f"\ntraceback of attempt {attempt}", style="bold"))
            self._lines(lines)

    def _lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._console.print(Text(line), soft_wrap=True)

    def tasks(self, tasks: Iterable[Task | TaskSummary]) -> None:
        table = Table(**_PLAIN_TABLE)
        # An id is copied into the next command: it stays whole. Errors make way first, because rich
        # narrows columns that may wrap before others; their texts stay in one line all the same.
        table.add_column("id", no_wrap=True, min_width=ID_WIDTH)
        for column in ("status", "type", "created"):
            table.add_column(column, no_wrap=True)
        table.add_column("attempts", no_wrap=True, justify="right")
        table.add_column("error")
        for task in tasks:
            table.add_row(
                Text(one_line(task.id)),
                _coloured(task.status),
                Text(one_line(task.type)),
                Text(_shown(task.created_at)),
                Text(str(task.attempts)),
                Text(one_line(task.error or ""), no_wrap=True, overflow="ellipsis"),
            )
        self._console.print(table if table.row_count else Text("no tasks"))

    def rows(self, table: Rows) -> None:
        rows = list(table.rows)
        if not rows:
            self._console.print(Text(table.nothing))
            return
        drawn = Table(**_PLAIN_TABLE)
        for column, values in zip(table.columns, zip(*rows, strict=True), strict=True):
            is_number = any(type(value) in (int, float) for value in values)
            # The last one has the free text, which makes way.
            last = column == table.columns[-1]
            drawn.add_column(
                column, justify="right" if is_number else "left", no_wrap=not last, overflow="fold"
            )
        for row in rows:
            drawn.add_row(*(Text(_shown(value)) for value in row))
        self._console.print(drawn)

    def document(self, document: Mapping[str, Any]) -> None:
        grid = _grid()
        for name, value in flat(document):
            grid.add_row(Text(name), Text(value))
        self._console.print(grid)

    def done(self, name: str, outcome: str, document: Mapping[str, Any]) -> None:
        self._console.print(Text(f"{one_line(name)}: {outcome}"))

    def cancelled(self, cancellation: Cancellation) -> None:
        self._console.print(Text(described_cancellation(cancellation)))

    def moment(self, line: str, document: Mapping[str, Any]) -> None:
        self._console.print(Text(line), soft_wrap=True)

    def event(self, event: Event) -> None:
        text = Text(described(event))
        if isinstance(event, StateEvent):
            text.highlight_words([str(event.status)], COLOURS[event.status])
        self._console.print(text, soft_wrap=True)

    def watch(self, events: Iterable[Event]) -> None:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            bar = progress.add_task("", total=1.0)
            for event in events:
                _show(progress, bar, event)


def _show(progress: Progress, bar: TaskID, event: Event) -> None:
    """Bring the bar to where the task is."""
    if isinstance(event, StateEvent):
        # Every attempt begins at nothing.
        progress.update(bar, description=one_line(f"{event.type} {event.status}"), completed=0.0)
    elif isinstance(event, ProgressEvent):
        words = one_line(f"{event.type} {event.message or 'processing'}")
        progress.update(bar, description=words, completed=event.fraction)
    elif isinstance(event, TaskEvent):
        task = event.task
        done = task.progress.fraction if task.progress else 0.0
        progress.update(bar, description=one_line(f"{task.type} {task.status}"), completed=done)


def _grid() -> Table:
    """Names, and what they are, without a frame."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _shown(value: Cell) -> str:
    """A value for people: times as the clock on the wall shows them."""
    if isinstance(value, datetime):
        return f"{value.astimezone():%Y-%m-%d %H:%M:%S}"
    return f"{value:.3g}" if isinstance(value, float) else cell(value)


def _coloured(status: str) -> Text:
    return Text(one_line(status), style=COLOURS.get(status, ""))
