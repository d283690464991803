"""Facts about a process, as the machine tells them. Where it does not (macOS), none is known."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_START: Final = 19
"""The place of the start among the fields of stat behind the name, in ticks (proc(5))."""


def memory_bytes(pid: int) -> int | None:
    """Its resident memory, shared pages included; None: not known."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return None


def started_at(pid: int) -> float | None:
    """The time of its start, in POSIX seconds, to a hundredth; None: not known."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        ago = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[_START]) / _TICKS
    except (OSError, ValueError, IndexError, AttributeError):
        return None
    return time.time() - ago
