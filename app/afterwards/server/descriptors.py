"""File descriptors: how many the system gives, and how many of them connections may take."""

from __future__ import annotations

import resource
from typing import Final

from afterwards.errors import ConfigurationError
from afterwards.logs import get_logger
from afterwards.server.connections import TRIALS
from afterwards.settings import Settings

log = get_logger(__name__)

_OWN: Final = 64
"""The descriptors of a worker without connections and attempts; about half of them are open."""

_FOR_A_PROCESS: Final = 4
_FOR_A_THREAD: Final = 2
_LEAST: Final = _OWN
"""With fewer, a worker may start and be able to accept no connection."""

_LEAST_SHARE: Final = 4
"""Connections get one in so many at least, however many attempts there may be."""


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard one, as a process may; returns the limit.

    The processes that are started from here inherit it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        # A kernel may refuse a hard limit of "unlimited".
        log.warning("the limit of open files stays as it is", limit=soft, error=str(error))
        return soft
    log.info("raised the limit of open files to the hard limit", soft=soft, hard=hard)
    return hard


def connections_that_fit(settings: Settings, limit: int) -> int:
    """The number of connections that a worker can hold and still open what its attempts need.

    Args:
        limit: of open files, of each process; -1 is none.

    Raises:
        ConfigurationError: there is no room for the worker itself.
    """
    asked = settings.max_connections
    if limit == resource.RLIM_INFINITY:
        return asked
    if limit < _LEAST:
        problem = f"{limit} open files are too few for a worker, which needs {_LEAST} and more"
        raise ConfigurationError("ulimit -n", f"{problem}; raise the hard limit")
    attempts = _FOR_A_PROCESS * settings.process_slots + _FOR_A_THREAD * settings.thread_slots
    room = max(limit // _LEAST_SHARE, limit - _OWN - TRIALS - attempts)
    if asked <= room:
        return asked
    log.warning(
        "a worker holds fewer connections than AFTERWARDS_MAX_CONNECTIONS says: "
        "the limit of open files (ulimit -n) has no room for more",
        connections=room,
        setting=asked,
        open_files=limit,
    )
    return room
