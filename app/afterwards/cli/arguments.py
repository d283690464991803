"""The arguments of the commands about tasks."""

from __future__ import annotations

import argparse
import json
import math
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from afterwards_client import DEFAULT_URL, TaskStatus


def add_submit(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `afterwards submit`."""
    parser.add_argument("type", metavar="TYPE", help="the task type")
    _add_payload(parser)
    _add_wait(parser)
    parser.add_argument(
        "--delay", metavar="SECONDS", type=_seconds, help="start the task so much later"
    )
    _add_run_at(parser)
    parser.add_argument(
        "--priority", metavar="N", type=_integer, help="0 to 9; higher starts sooner"
    )
    parser.add_argument(
        "--max-attempts", metavar="N", type=_integer, help="give up after so many attempts"
    )
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=_seconds, help="time limit for one attempt"
    )
    parser.add_argument(
        "--deadline", metavar="TIME", type=_time, help="start no attempt after this time"
    )
    parser.add_argument(
        "--key", metavar="KEY", help="idempotency key: the same key gives the same task"
    )
    _add_common(parser)


def add_status(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `afterwards status`."""
    _add_id(parser)
    parser.add_argument(
        "--watch", action="store_true", help="show its progress until it is finished"
    )
    parser.add_argument(
        "--logs",
        action="store_true",
        help="show what its last ended attempt has printed and logged",
    )
    _add_common(parser)


def add_list(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `afterwards list`."""
    _add_filters(parser)
    parser.add_argument("--after", metavar="TIME", type=_time, help="created at this time or later")
    parser.add_argument("--before", metavar="TIME", type=_time, help="created before this time")
    parser.add_argument(
        "--limit", metavar="N", type=_count, default=50, help="at most so many tasks (default 50)"
    )
    _add_common(parser)


def add_retry(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `afterwards retry`."""
    _add_id(parser)
    _add_payload(parser)
    _add_new_type(parser)
    _add_wait(parser)
    _add_common(parser)


def add_change(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `afterwards change`."""
    _add_id(parser)
    _add_payload(parser)
    _add_new_type(parser)
    _add_run_at(parser)
    _add_common(parser)


def add_cancel(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `afterwards cancel`."""
    _add_id(parser)
    _add_common(parser)


def add_tail(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `afterwards tail`."""
    _add_filters(parser)
    _add_common(parser)


def _add_id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="the task's id")


def _add_payload(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "payload",
        metavar="PAYLOAD",
        nargs="?",
        type=_payload,
        help="a JSON object; @FILE reads it from a file, - from standard input",
    )


def _add_new_type(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--type", metavar="TYPE", help="move it to this task type, which has to take its payload"
    )


def _add_run_at(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--run-at", metavar="TIME", type=_time, help="start the task at this time (RFC 3339)"
    )


def _add_wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--wait", action="store_true", help="wait until the task is finished")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    statuses = [str(status) for status in TaskStatus]
    parser.add_argument(
        "--status",
        metavar="STATUS",
        choices=statuses,
        help=f"only this status: {', '.join(statuses)}",
    )
    parser.add_argument("--type", metavar="TYPE", help="only this task type")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url", metavar="URL", help=f"where the service is (AFTERWARDS_URL; default {DEFAULT_URL})"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, one document a line")


def _payload(text: str) -> dict[str, Any]:
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


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise argparse.ArgumentTypeError(f"must be a number of seconds (got {text!r})")
    return seconds


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number (got {text!r})") from None


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"must be a number from 1 on (got {text!r})")
    return int(text)


def _time(text: str) -> datetime:
    """A time without an offset is meant as the clock on the wall shows it."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        message = f"must be a time like 2027-01-31T08:00:00+01:00 (got {text!r})"
        raise argparse.ArgumentTypeError(message) from None
