"""A registry's private directory: made for one service, and believed only while it is that."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from afterwards.errors import ConfigurationError, NotPrivate

PREFIX: Final = "afterwards-"
SOCKET: Final = "registry.sock"

_KEY: Final = "authkey"
_MOST_KEY_BYTES: Final = 4096
_SOCKET_PATH_BYTES: Final = 107
"""Of a Unix socket, without the NUL at its end (unix(7))."""
_NAME_BYTES: Final = len(f"/{PREFIX}12345678/{SOCKET}")
"""What follows the directory for temporary files; `mkdtemp` draws eight characters."""
_SHORT: Final = ("/tmp", "/var/tmp")  # noqa: S108 - made with mkdtemp
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
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
    with _folder(directory) as folder, _opened(f"{directory}/{_KEY}", folder) as descriptor:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise NotPrivate(f"{directory}/{_KEY}", "it is no file of the service's own")
        _require_own(f"{directory}/{_KEY}", found, of_others=0o077)
        return os.read(descriptor, _MOST_KEY_BYTES)


@contextlib.contextmanager
def _folder(directory: str) -> Iterator[int]:
    """The directory by descriptor: what is looked at is what is used."""
    with _opened(directory) as descriptor:
        found = os.fstat(descriptor)
        if not stat.S_ISDIR(found.st_mode):
            raise NotPrivate(directory, "it is no directory")
        _require_own(directory, found, of_others=0o022)
        yield descriptor


@contextlib.contextmanager
def _opened(path: str, folder: int | None = None) -> Iterator[int]:
    if Path(path).is_symlink():
        # Said better than the kernel's "Too many levels of symbolic links".
        raise NotPrivate(path, "it is a symbolic link")
    name = path if folder is None else Path(path).name
    descriptor = os.open(name, _READ, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _require_own(path: str, found: os.stat_result, of_others: int) -> None:
    """Refuse what another user owns, or may do more with than the bits `of_others` leave."""
    if found.st_uid != os.geteuid():
        raise NotPrivate(path, f"it belongs to user {found.st_uid}")
    if found.st_mode & of_others:
        raise NotPrivate(path, f"its mode {found.st_mode & 0o777:04o} lets others in")
