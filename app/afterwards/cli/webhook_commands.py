"""`afterwards webhooks`, with a command of its own for each thing to do with a webhook."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from afterwards.cli import remote, tables
from afterwards.cli.actions import Action, with_actions
from afterwards.cli.arguments import add_labels, labels_of, seconds
from afterwards.cli.output import Output
from afterwards.cli.times import past
from afterwards.cli.words import flat
from afterwards_client import Webhook

_ENDS: Final = ("success", "failed", "cancelled")


def _list(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        output.rows(tables.of_webhooks(list(client.webhooks())))
    return 0


def _show(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        return _shown(output, client.webhook(arguments.name))


def _put(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        webhook = client.put_webhook(
            arguments.name,
            arguments.receiver,
            events=arguments.event,
            types=arguments.type,
            labels=labels_of(arguments),
        )
    return _shown(output, webhook)


def _rotate(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        webhook = client.rotate_webhook_secret(arguments.name, overlap=arguments.overlap)
    return _shown(output, webhook)


def _enable(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        webhook = client.enable_webhook(arguments.name)
    output.done(webhook.name, "enabled", webhook.document)
    return 0


def _disable(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        webhook = client.disable_webhook(arguments.name)
    output.done(webhook.name, "disabled", webhook.document)
    return 0


def _test(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        output.submitted(client.test_webhook(arguments.name))
    return 0


def _replay(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        found = client.replay_webhook(
            arguments.name, task_id=arguments.task, since=arguments.since, until=arguments.until
        )
    document = {
        "matched": found.matched,
        "replayed": found.replayed,
        "skipped": found.skipped,
        "interrupted": found.interrupted,
    }
    output.facts(flat(document), document)
    return 0 if found.interrupted is None else 1


def _delete(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        client.delete_webhook(arguments.name)
    output.done(arguments.name, "deleted", {"name": arguments.name, "deleted": True})
    return 0


def _shown(output: Output, webhook: Webhook) -> int:
    output.facts(flat(webhook.document), webhook.document)
    return 0


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
