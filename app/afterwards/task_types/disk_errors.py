"""Errors of a disk as those of an attempt: which pass by themselves, and what clients are told."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from afterwards.logs import get_logger
from afterwards_executors.retry import PermanentError, Starved, TransientError

log = get_logger(__name__)

_STARVING: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
"""Errors of a process or machine that has run out of something; the file is not at fault."""

_PASSING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EINTR})
"""Errors that pass by themselves or when room is made; other errors stay until the place is
repaired, and then the task is retried by hand."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Write the file at `path`, and have what goes wrong named after it.

    Raises:
        Starved: no descriptor or memory just now.
        TransientError: no room just now.
        PermanentError: it cannot be written. All name the file; where it lies is said to the log
            alone, because clients are shown what is raised.
    """
    try:
        yield
    except OSError as error:
        raise _failure(_kind_of(error), path, error.strerror or str(error)) from error
    except MemoryError as error:
        raise _failure(Starved, path, "no memory") from error


def _failure(kind: type[Exception], path: Path, reason: str) -> Exception:
    log.warning("file cannot be written", path=str(path), reason=reason)
    return kind(f"Cannot write {path.name}: {reason}")


def _kind_of(error: OSError) -> type[Exception]:
    if error.errno in _STARVING:
        return Starved
    return TransientError if error.errno in _PASSING else PermanentError


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable.

    Without this a power cut can take the name away from a file whose content is safe.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
