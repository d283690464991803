"""The requests of a process to the kernel about its relatives (prctl(2)), on Linux."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


def end_with_parent(signal_number: signal.Signals, parent: int) -> None:
    """Have this process get `signal_number` when the thread that made it ends.

    Args:
        parent: the pid of the parent; if that has ended already, the signal is sent at once.

    Raises:
        OSError: the kernel refuses; this process would outlive a killed parent.
    """
    _ask("PR_SET_PDEATHSIG", _PR_SET_PDEATHSIG, int(signal_number))
    if os.getppid() != parent:
        os.kill(os.getpid(), signal_number)


def become_subreaper() -> None:
    """Make this process the parent of what its descendants leave behind.

    Raises:
        OSError: the kernel refuses.
    """
    _ask("PR_SET_CHILD_SUBREAPER", _PR_SET_CHILD_SUBREAPER, 1)


def _ask(name: str, option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({name}) failed")
