"""The disk under the journals: its file system, and what it takes to sync a page."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from loadtests.bench.figures import percentile

_PAGE: Final = b"\0" * 4_096
_NOT_ON_DISK: Final = frozenset({"tmpfs", "ramfs"})


def sync_milliseconds(directory: Path, syncs: int = 200) -> tuple[float, float]:
    """The time of an fdatasync after a page was appended: median and 99th percentile."""
    took = []
    path = directory / "synced"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        for _ in range(syncs):
            os.write(file, _PAGE)
            started = time.perf_counter()
            os.fdatasync(file)
            took.append((time.perf_counter() - started) * 1e3)
    finally:
        os.close(file)
        path.unlink()
    return percentile(took, 0.5), percentile(took, 0.99)


def file_system(directory: Path) -> str:
    """The type of the file system that the directory is on."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    at = directory.resolve()
    # Of several on one mount point the last is the one that is seen.
    inside = [(len(point), n, kind) for n, (_, point, kind, *_) in enumerate(mounts)
              if at.is_relative_to(point.replace("\\040", " "))]  # fmt: skip
    return max(inside)[2] if inside else "unknown"


def is_volatile(kind: str) -> bool:
    """True if a sync means nothing on this kind of file system."""
    return kind in _NOT_ON_DISK
