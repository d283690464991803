"""A script: `afterwards` whose own task types leave a trace, in whichever process they run."""

from __future__ import annotations

import signal
import sys
import time

import harmful  # type: ignore[import-not-found]  # noqa: F401 - has them leave one; found by PYTHONPATH, as hosts find it

STALL = signal.SIGRTMIN + 1
"""Holds up the event loop of the worker that gets it, and no other thread of it."""
STALL_SECONDS = 12.0


def stall(*_: object) -> None:
    time.sleep(STALL_SECONDS)


if __name__ == "__main__":
    from afterwards.cli import main

    signal.signal(STALL, stall)  # workers are forked with it

    sys.exit(main())
