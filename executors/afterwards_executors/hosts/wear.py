"""What a host has used up of what its calls share: memory, descriptors, threads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_DESCRIPTORS_SHARE: Final = 0.75
"""A host that has so much of the descriptors it may have open has lost some of them."""
MAX_THREADS: Final = 2_000
"""Besides one for each slot."""


def is_worn_out(pid: int, slots: int, max_memory_bytes: int | None) -> bool:
    """Whether a host had better take no more calls; False if that cannot be told."""
    process = Path(f"/proc/{pid}")
    try:
        if max_memory_bytes is not None and _resident_bytes(process) > max_memory_bytes:
            return True
        if _count(process / "task") > slots + MAX_THREADS:
            return True
        descriptors = _count(process / "fd")
        return descriptors > 100 and descriptors > _descriptor_limit(process) * _DESCRIPTORS_SHARE
    except (OSError, IndexError, ValueError):
        return False


def _count(directory: Path) -> int:
    return sum(1 for _ in directory.iterdir())


def _resident_bytes(process: Path) -> int:
    return int((process / "statm").read_bytes().split()[1]) * _PAGE_BYTES


def _descriptor_limit(process: Path) -> float:
    rows = (process / "limits").read_text(encoding="ascii").splitlines()
    (soft,) = (row.split()[3] for row in rows if row.startswith("Max open files"))
    return float("inf") if soft == "unlimited" else float(soft)
