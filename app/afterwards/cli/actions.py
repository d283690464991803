"""Commands with a command of their own for each thing to do."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import NamedTuple

from afterwards.cli import remote
from afterwards.cli.arguments import add_common
from afterwards.cli.commands import Command
from afterwards.cli.output import Output
from afterwards.cli.remote import to_the_service
from afterwards_client import Client


class Action(NamedTuple):
    """One thing to do."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Client, argparse.Namespace, Output], int | None]
    """Does it, and gives the exit status; None: success."""


def with_actions(description: str, actions: Mapping[str, Action]) -> Command:
    """A command with these actions by their names; without one, it is `list`."""

    def add(parser: argparse.ArgumentParser) -> None:
        add_common(parser)
        parser.set_defaults(action="list")
        parsers = parser.add_subparsers(metavar="ACTION", help="one of them")
        for name, action in actions.items():
            one = parsers.add_parser(
                name, help=action.help, description=action.help, allow_abbrev=False
            )
            action.add_arguments(one)
            add_common(one, default=argparse.SUPPRESS)
            one.set_defaults(action=name)

    def run(arguments: argparse.Namespace, output: Output) -> int:
        with remote.client(arguments) as client:
            return actions[arguments.action].run(client, arguments, output) or 0

    return Command(description, add, to_the_service(run))
