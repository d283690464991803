"""Executors: they run a function, time it out and decide on another try.

`EXECUTORS` has every kind of this machine, and `cluster` the one of others; `base` is their
contract. `send_progress` and `current_line` are for the functions that they run.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from afterwards_executors.progress import current_line, send_progress

if TYPE_CHECKING:
    from afterwards_executors.base import Executor, ExecutorFactory, HostedExecutor, HostedFactory
    from afterwards_executors.hosts.settings import HostSettings

__all__ = ["EXECUTORS", "IN_PROCESS", "current_line", "send_progress"]

# Each factory imports its own module: a host loads this package on its way to
# `afterwards_executors.inside`, and has no use for pools and hosts of its own.


def _hosted(kind: str, slots: int, settings: HostSettings | None = None) -> HostedExecutor:
    from afterwards_executors.hosts.executor import HostExecutor  # noqa: PLC0415 - see above

    return HostExecutor(kind, slots, settings)


def _async(slots: int) -> Executor:
    from afterwards_executors.aio import AsyncExecutor  # noqa: PLC0415 - see above

    return AsyncExecutor(slots)


def _thread(slots: int) -> Executor:
    from afterwards_executors.threads import ThreadExecutor  # noqa: PLC0415 - see above

    return ThreadExecutor(slots)


EXECUTORS: Final[Mapping[str, HostedFactory]] = MappingProxyType(
    {kind: partial(_hosted, kind) for kind in ("async", "thread", "process")}
)
"""Makes an executor with so many slots whose calls run in hosts, by kind: for any function."""

IN_PROCESS: Final[Mapping[str, ExecutorFactory]] = MappingProxyType(
    {"async": _async, "thread": _thread}
)
"""The same, for functions that can be trusted with this process: they are nearer, and cheaper."""
