"""Has modules imported as they are on the disk, whatever bytecode lies beside them."""

from __future__ import annotations

import importlib.util
import os
import sysconfig
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, Final

SETTLED_SECONDS: Final = 2.0
"""The least time from the last change of a source to its bytecode, for that to be believed."""

_STANDARD_LIBRARY: Final = sysconfig.get_path("stdlib")
_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})

_path_stats: Final = SourceFileLoader.path_stats


def distrust_young_bytecode() -> None:
    """Have this process believe bytecode only if it is surely of its source. May be called again.

    Python knows the source of its bytecode by the length, and by the second of the last change,
    that it had ("Cached bytecode invalidation" in its language reference): of two deployments
    within a second, or of files that keep the times of an archive, it may run the former one. The
    time of the last change of any kind (`st_ctime`) cannot be set. Installed packages are believed,
    whose files come with their bytecode.
    """
    SourceFileLoader.path_stats = _settled_path_stats  # type: ignore[assignment,method-assign] # replaced on purpose, in this process


def _settled_path_stats(loader: SourceFileLoader, path: str) -> Mapping[str, Any]:
    """See `importlib.abc.SourceLoader.path_stats`.

    Raises:
        OSError: the bytecode is neither to be used nor to be written.
    """
    if not comes_with_its_bytecode(path) and not _is_settled(path):
        raise BlockingIOError(f"{path} has just been changed")
    return _path_stats(loader, path)


def comes_with_its_bytecode(path: str) -> bool:
    """True for a file of an installed package, or of Python itself."""
    parts = Path(path).parts
    return path.startswith(f"{_STANDARD_LIBRARY}{os.sep}") or not _INSTALLED.isdisjoint(parts)


def _is_settled(path: str) -> bool:
    changed = os.stat(path).st_ctime  # noqa: PTH116 - at each import, and twice as fast
    if time.time() < changed + SETTLED_SECONDS:
        return False
    with suppress(FileNotFoundError, NotImplementedError):
        bytecode = importlib.util.cache_from_source(path)
        if os.stat(bytecode).st_mtime < changed + SETTLED_SECONDS:  # noqa: PTH116 - the same
            # Python writes it anew.
            os.unlink(bytecode)  # noqa: PTH108 - the same
    return True
