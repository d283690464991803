"""The options by which commands choose tasks, and the conditions that they stand for."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from afterwards.cli.times import past
from afterwards_client import Conditions


def add_conditions(parser: argparse.ArgumentParser, statuses: Iterable[str]) -> None:
    """Add the options that say which tasks.

    Args:
        statuses: those that tasks of the command may have.
    """
    group = parser.add_argument_group(
        "conditions",
        "A task has to meet all of them. TIME is like 2h (ago), yesterday, 10:30 or 2026-11-01.",
    )
    add_statuses(group, statuses)
    add_types(group)
    group.add_argument(
        "--label",
        metavar="KEY[=VALUE]",
        action="append",
        type=_label,
        help="only with this label; may be repeated: with all of them",
    )
    for kind in ("concurrency", "unique"):
        group.add_argument(f"--{kind}-key", metavar="KEY", help=f"only with this {kind} key")
    group.add_argument(
        "--search",
        metavar="TEXT",
        help="only with this beginning of the id, or this text in payload or error; "
        "payload.customer.id=7 is a value in its place",
    )
    group.add_argument("--error", metavar="ID", help="only of this group of errors")
    group.add_argument("--parent", metavar="ID", help="only what this task has submitted")
    group.add_argument("--group", metavar="ID", help="only of the batch that this task follows")
    for flag, verb in (("", "created"), ("finished-", "finished")):
        group.add_argument(
            f"--{flag}after", metavar="TIME", type=past, help=f"only {verb} at this time or later"
        )
        group.add_argument(
            f"--{flag}before", metavar="TIME", type=past, help=f"only {verb} before this time"
        )


def add_statuses(parser: argparse._ActionsContainer, statuses: Iterable[str]) -> None:
    """Add the option for states."""
    names = [str(status) for status in statuses]
    parser.add_argument(
        "--status",
        metavar="STATUS",
        action="append",
        choices=names,
        help=f"only this status: {', '.join(names)}; may be repeated",
    )


def add_types(parser: argparse._ActionsContainer) -> None:
    """Add the option for task types."""
    parser.add_argument(
        "--type", metavar="TYPE", action="append", help="only this task type; may be repeated"
    )


def conditions_of(arguments: argparse.Namespace) -> Conditions:
    """The conditions that were given."""
    given: Conditions = {
        "status": arguments.status,
        "type": arguments.type,
        "labels": dict(arguments.label) if arguments.label else None,
        "concurrency_key": arguments.concurrency_key,
        "unique_key": arguments.unique_key,
        "q": arguments.search,
        "error": arguments.error,
        "parent": arguments.parent,
        "group": arguments.group,
        "created_after": arguments.after,
        "created_before": arguments.before,
        "finished_after": arguments.finished_after,
        "finished_before": arguments.finished_before,
    }
    # mypy does not follow that fewer members are the same kind of dictionary.
    return {name: value for name, value in given.items() if value is not None}  # type: ignore[return-value] # see above


def _label(text: str) -> tuple[str, str | None]:
    key, equals, value = text.partition("=")
    if not key or (equals and not value):
        raise argparse.ArgumentTypeError(f"must be a key, or key=value (got {text!r})")
    return key, value or None
