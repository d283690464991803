"""Commands with a command of their own for each thing to do."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import NamedTuple

from afterwards.cli.arguments import add_common
from afterwards.cli.commands import Command
from afterwards.cli.output import Output
from afterwards.cli.remote import Run, to_the_service


class Action(NamedTuple):
    """One thing to do."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Run


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
        return actions[arguments.action].run(arguments, output)

    return Command(description, add, to_the_service(run))
