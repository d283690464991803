"""The command that downloads the files of a task."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Final

from afterwards.cli import remote
from afterwards.cli.arguments import add_common, add_id
from afterwards.cli.commands import Command, note
from afterwards.cli.output import Output
from afterwards.cli.remote import PATIENT, to_the_service


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_id(parser)
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="the file's name; without it, all files of the task"
    )
    parser.add_argument(
        "--to",
        metavar="PATH",
        type=Path,
        default=Path(),
        help="the directory to write to, or the file for one NAME (default: here)",
    )
    add_common(parser)


def _download(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        # To find out whether anybody is there; the download itself is patient.
        found = client.artifacts(arguments.id)
    names = [one.name for one in found] if arguments.name is None else [arguments.name]
    if not names:
        note("the task has no files")
    if arguments.name is None and names:
        arguments.to.mkdir(parents=True, exist_ok=True)
    with remote.client(arguments, PATIENT) as client:
        for name in names:
            path = client.download(arguments.id, name, arguments.to)
            said = {one.name: asdict(one) for one in found}.get(name, {})
            output.done(name, str(path), {**said, "path": str(path)})
    return 0


DOWNLOAD: Final = Command(
    "Download a file that a task has made, or all of them, and print where they are. A file is in "
    "its place once it is whole. A download that broke off goes on where it was, also in a later "
    "call.",
    _add_arguments,
    to_the_service(_download),
)
