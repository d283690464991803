"""The command line: `bgtasks serve`, `bgtasks backup`, `bgtasks restore`, `bgtasks --version`.

Spawned children import the console script, and so this module, again: it imports nothing heavy
before `main` runs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app import __version__

HELP = {
    "bind": ("ADDRESS", "where to listen"),
    "workers": ("N", "web worker processes"),
    "data_dir": ("DIRECTORY", "where the journal of all tasks lives"),
    "output_dir": ("DIRECTORY", "where file tasks write"),
    "registry": ("KIND", "manager (durable) or memory (for trying things out)"),
    "grace_seconds": ("SECONDS", "how long running attempts may go on after SIGTERM"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit status: 0, or 2 for a wrong setting, 1 for anything else that prevents the start.
    """
    _open_standard_streams()
    from app.logs import flush_or_discard  # noqa: PLC0415 - see the module

    try:
        return _run(argv)
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


def _run(argv: Sequence[str] | None) -> int:
    from app.errors import BgTasksError, ConfigurationError  # noqa: PLC0415 - see the module

    arguments = _parser().parse_args(argv)
    if arguments.command is None:
        _parser().print_help()
        return 0
    try:
        COMMANDS[arguments.command](arguments)
    except ConfigurationError as error:
        return _refuse(error, 2)
    except BgTasksError as error:
        return _refuse(error, 1)
    return 0


def _refuse(error: Exception, status: int) -> int:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"bgtasks: {error}\n")
    return status


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{text}\n")


def _serve(arguments: argparse.Namespace) -> None:
    from app.settings import Settings  # noqa: PLC0415 - see the module

    # Before the rest is imported, so that a wrong setting is said at once.
    settings = Settings.load(**{name: getattr(arguments, name) for name in HELP})

    from app.serve import serve  # noqa: PLC0415 - see the module

    serve(settings)


def _backup(arguments: argparse.Namespace) -> None:
    from app.backup import back_up  # noqa: PLC0415 - see the module
    from app.settings import Settings  # noqa: PLC0415

    settings = Settings.load(data_dir=arguments.data_dir)
    unfinished = back_up(settings.data_dir, arguments.file)
    _say(f"{arguments.file}: backup of {settings.data_dir}; unfinished tasks: {unfinished}")


def _restore(arguments: argparse.Namespace) -> None:
    from app.backup import restore  # noqa: PLC0415 - see the module
    from app.settings import Settings  # noqa: PLC0415

    settings = Settings.load(data_dir=arguments.data_dir)
    unfinished, former = restore(settings.data_dir, arguments.file)
    _say(f"{settings.data_dir}: restored from {arguments.file}; unfinished tasks: {unfinished}")
    if former is not None:
        _say(f"{former}: the journal as it was before")


COMMANDS = {"serve": _serve, "backup": _backup, "restore": _restore}


class _Parser(argparse.ArgumentParser):
    """A parser whose status is right although nobody can read what it prints."""

    def _print_message(self, message: str, file: Any = None) -> None:
        # As later versions of Python do by themselves.
        with contextlib.suppress(OSError):
            super()._print_message(message, file)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="bgtasks", description="Background tasks over HTTP.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"bgtasks {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    serving = commands.add_parser(
        "serve",
        help="run the service",
        description="Run the service: web workers and the registry process.",
        epilog="Every setting can be given as an environment variable or in .env; "
        "docs/configuration.md lists them all.",
        allow_abbrev=False,
    )
    for field in HELP:
        _add_setting(serving, field)
    backing_up = commands.add_parser(
        "backup",
        help="copy the journal while the service runs",
        description="Copy the journal of all tasks to FILE, which is replaced if it is there. The "
        "service goes on meanwhile. What file tasks wrote is not part of it.",
        allow_abbrev=False,
    )
    restoring = commands.add_parser(
        "restore",
        help="put a backup in the journal's place; the service has to be stopped",
        description="Put a backup in the journal's place. The service has to be stopped. The "
        "former journal is kept beside it, until the next time.",
        allow_abbrev=False,
    )
    for command in (backing_up, restoring):
        command.add_argument("file", metavar="FILE", type=Path, help="the backup")
        _add_setting(command, "data_dir")
    return parser


def _add_setting(parser: argparse.ArgumentParser, field: str) -> None:
    from app.settings import FLAGS, Settings, variable  # noqa: PLC0415 - see the module

    metavar, text = HELP[field]
    default = Settings.model_fields[field].default
    parser.add_argument(
        FLAGS[field],
        dest=field,
        metavar=metavar,
        help=f"{text} ({variable(field)}; default {default})",
    )


if __name__ == "__main__":
    sys.exit(main())
