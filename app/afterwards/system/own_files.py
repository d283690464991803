"""Files that have to be this user's own: what is looked at is what is used, by its descriptor."""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

_ALWAYS: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Through no link, and without waiting for the writer of a pipe."""


class NotOwn(PermissionError):
    """The path may lead to another user's file; `problem` says why."""

    def __init__(self, problem: str, path: str) -> None:
        super().__init__(errno.EPERM, problem, path)
        self.problem = problem


def open_own(
    path: str, flags: int = os.O_RDONLY, *, folder: int | None = None, directory: bool = False
) -> int:
    """Open a regular file, or a directory, of this user's and with no second name.

    Args:
        flags: of open(2); a file that is made has mode 0600.
        folder: the descriptor of the directory that the file's last name is in; None: the path
            leads there.
        directory: a directory is expected, and not a file.

    Returns:
        The descriptor, to be closed by the caller.

    Raises:
        NotOwn: it is a link, of another kind, another user's, or has a second name.
        OSError: it cannot be opened.
    """
    name = path if folder is None else os.path.basename(path)  # noqa: PTH119 - no path, but text
    try:
        descriptor = os.open(name, flags | _ALWAYS, 0o600, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotOwn("it is a symbolic link", path) from None
        raise
    problem = _problem(os.fstat(descriptor), directory=directory)
    if problem:
        os.close(descriptor)
        raise NotOwn(problem, path)
    return descriptor


def _problem(found: os.stat_result, *, directory: bool) -> str:
    if directory and not stat.S_ISDIR(found.st_mode):
        return "it is no directory"
    if not directory and not stat.S_ISREG(found.st_mode):
        return "it is no regular file"
    if found.st_uid != os.geteuid():
        return f"it belongs to user {found.st_uid}"
    if not directory and found.st_nlink > 1:
        return "it has a second name"
    return ""
