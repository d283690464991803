"""The command line: `afterwards COMMAND`.

Spawned children import the console script, and so this module, again: it imports nothing heavy
before `main` runs, and `main` only what the command needs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from afterwards import __version__
from afterwards.cli.commands import (
    ALL,
    KEYS,
    OPERATIONS,
    SERVICE,
    TASKS,
    VERBS,
    Command,
    refuse,
)
from afterwards.system.lean_imports import import_structlog_alone

_CLIENT_PACKAGES: Final = frozenset({"afterwards_client", "httpx", "rich"})
_INTERRUPTED: Final = 130
"""As a shell shows the death by Ctrl-C."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit status: 0, or 2 for a wrong setting or argument, 1 for anything else that is not
        as it was wanted.
    """
    _open_standard_streams()
    import_structlog_alone()
    from afterwards.logs import flush_or_discard  # noqa: PLC0415 - see the module

    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        # Whoever read them may have gone; the exit status is to be right all the same.
        flush_or_discard(sys.stdout)
        flush_or_discard(sys.stderr)


def _open_standard_streams() -> None:
    """Lead to nowhere whichever of the standard streams the caller has closed.

    Else the next files and sockets would get their numbers, and be written into as logs.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            # Those below are open, so this is the number it gets.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - for the life of the process
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - the same
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Paths need not be text; stderr shows them so by itself.
        sys.stdout.reconfigure(errors="backslashreplace")


def _run(argv: Sequence[str]) -> int:
    from afterwards.errors import AfterwardsError, ConfigurationError  # noqa: PLC0415 - see the module

    # Flags before the command take no values, so the first word is the command.
    name = next((word for word in argv if not word.startswith("-")), None)
    try:
        command = None if name is None else _command(name)
    except ModuleNotFoundError as missing:
        if missing.name not in _CLIENT_PACKAGES:
            raise
        hint = "afterwards was installed without its dependencies: install it again, with them"
        return refuse(f"{name} needs {missing.name}, which is not installed; {hint}", 1)
    parser = _parser(name, command)
    arguments = parser.parse_args(argv)
    if command is None:
        parser.print_help()
        return 0
    try:
        return command.run(arguments)
    except ConfigurationError as error:
        return refuse(error, 2)
    except AfterwardsError as error:
        return refuse(error, 1)


def _command(name: str) -> Command | None:
    """The command of that name, with what it needs imported."""
    if name in SERVICE:
        from afterwards.cli.service_commands import COMMANDS  # noqa: PLC0415 - see the module

        return COMMANDS[name]
    if name in KEYS:
        from afterwards.cli.key_commands import COMMANDS  # noqa: PLC0415 - see the module

        return COMMANDS[name]
    if name in TASKS:
        from afterwards.cli.task_commands import COMMANDS  # noqa: PLC0415 - see the module

        return COMMANDS[name]
    if name in VERBS:
        from afterwards.cli.verb_commands import COMMANDS  # noqa: PLC0415 - see the module

        return COMMANDS[name]
    if name in OPERATIONS:
        from afterwards.cli.operation_commands import COMMANDS  # noqa: PLC0415 - see the module

        return COMMANDS[name]
    return None


class _Formatter(argparse.HelpFormatter):
    """Leaves room for the longest command beside what it does."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **options)
        self._action_max_length = max(map(len, ALL)) + 2 * self._indent_increment


class _Parser(argparse.ArgumentParser):
    """A parser whose status is right although its output cannot be written."""

    def _print_message(self, message: str, file: Any = None) -> None:
        # As later versions of Python do by themselves.
        with contextlib.suppress(OSError):
            super()._print_message(message, file)


def _parser(chosen: str | None, command: Command | None) -> argparse.ArgumentParser:
    """The parser of all commands; of their arguments it knows the chosen one's."""
    parser = _Parser(
        prog="afterwards",
        description="Background tasks over HTTP.",
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"afterwards {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, text in ALL.items():
        description = command.description if command and name == chosen else text
        one = commands.add_parser(name, help=text, description=description, allow_abbrev=False)
        if command and name == chosen:
            command.add_arguments(one)
    return parser
