"""The wear of a host: what it has used up, as seen from outside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
MAX_THREADS: Final = 2_000
"""Besides one for each slot."""


def is_worn_out(pid: int, slots: int, max_memory_bytes: int | None) -> bool:
    """True if a host should take no more calls; False if that cannot be told."""
    process = Path(f"/proc/{pid}")
    try:
        if max_memory_bytes is not None and _resident_bytes(process) > max_memory_bytes:
            return True
        threads = sum(1 for _ in (process / "task").iterdir())
    except (OSError, IndexError, ValueError):
        return False
    return threads > slots + MAX_THREADS


def _resident_bytes(process: Path) -> int:
    return int((process / "statm").read_bytes().split()[1]) * _PAGE_BYTES
