"""`afterwards schedules`, with a command of its own for each thing to do with a schedule."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from afterwards.cli import tables
from afterwards.cli.actions import Action, with_actions
from afterwards.cli.arguments import add_limits, add_payload, labels_of, seconds
from afterwards.cli.output import Output
from afterwards_client import Client, NewSchedule


def _list(client: Client, _: argparse.Namespace, output: Output) -> None:
    output.rows(tables.of_schedules(list(client.schedules(results=True))))


def _show(client: Client, arguments: argparse.Namespace, output: Output) -> None:
    output.document(client.schedule(arguments.name).document)


def _put(client: Client, arguments: argparse.Namespace, output: Output) -> None:
    new = NewSchedule(
        arguments.type,
        arguments.payload,
        cron=arguments.cron,
        every=arguments.every,
        timezone=arguments.timezone,
        catch_up=arguments.catch_up,
        paused=arguments.paused,
        priority=arguments.priority,
        max_attempts=arguments.max_attempts,
        timeout=arguments.timeout,
        labels=labels_of(arguments),
        concurrency_key=arguments.concurrency_key,
        unique_key=arguments.unique_key,
    )
    output.document(client.put_schedule(arguments.name, new).document)


def _pause(client: Client, arguments: argparse.Namespace, output: Output) -> None:
    paused = client.pause_schedule(arguments.name)
    output.done(paused.name, "paused", paused.document)


def _resume(client: Client, arguments: argparse.Namespace, output: Output) -> None:
    resumed = client.resume_schedule(arguments.name)
    output.done(resumed.name, "resumed", resumed.document)


def _run(client: Client, arguments: argparse.Namespace, output: Output) -> None:
    output.submitted(client.run_schedule(arguments.name))


def _delete(client: Client, arguments: argparse.Namespace, output: Output) -> None:
    client.delete_schedule(arguments.name)
    output.done(arguments.name, "deleted", {"name": arguments.name, "deleted": True})


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the schedule's name")


def _add_put(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
    parser.add_argument("type", metavar="TYPE", help="the task type")
    add_payload(parser)
    recurrence = parser.add_mutually_exclusive_group(required=True)
    recurrence.add_argument(
        "--cron", metavar="CRON", help="a cron expression: five fields, such as '30 6 * * 1-5'"
    )
    recurrence.add_argument(
        "--every", metavar="SECONDS", type=seconds, help="a period, from when it is made"
    )
    parser.add_argument(
        "--timezone", metavar="ZONE", help="the zone of the cron expression (default UTC)"
    )
    parser.add_argument(
        "--catch-up",
        action="store_true",
        help="make up for times that passed while the service was down",
    )
    parser.add_argument("--paused", action="store_true", help="make no tasks before it is resumed")
    add_limits(parser)


_ACTIONS: Final[Mapping[str, Action]] = {
    "list": Action("list the schedules by name (also without an action)", lambda _: None, _list),
    "show": Action("show a schedule with its next five times", _add_name, _show),
    "put": Action("create a schedule, or replace the one of this name", _add_put, _put),
    "run": Action("submit the task of a schedule once more, now", _add_name, _run),
    "pause": Action("make no tasks until it is resumed", _add_name, _pause),
    "resume": Action("make tasks again, from the next time on", _add_name, _resume),
    "delete": Action("delete a schedule; tasks that it has made stay", _add_name, _delete),
}


SCHEDULES: Final = with_actions(
    "List, make, run, pause and delete schedules. Without an action, list them.", _ACTIONS
)
