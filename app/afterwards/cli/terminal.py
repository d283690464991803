"""The output of the commands about tasks on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

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

from afterwards.cli.words import OUTCOMES, described, fields, log_lines, one_line
from afterwards_client import Event, ProgressEvent, StateEvent, Task, TaskEvent

ID_WIDTH: Final = 36

COLOURS: Final[Mapping[str, str]] = {
    "scheduled": "cyan",
    "pending": "cyan",
    "processing": "yellow",
    "success": "green",
    "failed": "red",
    "cancelled": "magenta",
}


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
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="bold", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in fields(task):
            grid.add_row(Text(name), _coloured(value) if name == "status" else Text(value))
        self._console.print(grid)
        lines = log_lines(task)
        if lines is not None:
            self._console.print(Text("\nlog" if lines else "\nno log", style="bold"))
            for line in lines:
                self._console.print(Text(line), soft_wrap=True)

    def tasks(self, tasks: Iterable[Task]) -> None:
        table = Table(box=None, header_style="bold", pad_edge=False)
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
                Text(f"{task.created_at.astimezone():%Y-%m-%d %H:%M:%S}"),
                Text(str(task.attempts)),
                Text(one_line(task.error or ""), no_wrap=True, overflow="ellipsis"),
            )
        self._console.print(table if table.row_count else Text("no tasks"))

    def cancelled(self, outcome: str, task: Task) -> None:
        self._console.print(Text(f"{one_line(task.id)}: {OUTCOMES[outcome]}"))

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


def _coloured(status: str) -> Text:
    return Text(one_line(status), style=COLOURS.get(status, ""))
