"""Lines on the terminal, one for each thing that happens, and waiting for what happens."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


def say(who: str, what: str) -> None:
    """Print one line at once, whole even if several processes print."""
    sys.stdout.write(f"{who:>9} | {what}\n")
    sys.stdout.flush()


def within(seconds: float, what: str, condition: Callable[[], object]) -> None:
    """Wait until the condition holds.

    Raises:
        TimeoutError: it does not in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.1)
