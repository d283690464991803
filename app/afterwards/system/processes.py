"""What the machine knows of a process. Where it does not say (as on macOS), nothing is known."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_START: Final = 19
"""Of the fields of stat behind the name: the start, in ticks since the machine's (proc(5))."""


def memory_bytes(pid: int) -> int | None:
    """How much of the machine's memory it has, shared pages included; None: not known."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return None


def started_at(pid: int) -> float | None:
    """When it was started, in POSIX seconds, to a hundredth; None: not known."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        ago = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[_START]) / _TICKS
    except (OSError, ValueError, IndexError, AttributeError):
        return None
    return time.time() - ago
