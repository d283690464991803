"""The commands: their names, and what each is made of. Imports nothing heavy."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

SERVICE: Final[Mapping[str, str]] = {
    "serve": "run the service",
    "reload": "have the running service take its task modules as they are now",
    "backup": "copy the journal; the service may run meanwhile",
    "restore": "put a backup in the journal's place; stop the service first",
}
"""The commands of `afterwards.cli.service_commands`, on this machine's files, with what they do."""

KEYS: Final[Mapping[str, str]] = {
    "keys": "say who may use the service: create, list, rotate, revoke; off ends it"
}
"""The command of `afterwards.cli.key_commands`, on this machine's files."""

TASKS: Final[Mapping[str, str]] = {
    "submit": "submit a task to a running service",
    "status": "show a task; --watch follows it to its end",
    "list": "list tasks, newest first",
    "change": "change a scheduled task before it is due",
    "download": "download the files of a task",
    "tail": "show the events of tasks as they happen",
}
"""The commands of `afterwards.cli.task_commands`, over HTTP."""

VERBS: Final[Mapping[str, str]] = {
    "retry": "run failed or cancelled tasks again",
    "cancel": "cancel tasks",
    "run": "run scheduled tasks now",
    "delete": "delete finished tasks",
}
"""The commands of `afterwards.cli.verb_commands`, for one task or many."""

OPERATIONS: Final[Mapping[str, str]] = {
    "schedules": "list, make, run, pause and delete schedules",
    "webhooks": "list, make, test, replay and delete webhooks",
    "types": "list task types with their numbers of tasks",
    "pause": "start no more attempts of a task type",
    "resume": "end the pause of a task type",
    "stats": "show the service in numbers",
    "series": "show counts, waits and runs of the past",
    "workers": "list the processes of the service",
    "errors": "list failed tasks by their reason",
    "activity": "list what was done by hand",
}
"""The commands of `afterwards.cli.operation_commands`, on the service as a whole."""

OVER_HTTP: Final[Mapping[str, str]] = {**TASKS, **VERBS, **OPERATIONS}
ALL: Final[Mapping[str, str]] = {**SERVICE, **KEYS, **OVER_HTTP}


class Command(NamedTuple):
    """Its arguments, and what it does."""

    description: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    """Returns the exit status."""


def refuse(message: object, status: int) -> int:
    """Say why not, and return the exit status."""
    note(message)
    return status


def note(message: object) -> None:
    """Say something beside the output, at once; an output that is gone is no reason to fail."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"afterwards: {message}\n")
        sys.stderr.flush()
