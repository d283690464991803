"""The commands about tasks: each is a few calls of `afterwards_client` to a running service."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Final

import httpx

from afterwards.cli import arguments as given
from afterwards.cli.commands import Command, note, refuse
from afterwards.cli.output import Output, output_for
from afterwards.cli.words import one_line
from afterwards_client import (
    DEFAULT_URL,
    AfterwardsClientError,
    CancelOutcome,
    Client,
    ConnectionFailed,
    InvalidArgument,
    Retries,
    Task,
)
from afterwards_client.urls import without_all_before_at

URL_VARIABLE: Final = "AFTERWARDS_URL"

_BROKEN_PIPE: Final = 141
"""As a shell shows the death by SIGPIPE."""

_IMPATIENT: Final = Retries(total_seconds=2.0)
"""Somebody waits: a service that is not there is said soon."""

_PATIENT: Final = Retries(total_seconds=60.0)
"""It was there a moment ago, so it is being started again."""

Run = Callable[[argparse.Namespace, Output], int]


def _submit(arguments: argparse.Namespace, output: Output) -> int:
    with _client(arguments) as client:
        task = client.submit(
            arguments.type,
            arguments.payload,
            delay=arguments.delay,
            run_at=arguments.run_at,
            priority=arguments.priority,
            max_attempts=arguments.max_attempts,
            timeout=arguments.timeout,
            deadline=arguments.deadline,
            idempotency_key=arguments.key,
        )
    if arguments.wait:
        # Whatever ends the wait, whoever waits knows what to ask for.
        note(f"accepted as {one_line(task.id)}; waiting for its end")
    return _finished(arguments, output, task) if arguments.wait else _accepted(output, task)


def _status(arguments: argparse.Namespace, output: Output) -> int:
    with _client(arguments) as client:
        task: Task = client.get(arguments.id, logs=arguments.logs)
    if arguments.watch and not task.is_finished:
        with (
            _client(arguments, _PATIENT) as client,
            closing(client.stream(task.id)) as events,
        ):
            output.watch(events)
            task = client.get(task.id, logs=arguments.logs)
    output.task(task)
    return _verdict(task)


def _list(arguments: argparse.Namespace, output: Output) -> int:
    with _client(arguments) as client:
        output.tasks(
            client.list(
                status=arguments.status,
                type=arguments.type,
                created_after=arguments.after,
                created_before=arguments.before,
                limit=arguments.limit,
            )
        )
    return 0


def _retry(arguments: argparse.Namespace, output: Output) -> int:
    with _client(arguments) as client:
        task = client.retry(arguments.id, arguments.payload, new_type=arguments.type)
    return _finished(arguments, output, task) if arguments.wait else _accepted(output, task)


def _change(arguments: argparse.Namespace, output: Output) -> int:
    with _client(arguments) as client:
        task = client.change(
            arguments.id,
            type=arguments.type,
            payload=arguments.payload,
            run_at=arguments.run_at,
        )
    return _accepted(output, task)


def _cancel(arguments: argparse.Namespace, output: Output) -> int:
    with _client(arguments) as client:
        cancellation = client.cancel(arguments.id)
    output.cancelled(cancellation.outcome, cancellation.task)
    missed = cancellation.outcome in (CancelOutcome.FINISHED, CancelOutcome.UNSTOPPABLE)
    return 1 if missed else 0


def _tail(arguments: argparse.Namespace, output: Output) -> int:
    with _client(arguments) as client:
        # To find out whether anybody is there; the stream itself would be patient.
        next(client.list(limit=1), None)
    with (
        _client(arguments, _PATIENT) as client,
        closing(client.stream(type=arguments.type, status=arguments.status)) as events,
    ):
        for event in events:
            output.event(event)
    return 0


def _accepted(output: Output, task: Task) -> int:
    output.submitted(task)
    return 0


def _finished(arguments: argparse.Namespace, output: Output, task: Task) -> int:
    """Wait for the task and tell what became of it."""
    with _client(arguments, _PATIENT) as client:
        done = client.wait(task.id)
    output.task(done)
    return _verdict(done)


def _verdict(task: Task) -> int:
    return 1 if task.is_finished and not task.succeeded else 0


def _client(arguments: argparse.Namespace, retries: Retries = _IMPATIENT) -> Client:
    return Client(_url(arguments), retries=retries)


def _url(arguments: argparse.Namespace) -> str:
    url: str = arguments.url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    return url


def _to_the_service(run: Run) -> Callable[[argparse.Namespace], int]:
    """The command with whatever goes wrong as one line and an exit status."""

    def command(arguments: argparse.Namespace) -> int:
        try:
            return run(arguments, output_for(arguments.json))
        except ConnectionFailed as error:
            hint = (
                f"start it with afterwards serve, or say with --url or {URL_VARIABLE} where it is"
            )
            return refuse(f"{error}; {hint}", 1)
        except AfterwardsClientError as error:
            return refuse(error, 2 if isinstance(error, InvalidArgument) else 1)
        except httpx.InvalidURL as error:
            shown = without_all_before_at(_url(arguments))
            return refuse(f"{error}: {shown!r}; one that can be used is {DEFAULT_URL}", 2)
        except BrokenPipeError:
            # Whoever read has enough, as `head` does.
            return _BROKEN_PIPE
        except OSError as error:
            return refuse(f"cannot write the output: {error}", 1)

    return command


COMMANDS: Final[Mapping[str, Command]] = {
    "submit": Command(
        "Submit a task to a running service and print its id. With --wait, print the id on "
        "standard error, wait until the task is finished and print the task. The exit status is 1 "
        "if it failed or was cancelled.",
        given.add_submit,
        _to_the_service(_submit),
    ),
    "status": Command(
        "Show a task. With --logs, also show what its last ended attempt has printed and logged. "
        "The exit status is 1 if the task failed or was cancelled.",
        given.add_status,
        _to_the_service(_status),
    ),
    "list": Command("List tasks, newest first.", given.add_list, _to_the_service(_list)),
    "retry": Command(
        "Run a failed or cancelled task again. PAYLOAD replaces its payload, and --type moves it "
        "to another task type.",
        given.add_retry,
        _to_the_service(_retry),
    ),
    "change": Command(
        "Change the payload, type or time of a scheduled task before it is due, and print its id. "
        "What is not given stays as it is.",
        given.add_change,
        _to_the_service(_change),
    ),
    "cancel": Command(
        "Cancel a task. The exit status is 1 if the task was finished first, or runs in a thread "
        "and can only be asked to stop.",
        given.add_cancel,
        _to_the_service(_cancel),
    ),
    "tail": Command(
        "Show the events of tasks as they happen, until Ctrl-C.",
        given.add_tail,
        _to_the_service(_tail),
    ),
}
