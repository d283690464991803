"""`afterwards webhooks`, with a command of its own for each thing to do with a webhook."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from afterwards.cli import tables
from afterwards.cli.actions import Action, with_actions
from afterwards.cli.arguments import add_labels, labels_of, seconds
from afterwards.cli.output import Output
from afterwards.cli.times import past
from afterwards_client import Client

_ENDS: Final = ("success", "failed", "cancelled")


def _list(client: Client, _: argparse.Namespace, output: Output) -> None:
    output.rows(tables.of_webhooks(list(client.webhooks())))


def _show(client: Client, arguments: argparse.Namespace, output: Output) -> None:
    output.document(client.webhook(arguments.name).document)


def _put(client: Client, arguments: argparse.Namespace, output: Output) -> None:
    webhook = client.put_webhook(
        arguments.name,
        arguments.receiver,
        events=arguments.event,
        types=arguments.type,
        labels=labels_of(arguments),
    )
    output.document(webhook.document)


def _rotate(client: Client, arguments: argparse.Namespace, output: Output) -> None:
    webhook = client.rotate_webhook_secret(arguments.name, overlap=arguments.overlap)
    output.document(webhook.document)


def _enable(client: Client, arguments: argparse.Namespace, output: Output) -> None:
    webhook = client.enable_webhook(arguments.name)
    output.done(webhook.name, "enabled", webhook.document)


def _disable(client: Client, arguments: argparse.Namespace, output: Output) -> None:
    webhook = client.disable_webhook(arguments.name)
    output.done(webhook.name, "disabled", webhook.document)


def _test(client: Client, arguments: argparse.Namespace, output: Output) -> None:
    output.submitted(client.test_webhook(arguments.name))


def _replay(client: Client, arguments: argparse.Namespace, output: Output) -> int:
    found = client.replay_webhook(
        arguments.name, task_id=arguments.task, since=arguments.since, until=arguments.until
    )
    document = {
        "matched": found.matched,
        "replayed": found.replayed,
        "skipped": found.skipped,
        "interrupted": found.interrupted,
    }
    output.document(document)
    return 0 if found.interrupted is None else 1


def _delete(client: Client, arguments: argparse.Namespace, output: Output) -> None:
    client.delete_webhook(arguments.name)
    output.done(arguments.name, "deleted", {"name": arguments.name, "deleted": True})


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the webhook's name")


def _add_put(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
    parser.add_argument("receiver", metavar="RECEIVER", help="the URL that is told")
    parser.add_argument(
        "--event",
        metavar="STATUS",
        action="append",
        choices=_ENDS,
        help=f"told of this end of tasks: {', '.join(_ENDS)}; may be repeated (default all)",
    )
    parser.add_argument(
        "--type", metavar="TYPE", action="append", help="only this task type; may be repeated"
    )
    add_labels(parser, "only tasks with this label; may be repeated: with all of them")


def _add_rotate(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
    parser.add_argument(
        "--overlap",
        metavar="SECONDS",
        type=seconds,
        help="the former secrets sign as well for so long (default a day)",
    )


def _add_replay(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--task", metavar="ID", help="this task")
    which.add_argument(
        "--since",
        metavar="TIME",
        type=past,
        help="all that fit and finished at this time or later: 2h (ago), yesterday, 10:30",
    )
    parser.add_argument("--until", metavar="TIME", type=past, help="with --since: before this time")


_ACTIONS: Final[Mapping[str, Action]] = {
    "list": Action("list the webhooks by name (also without an action)", lambda _: None, _list),
    "show": Action("show a webhook", _add_name, _show),
    "put": Action("create a webhook and show its secret, or replace one", _add_put, _put),
    "rotate": Action("show a new secret; the former one signs as well", _add_rotate, _rotate),
    "test": Action("send a notice of no task, and print its delivery's id", _add_name, _test),
    "replay": Action("tell a webhook of tasks once more", _add_replay, _replay),
    "enable": Action("tell a webhook of tasks again", _add_name, _enable),
    "disable": Action("tell a webhook of nothing until it is enabled", _add_name, _disable),
    "delete": Action("delete a webhook; its waiting deliveries are cancelled", _add_name, _delete),
}


WEBHOOKS: Final = with_actions(
    "List, make, test, replay and delete webhooks. Without an action, list them.", _ACTIONS
)
