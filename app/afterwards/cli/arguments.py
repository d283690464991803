"""The arguments of the commands about one task, and those that several commands have."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

from afterwards.cli.filters import add_conditions, add_statuses, add_types
from afterwards.cli.times import future
from afterwards_client import DEFAULT_URL, TaskStatus

ORDERS: Final = ("created", "due", "finished")
ON_CONFLICT: Final = ("existing", "reject", "replace")


def add_submit(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `afterwards submit`."""
    parser.add_argument("type", metavar="TYPE", help="the task type")
    add_payload(parser)
    add_wait(parser)
    parser.add_argument(
        "--delay", metavar="SECONDS", type=seconds, help="start the task after so many seconds"
    )
    add_run_at(parser)
    add_limits(parser)
    parser.add_argument(
        "--on-conflict",
        metavar="WHAT",
        choices=ON_CONFLICT,
        help="if another task has the unique key: existing gives that one (default), reject "
        "refuses, replace cancels it if it waits",
    )
    parser.add_argument(
        "--deadline", metavar="TIME", type=future, help="start no attempt after this time"
    )
    parser.add_argument(
        "--key", metavar="KEY", help="idempotency key: the same key gives the same task"
    )
    add_common(parser)


def add_status(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `afterwards status`."""
    add_id(parser)
    parser.add_argument(
        "--watch", action="store_true", help="show its progress until it is finished"
    )
    parser.add_argument(
        "--logs",
        action="store_true",
        help="show what its last ended attempt has printed and logged",
    )
    parser.add_argument(
        "--tracebacks",
        action="store_true",
        help="show where its attempts raised their errors; the last three are kept",
    )
    add_common(parser)


def add_list(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `afterwards list`."""
    add_conditions(parser, [*TaskStatus, "retrying"])
    parser.add_argument(
        "--order",
        metavar="ORDER",
        choices=ORDERS,
        help="created: the newest first (default); due: unfinished ones, the soonest due first; "
        "finished: finished ones, the last finished first",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--limit", metavar="N", type=count, default=50, help="at most so many tasks (default 50)"
    )
    size.add_argument("--all", action="store_true", help="all tasks, however many there are")
    add_common(parser)


def add_change(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `afterwards change`."""
    add_id(parser)
    add_payload(parser)
    parser.add_argument(
        "--type", metavar="TYPE", help="move it to this task type, which has to take its payload"
    )
    add_run_at(parser)
    add_common(parser)


def add_tail(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `afterwards tail`."""
    add_statuses(parser, TaskStatus)
    add_types(parser)
    add_common(parser)


def add_id(parser: argparse.ArgumentParser) -> None:
    """Add the id of a task."""
    parser.add_argument("id", metavar="ID", help="the task's id")


def add_payload(parser: argparse.ArgumentParser) -> None:
    """Add the payload, which may be left out."""
    parser.add_argument(
        "payload",
        metavar="PAYLOAD",
        nargs="?",
        type=payload_of,
        help="a JSON object; @FILE reads it from a file, - from standard input",
    )


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add the options of a task's own limits, labels and keys."""
    parser.add_argument(
        "--priority", metavar="N", type=_integer, help="0 to 9; higher starts sooner"
    )
    parser.add_argument(
        "--max-attempts", metavar="N", type=_integer, help="give up after so many attempts"
    )
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, help="time limit for one attempt"
    )
    add_labels(parser, "label of the task; may be repeated")
    parser.add_argument(
        "--concurrency-key",
        metavar="KEY",
        help="run attempts at tasks of this type with this key one after the other, or as many at "
        "once as the type allows",
    )
    parser.add_argument(
        "--unique-key", metavar="KEY", help="have at most one unfinished task with this key"
    )


def add_labels(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Add the option for labels."""
    parser.add_argument("--label", metavar="KEY=VALUE", action="append", type=_pair, help=meaning)


def labels_of(arguments: argparse.Namespace) -> dict[str, str] | None:
    """The labels that were given."""
    return dict(arguments.label) if arguments.label else None


def add_run_at(parser: argparse.ArgumentParser) -> None:
    """Add the option for the time when a task is due."""
    parser.add_argument(
        "--run-at",
        metavar="TIME",
        type=future,
        help="start the task at this time, such as 2h (from now) or 10:30",
    )


def add_wait(parser: argparse.ArgumentParser) -> None:
    """Add the option to wait for the end."""
    parser.add_argument("--wait", action="store_true", help="wait until the task is finished")


def add_common(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add the options of every command over HTTP.

    Args:
        default: `argparse.SUPPRESS` in a command's command, where the options may stand before.
    """
    parser.add_argument(
        "--url",
        metavar="URL",
        default=default,
        help=f"the address of the service (AFTERWARDS_URL; default {DEFAULT_URL})",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        default=default or False,
        help="print JSON, one document a line",
    )


def payload_of(text: str) -> dict[str, Any]:
    """The payload that an argument stands for.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        found = json.loads(text, parse_constant=_no_number)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot be read: {error}") from None
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError('must be a JSON object, like {"name": "value"}')
    return found


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    if not (key and value):
        raise argparse.ArgumentTypeError(f"must be key=value (got {text!r})")
    return key, value


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def seconds(text: str) -> float:
    """A length of time.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise argparse.ArgumentTypeError(f"must be a number of seconds (got {text!r})")
    return found


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number (got {text!r})") from None


def count(text: str) -> int:
    """A number of things.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"must be a number from 1 on (got {text!r})")
    return int(text)
