"""What happens in hosts besides attempts, for the log."""

from __future__ import annotations

import sys

from afterwards.logs import LossyStream, get_logger

log = get_logger(__name__)


class HostLog:
    """The listener of all hosts of a worker (`afterwards_executors.hosts.settings.Listener`)."""

    def __init__(self) -> None:
        self._stream = LossyStream(sys.stderr)

    def printed(self, kind: str, pid: int, line: str) -> None:
        """A host, or something that it has started, wrote a line past Python's streams."""
        log.info("host printed", line=line, executor=kind, host=pid)

    def logged(self, line: str) -> None:
        """A host has a line for the log, finished."""
        self._stream.write(line + "\n")

    def blocked(self, kind: str, pid: int, stack: str, *, is_call: bool) -> None:
        """Something has kept the event loop of a host for long."""
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
        log.warning("host ended", how=how, executor=kind, host=pid, attempts=calls)
