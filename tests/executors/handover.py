"""Calls for the time in which the code that they run is replaced. Hosts import it by name."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from afterwards_executors.base import End, Outcome
from afterwards_executors.progress import current_line


def wait(path: str) -> Outcome:
    """Until the file is there, or for ever; says whether it was asked to stop."""
    line = current_line()
    assert line is not None
    Path(f"{path}.running").touch()
    while not Path(path).exists():
        if line.is_stopping:
            Path(f"{path}.asked").touch()
        time.sleep(0.005)
    return Outcome(End.SUCCEEDED, value=str(os.getpid()).encode())


async def wait_async(path: str) -> Outcome:
    """The same, on an event loop."""
    return await asyncio.to_thread(wait, path)
