"""The owners of places in the file system: root works in another user's with that user's rights.

The owner of a directory decides, at any moment, what its names lead to. A check before a file is
opened by name proves nothing then; rights that are the owner's own are enough at every moment.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_ROOT: Final = 0
_MOST_LINKS: Final = 40
"""As many as the kernel follows (path_resolution(7))."""


@contextlib.contextmanager
def as_owner_of(path: Path) -> Iterator[None]:
    """Have root do what is inside as the user who can exchange what is at `path`.

    That is the owner of the first directory or link on the way that is not root's; where there is
    none, and for every other user than root, nothing changes. It may be nested: the inner one
    counts. The whole process changes: not for one with other threads.

    Args:
        path: a file or a directory; the last parts of it need not be there.

    Raises:
        PermissionError: that user has no access to the directory.
        OSError: the way cannot be looked at.
    """
    if os.getuid() != _ROOT:
        yield
        return
    before = (os.geteuid(), os.getegid(), os.getgroups())
    try:
        if before[0] != _ROOT:
            os.seteuid(_ROOT)
        way = list(_way(path))
        stranger = next((found for _, found in way if found.st_uid != _ROOT), None)
        if stranger is not None:
            _become(stranger.st_uid, *_groups_of(stranger))
            directory = next(at for at, found in reversed(way) if stat.S_ISDIR(found.st_mode))
            if not os.access(directory, os.X_OK, effective_ids=True):
                problem = f"user {stranger.st_uid}, as whom root works there, has no access"
                raise PermissionError(errno.EACCES, problem, str(directory))
        yield
    finally:
        if (os.geteuid(), os.getegid(), os.getgroups()) != before:
            os.seteuid(_ROOT)
            _become(*before)


def stranger_at(directory: Path) -> int | None:
    """The owner, other than root, of a directory or a link on the way to it; None: there is none.

    Raises:
        OSError: the way cannot be looked at.
    """
    way = list(_way(directory))
    links = [found for _, found in way if stat.S_ISLNK(found.st_mode)]
    itself = [way[-1][1]] if directory.exists() else []
    return next((found.st_uid for found in links + itself if found.st_uid != _ROOT), None)


def _way(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every directory and every link on the way to a path, from the top, as far as they exist."""
    at, ahead, links = Path("/"), [*reversed(path.absolute().parts)], 0
    while ahead:
        at /= ahead.pop()
        try:
            found = at.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return
        if stat.S_ISLNK(found.st_mode):
            yield at, found
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            ahead.extend(reversed(at.readlink().parts))
            at = at.parent
        elif stat.S_ISDIR(found.st_mode):
            yield at, found


def _groups_of(stranger: os.stat_result) -> tuple[int, list[int]]:
    """The group and all groups of an owner; one without a name has the group of what he owns."""
    try:
        user = pwd.getpwuid(stranger.st_uid)
    except KeyError:
        return stranger.st_gid, [stranger.st_gid]
    return user.pw_gid, os.getgrouplist(user.pw_name, user.pw_gid)


def _become(user: int, group: int, groups: list[int]) -> None:
    # The user last: only root may change the groups.
    os.setgroups(groups)
    os.setegid(group)
    os.seteuid(user)
