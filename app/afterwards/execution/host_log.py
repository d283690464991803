"""The log and the metrics of what happens in hosts besides attempts."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from afterwards.counts import BLOCKED, ENDED_HOST
from afterwards.logs import LossyStream, get_logger

log = get_logger(__name__)


class HostLog:
    """The listener of all hosts of a worker (`afterwards_executors.hosts.settings.Listener`)."""

    version = 0
    """Grows with each event that is counted."""

    def __init__(self) -> None:
        self._stream = LossyStream(sys.stderr)
        self._counts: dict[tuple[str, str], int] = {}

    def counts(self) -> Mapping[tuple[str, str], int]:
        """The number of each event in each kind of host; any thread may ask."""
        return dict(self._counts)

    def printed(self, kind: str, pid: int, line: str) -> None:
        """A host, or something that it has started, wrote a line past Python's streams."""
        log.info("host printed", line=line, executor=kind, host=pid)

    def logged(self, line: str) -> None:
        """A host has a line for the log, finished."""
        self._stream.write(line + "\n")

    def blocked(self, kind: str, pid: int, stack: str, *, is_call: bool) -> None:
        """Something has kept the event loop of a host for long."""
        self._count(kind, BLOCKED)
        log.warning(
            "an attempt keeps the event loop from all others of its host; its time limit ends both"
            if is_call
            else "something keeps the event loop of a host from its attempts",
            executor=kind,
            host=pid,
            stack=stack,
        )

    def ended(self, kind: str, pid: int, how: str, calls: int) -> None:
        """A host has ended with attempts in it, or before it was ready."""
        self._count(kind, ENDED_HOST)
        log.warning("host ended", how=how, executor=kind, host=pid, attempts=calls)

    def _count(self, kind: str, event: str) -> None:
        self._counts[kind, event] = self._counts.get((kind, event), 0) + 1
        self.version += 1
