"""The files of artifacts on disk, past whatever task code has put in their places.

No link is followed: task code runs as the same user, and could have anything read or removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from afterwards.artifacts import Artifact, folder, own_file, own_part

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking: it may be a pipe that nobody writes to.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_artifact(output_dir: Path, task_id: str, artifact: Artifact) -> int:
    """A descriptor to read an artifact with.

    Raises:
        FileNotFoundError: there is no regular file of its size in its place.
        OSError: it cannot be opened.
    """
    steps = [] if artifact.attempt == 0 else [task_id, str(artifact.attempt)]
    place = os.open(output_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for step in steps:
            above, place = place, os.open(step, _FOLDER, dir_fd=place)
            os.close(above)
        descriptor = os.open(artifact.name, _FILE, dir_fd=place)
    finally:
        os.close(place)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_size != artifact.size:
        os.close(descriptor)
        raise FileNotFoundError(f"{artifact.name} is not the file that the task has made")
    return descriptor


def remove_all(output_dir: Path, task_id: str, attempt: int) -> None:
    """Remove all files of a task that is gone, whose attempts had numbers up to `attempt`.

    Raises:
        OSError: some of them cannot be removed.
    """
    _require(output_dir)
    _remove_tree(folder(output_dir, task_id))
    for name in (own_file(task_id), *(own_part(task_id, n) for n in range(1, attempt + 1))):
        (output_dir / name).unlink(missing_ok=True)


def remove_leftovers(output_dir: Path, task_id: str, attempt: int, kept: int) -> None:
    """Remove what attempts with numbers up to `attempt` have left, but for that of one of them.

    Raises:
        OSError: some of it cannot be removed.
    """
    _require(output_dir)
    place = folder(output_dir, task_id)
    for left in () if place.is_symlink() else _entries(place):
        if left.name.isdecimal() and int(left.name) <= attempt and int(left.name) != kept:
            _remove_tree(left)
    for number in range(1, attempt + 1):
        (output_dir / own_part(task_id, number)).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        # Unless something is in it.
        place.rmdir()


def _require(output_dir: Path) -> None:
    # It may be on a disk that is not mounted just now.
    output_dir.stat()


def _entries(place: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        yield from place.iterdir()


def _remove_tree(place: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(place.lstat().st_mode):
            shutil.rmtree(place)
        else:
            place.unlink()
