"""Processes that hosts have started and left behind, wherever those went: found, ended and reaped.

Whatever a host has started is killed with the host's process group. What has left that group, such
as a daemon, is adopted by the nearest child subreaper above it (prctl(2), PR_SET_CHILD_SUBREAPER)
when its own parent ends. Each bears two marks, which it inherits from its host: a variable in its
environment that names the host, and a score for the kernel's out-of-memory killer. The second is
there after an `env -i`, too, and in a process that has ended and not been reaped.

A process that has other children does not have to list them: without a mark they are not touched.
"""

from __future__ import annotations

import contextlib
import os
import signal
from itertools import count
from pathlib import Path
from typing import Final

from afterwards_executors.prctl import become_subreaper

VARIABLE: Final = "EXECUTOR_HOST"
"""In the environment of hosts: which one it is."""

OOM_SCORE_ADJUSTMENT: Final = 517
"""The score by which hosts go before the service does when memory runs out (proc(5)). The odd
number is the mark."""

_numbers: Final = count(1)
_hosts: Final[dict[str, int]] = {}
"""The hosts of this process that have not been reaped; 0: it is being started."""


def new_host() -> str:
    """A name for a host that is about to be started, for its `VARIABLE`."""
    name = f"{os.getpid()}-{next(_numbers)}"
    _hosts[name] = 0
    return name


def started(name: str, pid: int) -> None:
    """The host of this name has this process."""
    _hosts[name] = pid
    # Its children are not there yet, and whoever is not root may raise it.
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_bytes(b"%d" % OOM_SCORE_ADJUSTMENT)


def reaped(name: str) -> None:
    """The host of this name is gone, or was never started."""
    _hosts.pop(name, None)


def adopt_orphans() -> None:
    """Have this process adopt what its descendants leave behind.

    It has to call `end_orphans` from then on, now and then, or ended orphans stay in the table of
    processes.

    Raises:
        OSError: the kernel has refused.
    """
    become_subreaper()


def end_orphans() -> int:
    """Kill the children of this process that come from hosts which are gone, and reap them.

    Returns:
        How many have not ended yet, or have just left children of their own, as far as it can be
        told: if there are any, call it again soon.
    """
    own = set(_hosts.values())
    found = 0
    try:
        children = _children()
    except (OSError, MemoryError):
        return 1  # descriptors or memory have run out: nobody knows
    for pid in children:
        if pid not in own and _is_orphan(pid):
            found += 1
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
    return found


def _children() -> list[int]:
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # the thread has ended
            found += map(int, (task / "children").read_bytes().split())
    return found


def _is_orphan(pid: int) -> bool:
    """True if the child comes from a host that is gone, as far as it can be told."""
    host = _host_of(Path(f"/proc/{pid}"))
    return host is not None and host not in _hosts


def _host_of(process: Path) -> str | None:
    """The name of the host that a process comes from; empty: of one; None: of none."""
    with contextlib.suppress(OSError):
        for row in (process / "environ").read_bytes().split(b"\0"):
            name, _, value = row.decode(errors="replace").partition("=")
            # If this process is in a host itself, its other children say the same.
            if name == VARIABLE and value != os.environ.get(VARIABLE):
                return value
    return "" if _score(process) == OOM_SCORE_ADJUSTMENT != _score(Path("/proc/self")) else None


def _score(process: Path) -> int:
    try:
        return int((process / "oom_score_adj").read_bytes())
    except (OSError, ValueError):
        return 0
