"""What a command of the command line is made of. Imports nothing heavy."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable
from typing import NamedTuple


class Command(NamedTuple):
    """Its arguments, and what it does."""

    description: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    """Returns the exit status."""


def refuse(message: object, status: int) -> int:
    """Say why not, and return the exit status."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"afterwards: {message}\n")
    return status
