"""A function that waits, in a module of its own: Dask workers and their hosts import it."""

from __future__ import annotations

import time

from afterwards_executors.base import End, Outcome


def nap(seconds: float) -> Outcome:
    """Wait for so long."""
    time.sleep(seconds)
    return Outcome(End.SUCCEEDED, value=b"{}")
