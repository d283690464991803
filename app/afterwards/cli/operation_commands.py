"""The commands on the service as a whole: types, statistics, workers, errors, activity."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Final

from afterwards.cli import remote, tables
from afterwards.cli.arguments import add_common, count
from afterwards.cli.commands import Command, note
from afterwards.cli.output import Output
from afterwards.cli.remote import PATIENT, to_the_service
from afterwards.cli.schedule_commands import SCHEDULES
from afterwards.cli.webhook_commands import WEBHOOKS
from afterwards.cli.words import described_moment

Arguments = Callable[[argparse.ArgumentParser], None]


def _types(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        output.rows(tables.of_types(client.task_types()))
    return 0


def _pause(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        paused = client.pause_type(arguments.type)
    output.done(paused.name, "paused; its tasks wait", paused.document)
    return 0


def _resume(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        resumed = client.resume_type(arguments.type)
    if resumed is None:
        gone = {"name": arguments.type, "paused": False}
        output.done(arguments.type, "resumed; the service no longer has this type", gone)
    else:
        output.done(resumed.name, "resumed", resumed.document)
    return 0


def _stats(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        document = client.stats().document
    if not arguments.watch:
        output.document(document)
        return 0
    with (
        remote.client(arguments, PATIENT) as client,
        closing(client.stream_stats()) as moments,
    ):
        for moment in moments:
            output.moment(described_moment(moment), moment.document)
    return 0


def _series(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        output.rows(tables.of_series(client.series(arguments.range, type=arguments.type)))
    return 0


def _workers(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        output.rows(tables.of_workers(client.workers()))
    return 0


def _errors(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        if arguments.id is not None:
            document = client.error(arguments.id).document
            output.document(document)
            return 0
        found = client.errors(type=arguments.type, order=arguments.order, limit=arguments.limit)
    output.rows(tables.of_errors(found.groups))
    if found.ungrouped:
        note(f"{found.ungrouped:,} failed tasks are in no group; list --status failed has them")
    return 0


def _activity(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        # One more than is shown tells whether there are more.
        limit = None if arguments.all else arguments.limit + 1
        entries = list(client.activity(limit=limit))
    shown = entries if limit is None else entries[: arguments.limit]
    output.rows(tables.of_activity(shown))
    if len(entries) > len(shown):
        note("there are older entries; --all lists them, too")
    return 0


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("type", metavar="TYPE", help="the task type")
    add_common(parser)


def _add_stats(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--watch", action="store_true", help="print a line once a second, until Ctrl-C"
    )
    add_common(parser)


def _add_series(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--range",
        metavar="RANGE",
        choices=("1h", "24h", "30d"),
        default="1h",
        help="1h (default) in steps of ten seconds, 24h of a minute, 30d of an hour",
    )
    parser.add_argument("--type", metavar="TYPE", help="only this task type")
    add_common(parser)


def _add_errors(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", nargs="?", help="one group, by its id")
    parser.add_argument("--type", metavar="TYPE", help="only this task type")
    parser.add_argument(
        "--order",
        metavar="ORDER",
        choices=("count", "latest"),
        help="count: the largest first (default); latest: the one seen last first",
    )
    parser.add_argument("--limit", metavar="N", type=count, help="at most so many groups")
    add_common(parser)


def _add_activity(parser: argparse.ArgumentParser) -> None:
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--limit", metavar="N", type=count, default=50, help="at most so many entries (default 50)"
    )
    size.add_argument("--all", action="store_true", help="all entries, however many there are")
    add_common(parser)


COMMANDS: Final[Mapping[str, Command]] = {
    "schedules": SCHEDULES,
    "webhooks": WEBHOOKS,
    "types": Command(
        "List the task types with their numbers of tasks.", add_common, to_the_service(_types)
    ),
    "pause": Command(
        "Start no more attempts of a task type until it is resumed, beyond a restart too. Its "
        "tasks are accepted, and wait. Running attempts go on.",
        _add_name,
        to_the_service(_pause),
    ),
    "resume": Command("End the pause of a task type.", _add_name, to_the_service(_resume)),
    "stats": Command(
        "Show the service in numbers. With --watch, show them once a second as they change.",
        _add_stats,
        to_the_service(_stats),
    ),
    "series": Command(
        "Show what happened in the past, a line for each step of time, oldest first: counts, and "
        "seconds that attempts waited and ran.",
        _add_series,
        to_the_service(_series),
    ),
    "workers": Command(
        "List the processes of the service: workers, their hosts and the registry process. With "
        "--json, also the attempts that run there.",
        add_common,
        to_the_service(_workers),
    ),
    "errors": Command(
        "List the tasks that are failed now, grouped by type and error. The id of a group is what "
        "--error of other commands takes.",
        _add_errors,
        to_the_service(_errors),
    ),
    "activity": Command(
        "List what was done by hand, newest first: by whom, to how many, and what was refused.",
        _add_activity,
        to_the_service(_activity),
    ),
}
