"""`afterwards serve`, `reload`, `backup` and `restore`: the service on this machine."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from afterwards.cli.commands import Command
from afterwards.errors import JournalError
from afterwards.server.surroundings import require_own_surroundings
from afterwards.setting_sources import FLAGS, variable
from afterwards.settings import Settings

HELP: Final[Mapping[str, tuple[str, str]]] = {
    "bind": ("ADDRESS", "the address to listen at"),
    "workers": ("N", "web worker processes"),
    "data_dir": ("DIRECTORY", "the directory of the journal of all tasks"),
    "output_dir": ("DIRECTORY", "the directory that file tasks write to"),
    "registry": (
        "KIND",
        "manager (durable), memory (for trying things out) or postgresql://USER@HOST/DATABASE",
    ),
    "grace_seconds": ("SECONDS", "time for which running attempts may go on after SIGTERM"),
}


def _serve(arguments: argparse.Namespace) -> int:
    # Before the rest is imported, so that a wrong setting is said at once.
    settings = Settings.load(**{name: getattr(arguments, name) for name in HELP})
    require_own_surroundings()

    from afterwards.server.serve import serve  # noqa: PLC0415 - see above

    serve(settings, watches_files=arguments.reload)
    return 0


def _reload(arguments: argparse.Namespace) -> int:
    from afterwards.server.reload import reload  # noqa: PLC0415 - serve does not need it

    _say(reload(Settings.load(data_dir=arguments.data_dir).data_dir))
    return 0


def _backup(arguments: argparse.Namespace) -> int:
    from afterwards.server.backup import back_up  # noqa: PLC0415 - serve does not need it

    settings = Settings.load(data_dir=arguments.data_dir)
    unfinished = back_up(settings.data_dir, arguments.file)
    _say(f"{arguments.file}: backup of {settings.data_dir}; unfinished tasks: {unfinished}")
    return 0


def _restore(arguments: argparse.Namespace) -> int:
    from afterwards.server.backup import restore  # noqa: PLC0415 - serve does not need it

    settings = Settings.load(data_dir=arguments.data_dir)
    were_required = _requires_keys(settings)
    done = restore(settings.data_dir, arguments.file, settings.journal_keys())
    _say(
        f"{settings.data_dir}: restored from {arguments.file}; unfinished tasks: {done.unfinished}"
    )
    if done.missing_keys:
        _say(
            f"{settings.data_dir}: it is encrypted, and the service does not start without these "
            f"keys in {variable('encryption_keys')}: {', '.join(done.missing_keys)}"
        )
    if were_required and not _requires_keys(settings):
        _say(
            f"{settings.data_dir}: keys were required and, as in the backup, no longer are; make "
            "one before the service starts (afterwards keys create NAME --role admin)"
        )
    if done.former is not None:
        _say(f"{done.former}: the journal as it was before")
    return 0


def _requires_keys(settings: Settings) -> bool:
    """True if it is known: a journal that is damaged is what a restore is for."""
    from afterwards.server.keys import will_be_required  # noqa: PLC0415 - as above

    try:
        return will_be_required(settings.data_dir, by_file=bool(settings.first_key_file))
    except JournalError:
        return False


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{text}\n")


def _serve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Every setting can be given as an environment variable or in .env; "
        "docs/configuration.md lists them all."
    )
    for field in HELP:
        _add_setting(parser, field)
    parser.add_argument(
        "--reload",
        action="store_true",
        help="for development: take new task code as soon as one of its files changes",
    )


def _reload_arguments(parser: argparse.ArgumentParser) -> None:
    _add_setting(parser, "data_dir")


def _file_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="the backup file")
    _add_setting(parser, "data_dir")


def _add_setting(parser: argparse.ArgumentParser, field: str) -> None:
    metavar, text = HELP[field]
    default = Settings.model_fields[field].default
    parser.add_argument(
        FLAGS[field],
        dest=field,
        metavar=metavar,
        help=f"{text} ({variable(field)}; default {default})",
    )


COMMANDS: Final[Mapping[str, Command]] = {
    "serve": Command(
        "Run the service: web workers and the registry process.", _serve_arguments, _serve
    ),
    "reload": Command(
        "Have the running service take its task modules as they are on the disk now. Running "
        "attempts go on under the code that they started with. If a module cannot be used, nothing "
        "changes, and one line says why.",
        _reload_arguments,
        _reload,
    ),
    "backup": Command(
        "Copy the journal of all tasks to FILE, and replace FILE if it exists. The service may run "
        "meanwhile. The backup does not contain the files that file tasks wrote.",
        _file_arguments,
        _backup,
    ),
    "restore": Command(
        "Put the backup in the journal's place. Stop the service first. The former journal is kept "
        "beside it until the next restore.",
        _file_arguments,
        _restore,
    ),
}
