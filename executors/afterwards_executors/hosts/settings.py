"""The settings of a set of hosts."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from afterwards_executors.cluster.settings import ClusterSettings

log = logging.getLogger(__name__)

FRAME_MARGIN_BYTES: Final = 64 * 1024
"""The bytes of an outcome on the wire besides its value."""


class Listener(Protocol):
    """Hears what happens in hosts that no future tells. Called on the event loop; must not wait."""

    def printed(self, kind: str, pid: int, line: str) -> None:
        """A host, or something that it has started, wrote this to its standard descriptors."""

    def logged(self, line: str) -> None:
        """A finished line for the log."""

    def blocked(self, kind: str, pid: int, stack: str, *, is_call: bool) -> None:
        """Something has kept the event loop of a host for long."""

    def ended(self, kind: str, pid: int, how: str, calls: int) -> None:
        """A host has ended by itself, or had to be ended, with so many calls in it."""


class _Log:
    """Writes all that to the log."""

    def printed(self, kind: str, pid: int, line: str) -> None:
        log.info("%s host %s: %s", kind, pid, line)

    def logged(self, line: str) -> None:
        log.info("%s", line)

    def blocked(self, kind: str, pid: int, stack: str, *, is_call: bool) -> None:
        del is_call
        log.warning("the event loop of %s host %s is blocked\n%s", kind, pid, stack)

    def ended(self, kind: str, pid: int, how: str, calls: int) -> None:
        log.warning("%s host %s %s; it had %d calls", kind, pid, how, calls)


@dataclass(frozen=True)
class HostSettings:
    """Bounds of hosts, and what they are started with."""

    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    max_value_bytes: int = 16 * 2**20
    """The bound of an outcome's value; a longer one is a failure, and a frame that is longer yet
    ends its host."""
    overdue_seconds: float = 60.0
    """A call that goes on so long after its time is up ends with its host."""
    blocked_seconds: float = 5.0
    """A call that keeps its event loop for so long is told of."""
    silent_seconds: float = 10.0
    """A host that does not answer for so long, and has not said why, is ended."""
    idle_seconds: float = 300.0
    """A host without calls ends after this time."""
    keep: int = 0
    """So many hosts are started at once, and not ended when they are idle."""
    max_calls: int | None = None
    """After so many calls a host takes no more and ends; None: however many."""
    max_memory_bytes: int | None = None
    """A host with more resident memory takes no more calls and ends; None: whatever it has."""
    handover_seconds: float = 3600.0
    """Calls may go on for so long after `HostExecutor.renew`; then they are asked to end."""
    prepare: tuple[Callable[..., object], tuple[object, ...]] | None = None
    """A function, importable by name, and its arguments: called in each host before its first call,
    whose clock does not run meanwhile. What it raises is logged there, and nothing else."""
    adopts_orphans: bool = False
    """True if orphans of hosts become children of this process, which then ends them."""
    cluster: ClusterSettings | None = None
    """The cluster that hosts of kind "dask" pass their calls on to."""
    is_terminal: bool = False
    """True if the log ends up on a terminal."""
    listener: Listener = field(default_factory=_Log)
