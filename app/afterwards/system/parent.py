"""No orphans: a process asks the kernel to be signalled when its parent ends."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def end_with_parent(signal_number: signal.Signals, parent: int) -> None:
    """Have this process get `signal_number` when the thread that made it ends (prctl(2)).

    Args:
        parent: the pid of the parent; if that has ended already, the signal is sent at once.

    Raises:
        OSError: the kernel refuses; this process would outlive a killed parent.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        os.kill(os.getpid(), signal_number)
