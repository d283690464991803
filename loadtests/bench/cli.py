"""`make bench`: measure, print, and write to `outputs/bench/`."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

from loadtests.bench.beside import Checkout
from loadtests.bench.measurements import MEASUREMENTS
from loadtests.bench.run import run
from loadtests.bench.sizes import Sizes
from loadtests.errors import LoadTestError


def main() -> int:
    """Run what the command line says; the exit status."""
    arguments = _parser().parse_args()
    chosen = {field.name: getattr(arguments, field.name) for field in fields(Sizes)}
    output = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    # On the disk of the outputs: /tmp may be memory, where a sync costs nothing.
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=output)).absolute()
    try:
        checkout = None if arguments.beside is None else Checkout.at(arguments.beside)
        text, files = run(
            arguments.only, Sizes(**chosen), directory, output, _say, checkout=checkout
        )
    except LoadTestError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("bench: interrupted\n")
        return 130
    finally:
        shutil.rmtree(directory)
    sys.stdout.write(f"\n{text}\n" + "".join(f"written: {file}\n" for file in files))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="loadtests.bench", description=__doc__)
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=list(MEASUREMENTS),
        metavar="NAME,...",
        help=f"which measurements: {', '.join(MEASUREMENTS)}",
    )
    parser.add_argument(
        "--beside",
        type=Path,
        metavar="CHECKOUT",
        help="another checkout of the service, measured in turn with this one",
    )
    parser.add_argument("--output", type=Path, default=Path("outputs/bench"))
    for field in fields(Sizes):
        default = field.default
        parse = _numbers if isinstance(default, tuple) else type(default)
        flag = f"--{field.name.replace('_', '-')}"
        parser.add_argument(flag, type=parse, default=default, help=f"default: {default}")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
