"""What code that runs in a host may ask about it."""

from __future__ import annotations

from typing import TextIO

_kind: str | None = None
_log: TextIO | None = None


def kind() -> str | None:
    """Which kind of host this process is; None: none."""
    return _kind


def log_stream() -> TextIO | None:
    """Where finished lines for the log of the service go; None: this process is no host."""
    return _log


def settle(as_kind: str, log: TextIO) -> None:
    """Said once by a host's main program."""
    global _kind, _log
    _kind, _log = as_kind, log
