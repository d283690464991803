"""How to run a function, time it out and decide on another try. Knows nothing of tasks or HTTP.

`EXECUTORS` has every kind there is; `base` is their contract. `note` and `current_line` are for the
functions that they run.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from afterwards_executors.base import Executor, ExecutorTable
from afterwards_executors.notes import current_line, note

__all__ = ["EXECUTORS", "current_line", "note"]

# Each factory imports its own module: a spawned child loads this package on its way to
# `afterwards_executors.child_main`, and has no use for event loops and pools.


def _async(slots: int) -> Executor:
    from afterwards_executors.aio import AsyncExecutor  # noqa: PLC0415 - see above

    return AsyncExecutor(slots)


def _thread(slots: int) -> Executor:
    from afterwards_executors.threads import ThreadExecutor  # noqa: PLC0415 - see above

    return ThreadExecutor(slots)


def _process(slots: int) -> Executor:
    from afterwards_executors.processes import ProcessExecutor  # noqa: PLC0415 - see above

    return ProcessExecutor(slots)


EXECUTORS: Final[ExecutorTable] = MappingProxyType(
    {"async": _async, "thread": _thread, "process": _process}
)
"""Makes an executor with so many slots, by kind."""
