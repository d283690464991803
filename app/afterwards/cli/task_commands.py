"""The commands about one task, and the list of tasks: each is a few calls of the client."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import Final, TypeVar

from afterwards.cli import arguments as given
from afterwards.cli import remote
from afterwards.cli.commands import Command, note
from afterwards.cli.download_command import DOWNLOAD
from afterwards.cli.filters import conditions_of
from afterwards.cli.output import Output
from afterwards.cli.remote import PATIENT, to_the_service
from afterwards.cli.words import one_line
from afterwards_client import Client, Conditions, Task, TaskSummary

T = TypeVar("T")

_UNFINISHED: Final = ("scheduled", "pending", "processing", "retrying")
_FINISHED: Final = ("success", "failed", "cancelled")
_OF_ORDER: Final = {"due": _UNFINISHED, "finished": _FINISHED}
"""The states of the tasks that a list in this order has."""


def _submit(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        task = client.submit(
            arguments.type,
            arguments.payload,
            delay=arguments.delay,
            run_at=arguments.run_at,
            priority=arguments.priority,
            max_attempts=arguments.max_attempts,
            timeout=arguments.timeout,
            deadline=arguments.deadline,
            labels=given.labels_of(arguments),
            concurrency_key=arguments.concurrency_key,
            unique_key=arguments.unique_key,
            on_conflict=arguments.on_conflict,
            idempotency_key=arguments.key,
        )
    if arguments.wait:
        # Whatever ends the wait, whoever waits knows what to ask for.
        note(f"accepted as {one_line(task.id)}; waiting for its end")
    return finished(arguments, output, task) if arguments.wait else accepted(output, task)


def _status(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        task: Task = client.get(arguments.id, logs=arguments.logs, tracebacks=arguments.tracebacks)
    if arguments.watch and not task.is_finished:
        with (
            remote.client(arguments, PATIENT) as client,
            closing(client.stream(task.id)) as events,
        ):
            output.watch(events)
            task = client.get(task.id, logs=arguments.logs, tracebacks=arguments.tracebacks)
    output.task(task)
    return _verdict(task)


def _list(arguments: argparse.Namespace, output: Output) -> int:
    conditions = conditions_of(arguments)
    limit = None if arguments.all else arguments.limit
    with remote.client(arguments) as client:
        # Tables have nothing of payloads, which may be large.
        found: Iterable[Task | TaskSummary] = (
            client.list(order=arguments.order, limit=limit, **conditions)
            if arguments.json
            else client.summaries(order=arguments.order, limit=limit, **conditions)
        )
        shown = _Counted(found)
        output.tasks(shown)
        is_whole = limit is None or shown.number < limit
        if not is_whole or arguments.order == "finished":
            _note_the_rest(client, arguments.order, conditions, shown.number, is_whole=is_whole)
    return 0


class _Counted(Iterable[T]):
    """Things that are counted while they are taken."""

    def __init__(self, things: Iterable[T]) -> None:
        self.number = 0
        self._things: Iterable[T] = things

    def __iter__(self) -> Iterator[T]:
        for thing in self._things:
            self.number += 1
            yield thing


def _note_the_rest(
    client: Client, order: str | None, conditions: Conditions, shown: int, *, is_whole: bool
) -> None:
    """Say how many tasks a list has left out, so that it never ends in silence."""
    in_order = _OF_ORDER.get(order or "")
    if in_order is not None:
        named = conditions.get("status") or in_order
        conditions = {**conditions, "status": [one for one in in_order if one in named]}
    counted = client.count(**conditions)
    left = counted.count - shown
    if is_whole and left > 0:
        why = "by their end only the newest 10,000 successes are found"
        note(f"{left:,} more match: {why}; give one --type, or a time to --before")
    elif left > 0:
        at_least = "" if counted.exact else "at least "
        note(f"{at_least}{left:,} more match; --all lists them, too")
    elif not (is_whole or counted.exact):
        note("more may match; --all looks for them, too")


def _change(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        task = client.change(
            arguments.id,
            type=arguments.type,
            payload=arguments.payload,
            run_at=arguments.run_at,
        )
    return accepted(output, task)


def _tail(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        # To find out whether anybody is there; the stream itself would be patient.
        next(client.list(limit=1), None)
    with (
        remote.client(arguments, PATIENT) as client,
        closing(client.stream(type=arguments.type, status=arguments.status)) as events,
    ):
        for event in events:
            output.event(event)
    return 0


def accepted(output: Output, task: Task) -> int:
    """Show a task that was accepted, or changed."""
    output.submitted(task)
    return 0


def finished(arguments: argparse.Namespace, output: Output, task: Task) -> int:
    """Wait for the task and tell what became of it."""
    with remote.client(arguments, PATIENT) as client:
        done = client.wait(task.id)
    output.task(done)
    return _verdict(done)


def _verdict(task: Task) -> int:
    return 1 if task.is_finished and not task.succeeded else 0


COMMANDS: Final[Mapping[str, Command]] = {
    "submit": Command(
        "Submit a task to a running service and print its id. With --wait, print the id on "
        "standard error, wait until the task is finished and print the task. The exit status is 1 "
        "if it failed or was cancelled.",
        given.add_submit,
        to_the_service(_submit),
    ),
    "status": Command(
        "Show a task. With --logs, also show what its last ended attempt has printed and logged; "
        "with --tracebacks, where attempts raised their errors. The exit status is 1 if the task "
        "failed or was cancelled.",
        given.add_status,
        to_the_service(_status),
    ),
    "list": Command(
        "List the tasks that meet all conditions, newest first. If there are more than it lists, a "
        "line on standard error says how many.",
        given.add_list,
        to_the_service(_list),
    ),
    "change": Command(
        "Change the payload, type or time of a scheduled task before it is due, and print its id. "
        "What is not given stays as it is.",
        given.add_change,
        to_the_service(_change),
    ),
    "download": DOWNLOAD,
    "tail": Command(
        "Show the events of tasks as they happen, until Ctrl-C.",
        given.add_tail,
        to_the_service(_tail),
    ),
}
