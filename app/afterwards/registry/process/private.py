"""A registry's private directory: made for one service, and believed only while it is that."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from afterwards.errors import ConfigurationError, NotPrivate
from afterwards.system.own_files import NotOwn, open_own

PREFIX: Final = "afterwards-"
SOCKET: Final = "registry.sock"

_KEY: Final = "authkey"
_MOST_KEY_BYTES: Final = 4096
_SOCKET_PATH_BYTES: Final = 107
"""The bound of a Unix socket's path, without the NUL at its end (unix(7))."""
_NAME_BYTES: Final = len(f"/{PREFIX}12345678/{SOCKET}")
"""The part of the path after the directory for temporary files; `mkdtemp` draws eight
characters."""
_SHORT: Final = ("/tmp", "/var/tmp")  # noqa: S108 - made with mkdtemp
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def make() -> str:
    """A new one, in the directory for temporary files, or elsewhere if that has too long a name.

    Not in the data directory: network file systems have no sockets.

    Raises:
        ConfigurationError: there is no place for it.
    """
    with contextlib.suppress(FileNotFoundError):
        for place in (tempfile.gettempdir(), *_SHORT):
            if len(os.fsencode(place)) + _NAME_BYTES <= _SOCKET_PATH_BYTES:
                with contextlib.suppress(OSError):
                    return tempfile.mkdtemp(prefix=PREFIX, dir=place)
    problem = "no directory for temporary files can be used; set it to one, with a short path"
    raise ConfigurationError("TMPDIR", problem)


def provide(directory: str, key: bytes) -> None:
    """Make what is missing of it: directories for temporary files are cleaned now and then.

    Raises:
        NotPrivate: somebody else may have made what is there.
        OSError: it cannot be made.
    """
    Path(directory).mkdir(mode=0o700, exist_ok=True)
    with (
        _folder(directory) as folder,
        contextlib.suppress(FileExistsError),
        os.fdopen(os.open(_KEY, _CREATE, 0o600, dir_fd=folder), "wb") as file,
    ):
        file.write(key)


def read_key(directory: str) -> bytes:
    """The key in it.

    Raises:
        NotPrivate: somebody else may have written it.
        OSError: it cannot be read.
    """
    key = f"{directory}/{_KEY}"
    with _folder(directory) as folder, _opened(key, 0o077, folder) as descriptor:
        return os.read(descriptor, _MOST_KEY_BYTES)


def _folder(directory: str) -> contextlib.AbstractContextManager[int]:
    """The directory by descriptor: what is looked at is what is used."""
    return _opened(directory, 0o022)


@contextlib.contextmanager
def _opened(path: str, of_others: int, folder: int | None = None) -> Iterator[int]:
    """Open a path that is this user's, where others may do no more than `of_others` leaves."""
    try:
        descriptor = open_own(path, folder=folder, directory=folder is None)
    except NotOwn as error:
        raise NotPrivate(path, error.problem) from None
    try:
        mode = os.fstat(descriptor).st_mode
        if mode & of_others:
            raise NotPrivate(path, f"its mode {mode & 0o777:04o} lets others in")
        yield descriptor
    finally:
        os.close(descriptor)
