"""The host, for the code that runs in it."""

from __future__ import annotations

from typing import TextIO

_kind: str | None = None
_log: TextIO | None = None


def kind() -> str | None:
    """Which kind of host this process is; None: none."""
    return _kind


def log_stream() -> TextIO | None:
    """The stream of finished lines for the service's log; None: this process is no host."""
    return _log


def settle(as_kind: str, log: TextIO) -> None:
    """Said once by a host's main program."""
    global _kind, _log
    _kind, _log = as_kind, log
